"""The look of a radiograph, for parts that are drawn: soft tissue, bone, exposure, collimation.

What a ray crosses attenuates it to exp(-sum of mu t) (Beer-Lambert); a film shows how little
arrives. Thickness comes from a mask's distance to its edge: a rounded body for soft tissue; for
bone a dense rim, the cortex seen edge-on, around a lighter marrow with its trabeculae.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .grey import (
    Grey,
    Point,
    Points,
    Rng,
    Shape,
    Unit,
    blurred,
    chance,
    crop,
    filled,
    grey,
    grid,
    unit,
)
from .textures import clouds, grain
from .writing import written


@dataclass(frozen=True)
class Pose:
    """Where a drawing lies: its points, 0 to 1 in a square, go through `linear` about the centre
    and are then moved by `offset`. linear (2, 2)."""

    linear: Points
    offset: Points

    def __call__(self, points: Points | Sequence[Point]) -> Points:
        return (np.asarray(points, np.float64) - 0.5) @ self.linear.T + 0.5 + self.offset


def pose(
    rng: Rng, turn_deg: float, zoom: tuple[float, float] = (0.8, 1.25), quarters: bool = True
) -> Pose:
    """A random one: turned by up to `turn_deg` either way (quarters: and any number of quarters),
    mirrored, stretched and moved a little."""
    angle = np.deg2rad(rng.uniform(-turn_deg, turn_deg))
    if quarters and chance(rng, 0.4):
        angle += np.pi / 2 * rng.integers(1, 4)
    size = rng.uniform(*zoom)
    stretch = 2 ** rng.uniform(-0.25, 0.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = -1 if chance(rng, 0.5) else 1
    scale = np.diag([size * stretch, size / stretch])
    return Pose(scale @ turn @ np.diag([mirror, 1]), rng.uniform(-0.06, 0.06, 2))


# --- Outlines ------------------------------------------------------------------------------------


def tube(path: Points, widths: Points | Sequence[float] | float) -> Points:
    """The outline around a path (N, 2), so wide at its points."""
    steps = path[1:] - path[:-1]
    along = np.concatenate([steps[:1], steps[1:] + steps[:-1], steps[-1:]])
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    across = along[:, ::-1] * (-1, 1) * (0.5 * np.asarray(widths) / length)[:, np.newaxis]
    return np.concatenate([path + across, (path - across)[::-1]])


def line(start: Point, end: Point, bend: float = 0, n: int = 16) -> Points:
    """From start to end, its middle off by `bend` of the length."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    t = np.linspace(0, 1, n)[:, np.newaxis]
    normal = np.array([a[1] - b[1], b[0] - a[0]])
    return a + (b - a) * t + normal * (4 * bend * t * (1 - t))


def curve(points: Sequence[Point], n: int = 24) -> Points:
    """A smooth path (Catmull-Rom) through the points."""
    known = np.asarray(points, np.float64)
    padded = np.concatenate([2 * known[:1] - known[1:2], known, 2 * known[-1:] - known[-2:-1]])
    t = np.linspace(0, len(known) - 1, n)
    i = np.minimum(t.astype(int), len(known) - 2)
    u = (t - i)[:, np.newaxis]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (
        2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * (b - c) + d - a) * u**3
    )


def long_bone(
    start: Point,
    end: Point,
    shaft: float,
    head: float,
    foot: float,
    bend: float = 0,
) -> Points:
    """Slender in its shaft, flared at head (at the start) and foot."""
    path = line(start, end, bend, 20)
    t = np.linspace(0, 1, len(path))
    flare = (head - shaft) * np.exp(-((t / 0.16) ** 2))
    flare += (foot - shaft) * np.exp(-(((1 - t) / 0.16) ** 2))
    rounded = np.clip(1 - np.abs(2 * t - 1) ** 14, 0, 1) ** 0.5 * 0.6 + 0.4
    return tube(path, (shaft + flare) * rounded)


def blob(
    rng: Rng,
    centre: Point,
    radii: Point,
    wobble: float = 0.08,
    angle_deg: float = 0,
) -> Points:
    """An ellipse with an uneven outline."""
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    radius = np.ones_like(turn)
    for k in (2, 3, 4, 5):
        radius += wobble / k * rng.normal() * np.cos(k * turn + rng.uniform(0, 6))
    x, y = radius * np.cos(turn) * radii[0], radius * np.sin(turn) * radii[1]
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)


def vertebra(centre: Points, along: Points, width: float, height: float) -> Points:
    """A body with waisted sides. along: the unit vector down the spine."""
    across = np.array([-along[1], along[0]])
    v = np.linspace(-0.5, 0.5, 6)[:, np.newaxis]
    half = width * (0.44 + 0.3 * v**2)
    side = centre + along * (v * height)
    return np.concatenate([side + across * half, (side - across * half)[::-1]])


def column(path: Points, n: int, width: tuple[float, float], disc: float = 0.18) -> list[Points]:
    """n vertebral bodies along a path. width: of the first and the last; disc: part of a body."""
    t = np.linspace(0, len(path) - 1, n + 1)
    i = np.arange(len(path))
    edges = np.stack([np.interp(t, i, path[:, 0]), np.interp(t, i, path[:, 1])], axis=1)
    bodies = []
    for a, b, w in zip(edges[:-1], edges[1:], np.linspace(*width, n), strict=True):
        length = float(np.hypot(*(b - a)))
        bodies.append(vertebra((a + b) / 2, (b - a) / max(length, 1e-9), w, length * (1 - disc)))
    return bodies


# --- Attenuation ---------------------------------------------------------------------------------


def soft(shape: Shape, outlines: Sequence[Points], depth: float, mu: float = 1) -> Unit:
    """Rounded: thickest from `depth` (part of the side) inwards."""
    distance = _from_edge(filled(shape, outlines))
    inwards = np.minimum(distance / np.float32(max(depth * min(shape), 1)), 1)
    return np.float32(mu) * np.sqrt(inwards * (2 - inwards))


def bone(
    shape: Shape,
    outlines: Sequence[Points],
    rng: Rng,
    mu: float = 1,
    cortex: float = 0.012,
    marrow: float = 0.55,
) -> Unit:
    """cortex: its thickness, part of the side; marrow: how dense, as a part of the cortex."""
    distance = _from_edge(filled(shape, outlines))
    inwards = distance / np.float32(max(cortex * min(shape), 0.8))
    rim = inwards * np.exp(1 - inwards)
    inside = np.minimum(inwards, 1)
    trabeculae = 1 + np.float32(rng.uniform(0.05, 0.22)) * grain(shape, rng, rng.uniform(1, 2.2))
    return np.float32(mu) * (
        np.float32(1 - marrow) * rim + np.float32(marrow) * inside * trabeculae
    )


def _from_edge(mask: Grey) -> Unit:
    """In px, inwards; what reaches over the frame has no edge there."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)
    return np.asarray(distance[1:-1, 1:-1], np.float32)


# --- Exposure ------------------------------------------------------------------------------------


def exposed(attenuation: Unit, rng: Rng, markers: bool = True) -> Grey:
    """The film behind this attenuation: scatter, unsharpness, grain, tone, collimation, markers."""
    shape = attenuation.shape[0], attenuation.shape[1]
    strength = np.float32(rng.uniform(0.5, 1.3))
    uneven = 1 + np.float32(rng.uniform(0.05, 0.2)) * (clouds(shape, rng, 2, 4, 0.6) - 0.5)
    image = 1 - np.exp(-attenuation * strength * uneven)
    image += np.float32(rng.uniform(0, 0.25)) * blurred(image, 0.06 * min(shape))
    image = blurred(image, rng.uniform(0.5, 1.1))
    noise = np.float32(rng.uniform(0.003, 0.04)) * grain(shape, rng, rng.uniform(1, 2))
    image += noise * (np.float32(0.15) + image)
    image -= image.min()
    image /= max(float(image.max()), 1e-6)
    image = image ** np.float32(2 ** rng.uniform(-0.8, 0.9))
    if chance(rng, 0.4):
        image = collimated(image, rng)
    film = grey(image)
    if markers and chance(rng, 0.6):
        marked(film, rng)
    return film


def with_grain_of(image: Grey, film: Grey, rng: Rng) -> Grey:
    """A drawing with the fine structure of a piece of a real film, enlarged: else the look of real
    grain would tell a chest film from what is drawn."""
    size = 1 / rng.uniform(2, 5)
    left, top = rng.uniform(0.05, 0.95 - size, 2)
    piece = unit(crop(film, left, top, left + size, top + size))
    detail = piece - blurred(piece, 0.03 * min(film.shape))
    drawn = unit(image)
    return grey(drawn + np.float32(rng.uniform(0.5, 2.5)) * detail * drawn)


def collimated(image: Unit, rng: Rng, most: float = 0.2) -> Unit:
    """Black, or nearly so, outside of shutters that stand a little askew."""
    x, y = grid((image.shape[0], image.shape[1]))
    light = np.float32(rng.uniform(0, 0.12))
    tilt = rng.uniform(-0.06, 0.06)
    edges = rng.uniform(0, most, 4) * (rng.random(4) < 0.7)
    inside = (x + tilt * y > edges[0]) & (x + tilt * y < 1 - edges[1])
    inside = inside & (y - tilt * x > edges[2]) & (y - tilt * x < 1 - edges[3])
    return np.where(inside, image, image * light)


def marked(film: Grey, rng: Rng, size: tuple[float, float] = (0.03, 0.08)) -> None:
    """A side marker or a line of text at the edge, in place; at times on its own dark box."""
    texts = ("R", "L", "R", "L", "D", "G", "I", "AP", "PA", "JK 12", "SUPINE", "BED")
    text = texts[rng.integers(len(texts))]
    size_px = rng.uniform(*size) * film.shape[0]
    left = rng.uniform(0.02, 0.1) if chance(rng, 0.5) else rng.uniform(0.75, 0.9)
    y = rng.uniform(0.08, 0.3) if chance(rng, 0.7) else rng.uniform(0.7, 0.95)
    if chance(rng, 0.15):
        height, width = film.shape
        rows = slice(max(0, round(y * height - 1.4 * size_px)), round(y * height + 0.4 * size_px))
        columns = slice(
            max(0, round(left * width - 3)),
            round(left * width + size_px * (0.4 + 0.8 * len(text))),
        )
        film[rows, columns] = rng.integers(0, 256)
    written(film, text, left, y, size_px, 255 if chance(rng, 0.9) else 0)
