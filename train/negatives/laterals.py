"""Chests from the side. No lateral film is at hand, so they are drawn, or bent out of frontal ones.

What tells a lateral: the spine near one edge, its bodies seen as blocks; ribs of both sides across
each other and slanting; one heart in front of it, dark spaces before and behind that; the
diaphragm as two domes, one above the other; arms raised out of the way.
"""

import numpy as np

from .geometry import background
from .grey import (
    Grey,
    Points,
    Rng,
    Shape,
    Unit,
    affine,
    blurred,
    chance,
    crop,
    grey,
    grid,
    remapped,
    shape_of,
    unit,
    warped,
)
from .radiography import (
    Pose,
    blob,
    bone,
    column,
    curve,
    exposed,
    line,
    long_bone,
    soft,
    tube,
)
from .readable import with_tones_of
from .textures import clouds, grain


def superposed(film: Grey, other: Grey, rng: Rng) -> Grey:
    """Halves of two films, or of one, on top of each other, as rays from the side see them."""
    first = _half(film, rng)
    second = _half(other if chance(rng, 0.5) else film, rng)
    image = 0.5 * unit(first) + 0.5 * unit(second)
    image = image + _spaces(shape_of(film), rng) * np.float32(0.5)
    zoom = rng.uniform(0.7, 1.05), rng.uniform(0.9, 1.1)
    matrix = affine(shape_of(film), rng.uniform(-7, 7), zoom, shift=(rng.uniform(-0.08, 0.08), 0))
    return _mirrored(warped(grey(image), matrix, background(rng)), rng)


def from_half(film: Grey, rng: Rng) -> Grey:
    """Half of a film given a drawn spine, one heart with space before and behind it, two domes."""
    shape = shape_of(film)
    half = unit(_half(film, rng))
    smooth = blurred(half, 0.1 * min(shape))
    total = np.float32(rng.uniform(0.2, 0.6)) * smooth + _chest(shape, rng, _upright(rng))
    image = 1 - np.exp(-total * np.float32(rng.uniform(0.7, 1.3)))
    image += (half - smooth) * np.float32(rng.uniform(0.5, 1.2))
    image += np.float32(rng.uniform(0, 0.03)) * grain(shape, rng)
    image -= image.min()
    return _mirrored(grey(image / max(float(image.max()), 1e-6)), rng)


def drawn(shape: Shape, rng: Rng) -> Grey:
    """A lateral drawn from nothing."""
    return _mirrored(exposed(_chest(shape, rng, _upright(rng)), rng), rng)


def silhouette(film: Grey, rng: Rng) -> Grey:
    """A frontal film's own greys and textures, laid out as a lateral."""
    shape = shape_of(film)
    layout = blurred(_chest(shape, rng, _upright(rng)), rng.uniform(0.6, 3))
    lit = grey(layout / max(float(layout.max()), 1e-6))
    light = unit(with_tones_of(lit, film, rng))
    x, y = grid(shape)
    size_px = 0.4 * min(shape)
    warp_x, warp_y = (np.float32(0.06) * grain(shape, rng, size_px) for _ in range(2))
    source = unit(remapped(_half(film, rng), x + warp_x, y + warp_y))
    detail = source - blurred(source, rng.uniform(0.04, 0.12) * min(shape))
    inside = np.minimum(8 * light, 1)
    return _mirrored(grey(light + detail * inside * np.float32(rng.uniform(0.6, 1.4))), rng)


def _half(film: Grey, rng: Rng) -> Grey:
    """One side of a film over the whole frame, the spine on its right."""
    keep = rng.uniform(0.5, 0.62)
    outer = rng.uniform(0.02, 0.12)
    if chance(rng, 0.5):
        film = np.ascontiguousarray(film[:, ::-1])
    return crop(film, outer, 0, keep, 1)


def _upright(rng: Rng) -> Pose:
    angle = np.deg2rad(rng.uniform(-7, 7))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Pose(turn @ np.diag(rng.uniform(0.9, 1.3, 2)), rng.uniform(-0.05, 0.05, 2))


def _chest(shape: Shape, rng: Rng, lie: Pose) -> Unit:
    """The attenuation of a chest seen from its left: sternum on the left, spine on the right."""
    front, back = rng.uniform(0.06, 0.16), rng.uniform(0.86, 0.96)
    deep = back - front
    dome = rng.uniform(0.64, 0.82)

    def at(x: float, y: float) -> tuple[float, float]:
        return front + deep * x, y

    def laid(*points: tuple[float, float]) -> Points:
        return lie(curve(points, 40))

    trunk = [at(0.25, 0.1), at(0.08, 0.25), at(-0.03, 0.5), at(0, 0.8), at(0.05, 1.4)]
    trunk += [at(0.95, 1.4), at(0.98, 0.9), at(1.06, 0.5), at(0.98, 0.22), at(0.8, 0.08)]
    total = soft(shape, [laid(*trunk, trunk[0])], rng.uniform(0.05, 0.14), rng.uniform(0.8, 1.2))
    # Arms raised, the neck between them.
    arm = curve([at(0.55, 0.22), at(0.42, 0.06), at(rng.uniform(0.05, 0.4), -0.2)])
    above = [lie(tube(arm, 0.22)), lie(tube(line(at(0.55, 0.2), at(0.48, -0.3)), 0.3))]
    total = np.maximum(total, soft(shape, above, 0.1, rng.uniform(0.6, 1.3)))
    humerus = lie(long_bone(at(0.55, 0.16), at(0.2, -0.3), 0.07, 0.11, 0.08))
    bend = rng.uniform(0.02, 0.1)
    path = curve(
        [at(0.74, -0.2), at(0.76, 0.1), at(0.8 + bend, 0.45), at(0.79, 0.85), at(0.7, 1.3)], 60
    )
    bodies = [lie(body) for body in column(path, int(rng.integers(15, 20)), (0.08, 0.14), 0.2)]
    total += bone(shape, [humerus, *bodies], rng, rng.uniform(0.15, 0.65), 0.01, 0.55)
    processes = lie(tube(np.add(path, (0.09 * deep, 0.02)), 0.07))
    total += soft(shape, [processes], 0.05, rng.uniform(0.05, 0.25))
    total += _ribs(shape, rng, lie, front, deep)
    # The lungs reach behind the spine; what lies in them is seen through them.
    lung = [at(0.5, 0.12), at(0.24, 0.22), at(0.1, 0.42), at(0.08, dome - 0.02)]
    lung += [at(0.35, dome - 0.08), at(0.65, dome - 0.03), at(0.94, dome + 0.16)]
    lung += [at(1.0, dome - 0.1), at(0.99, 0.4), at(0.84, 0.17)]
    air = soft(shape, [laid(*lung, lung[0])], rng.uniform(0.03, 0.09))
    darker_below = np.linspace(rng.uniform(0.7, 1), 1, shape[0], dtype=np.float32)[:, np.newaxis]
    total *= 1 - np.float32(rng.uniform(0.45, 0.75)) * air * darker_below
    # The other dome, a little higher or lower.
    low = dome + rng.uniform(-0.02, 0.07)
    second = [at(0.05, low), at(0.4, low - 0.14), at(0.7, low - 0.1), at(0.97, low + 0.12)]
    second += [at(0.97, 1.4), at(0.05, 1.4)]
    total += soft(shape, [laid(*second, second[0])], 0.06, rng.uniform(0.05, 0.4))
    heart = blob(rng, at(0.35, dome - 0.17), (0.22 * deep, 0.17), 0.06, rng.uniform(-35, -5))
    total += soft(shape, [lie(heart)], rng.uniform(0.08, 0.16), rng.uniform(0.2, 0.5))
    arch = curve([at(0.35, 0.45), at(0.38, 0.32), at(0.55, 0.28), at(0.66, 0.4), at(0.7, 0.8)])
    total += soft(shape, [lie(tube(arch, 0.1))], 0.06, rng.uniform(0.05, 0.2))
    vessels = [lie(blob(rng, at(0.48, 0.44), (0.07, 0.06), 0.2))]
    for turn in rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))):
        long = rng.uniform(0.3, 1)
        end = at(0.48 + 0.3 * long * np.cos(turn), 0.45 + 0.24 * long * np.sin(turn))
        path = line(at(0.48, 0.44), end, rng.normal(0, 0.15))
        vessels.append(lie(tube(path, np.linspace(0.03, 0.004, len(path)))))
    total += soft(shape, vessels, 0.04, rng.uniform(0.08, 0.25))
    trachea = tube(curve([at(0.45, 0.02), at(0.47, 0.2), at(0.52, 0.4)]), 0.05)
    total *= 1 - np.float32(rng.uniform(0.1, 0.4)) * soft(shape, [lie(trachea)], 0.02)
    return total * (np.float32(0.85) + np.float32(0.3) * clouds(shape, rng, 9, 5, 0.75))


def _ribs(shape: Shape, rng: Rng, lie: Pose, front: float, deep: float) -> Unit:
    """Both sides' across each other, down to the front, and the sternum."""
    steep = rng.uniform(0.12, 0.26)
    total = np.zeros(shape, np.float32)
    for shift in (0.0, rng.uniform(0.015, 0.05)):
        ribs = []
        for y in np.arange(0.1, 0.9, rng.uniform(0.065, 0.085)):
            points = [(0.86 + shift, y + shift), (1.0, y + 0.06), (0.6, y + steep)]
            points += [(0.12, y + steep * 1.3)]
            path = curve([(front + deep * x, v) for x, v in points])
            ribs.append(lie(tube(path, rng.uniform(0.014, 0.026))))
        total += bone(shape, ribs, rng, rng.uniform(0.05, 0.25), 0.006, 0.4)
    sternum = [(front + deep * x, y) for x, y in ((0.16, 0.2), (0.05, 0.4), (0.02, 0.62))]
    breast_bone = lie(tube(curve(sternum), 0.035))
    return total + bone(shape, [breast_bone], rng, rng.uniform(0.1, 0.4), 0.008, 0.5)


def _spaces(shape: Shape, rng: Rng) -> Unit:
    """Darker before and behind the heart, brighter at the spine, which is on the right."""
    x, y = grid(shape)
    dark = np.exp(-(((x - 0.22) / 0.14) ** 2) - ((y - 0.35) / 0.15) ** 2)
    dark = dark + np.exp(-(((x - 0.62) / 0.12) ** 2) - ((y - 0.55) / 0.2) ** 2)
    bright = np.exp(-(((x - 0.86 - 0.06 * np.sin(3 * y)) / 0.07) ** 2))
    heart = np.exp(-(((x - 0.38) / 0.16) ** 2) - ((y - 0.62) / 0.14) ** 2)
    spaces = np.float32(rng.uniform(0.3, 0.8)) * (0.6 * bright + 0.7 * heart - dark)
    return np.asarray(spaces, np.float32)


def _mirrored(film: Grey, rng: Rng) -> Grey:
    return np.ascontiguousarray(film[:, ::-1]) if chance(rng, 0.5) else film
