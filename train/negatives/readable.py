"""Films that a reader takes as they are: real ones, as hospitals not in the training sets give
them. Each step leaves the lungs whole, upright and visible."""

from collections.abc import Callable

import cv2
import numpy as np

from .grey import (
    Grey,
    Rng,
    affine,
    blurred,
    chance,
    crop,
    filled,
    grey,
    grid,
    ramp,
    resized,
    shape_of,
    strokes,
    toned,
    unit,
    warped,
)
from .radiography import blob, collimated, curve, marked
from .textures import clouds, grain
from .writing import written

MOST_CROP = 0.11  # of a side; more begins to cost lung
MOST_BORDER = 0.12

Step = Callable[[Grey, Rng], Grey]


# --- Steps ---------------------------------------------------------------------------------------


def moved(film: Grey, rng: Rng) -> Grey:
    """Tilted by up to 8 degrees, larger or smaller, stretched, sheared, shifted a little."""
    zoom = rng.uniform(0.85, 1.15)
    stretch = 2 ** rng.uniform(-0.12, 0.12)
    matrix = affine(
        shape_of(film),
        rng.uniform(-8, 8),
        (zoom * stretch, zoom / stretch),
        rng.uniform(-0.06, 0.06),
        (rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04)),
    )
    fill = (0, 0, 0, 255)[rng.integers(4)]
    return warped(film, matrix, fill)


def cropped(film: Grey, rng: Rng) -> Grey:
    """Up to MOST_CROP less at each side."""
    left, top, right, bottom = rng.uniform(0, MOST_CROP, 4)
    return crop(film, left, top, 1 - right, 1 - bottom)


def mirrored(film: Grey, _: Rng) -> Grey:
    return np.ascontiguousarray(film[:, ::-1])


def bordered(film: Grey, rng: Rng) -> Grey:
    """The whole film inside of black, white or grey borders, uneven, of up to MOST_BORDER each."""
    height, width = film.shape
    sides = rng.uniform(0, MOST_BORDER, 4) * (rng.random(4) < 0.75)
    value = (0, 0, 0, 255, 255, int(rng.integers(0, 90)))[rng.integers(6)]
    image = np.full_like(film, value)
    target = image[
        round(sides[0] * height) : round((1 - sides[1]) * height),
        round(sides[2] * width) : round((1 - sides[3]) * width),
    ]
    target[:] = resized(film, shape_of(target))
    return image


def shuttered(film: Grey, rng: Rng) -> Grey:
    """Collimated: dark beyond edges that stand a little askew."""
    return grey(collimated(unit(film), rng, 0.07))


def labelled(film: Grey, rng: Rng) -> Grey:
    """Side markers, burnt-in text, now and then a box with name and date."""
    image = film.copy()
    for _ in range(rng.integers(1, 4)):
        marked(image, rng, (0.025, 0.07))
    if chance(rng, 0.25):
        height, width = image.shape
        size = rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.11)
        left = 0.0 if chance(rng, 0.5) else 1 - size[0]
        top = 0.0 if chance(rng, 0.5) else 1 - size[1]
        rows = slice(round(top * height), round((top + size[1]) * height))
        dark = chance(rng, 0.6)
        columns = slice(round(left * width), round((left + size[0]) * width))
        image[rows, columns] = 0 if dark else 255
        text_px = size[1] * height * 0.35
        for i_line, text in enumerate(("NAME 0815", "12.03.2019  AP")):
            y = top + size[1] * (0.45 + 0.45 * i_line)
            written(image, text, left + 0.01, y, text_px, 255 if dark else 0)
    return image


def exposed_otherwise(film: Grey, rng: Rng) -> Grey:
    """Gamma 0.55 to 1.8 and an S-curve, harder or softer."""
    levels = ramp() ** np.float32(np.exp(rng.uniform(np.log(0.55), np.log(1.8))))
    slope = np.float32(rng.uniform(0.1, 3.2))
    curve_ = np.tanh(slope * (levels - 0.5)) / np.tanh(slope / 2)
    return toned(film, 0.5 + 0.5 * curve_.astype(np.float32))


def locally_contrasted(film: Grey, rng: Rng) -> Grey:
    """As a vendor's processing evens out a film: CLAHE (Pizer et al. 1987)."""
    tiles = int(rng.integers(2, 9))
    clahe = cv2.createCLAHE(rng.uniform(1, 3.5), (tiles, tiles))
    amount = np.float32(rng.uniform(0.4, 1))
    return grey((1 - amount) * unit(film) + amount * unit(np.asarray(clahe.apply(film), np.uint8)))


def sharpened(film: Grey, rng: Rng) -> Grey:
    """An unsharp mask, fine or broad."""
    image = unit(film)
    detail = image - blurred(image, 2 ** rng.uniform(0, 3.5))
    return grey(image + np.float32(rng.uniform(0.3, 1.6)) * detail)


def softened(film: Grey, rng: Rng) -> Grey:
    return grey(blurred(unit(film), rng.uniform(0.5, 1.5)))


def noisy(film: Grey, rng: Rng) -> Grey:
    """More where less light came through, its grains 1 to 2 px."""
    noise = grain(shape_of(film), rng, rng.uniform(1, 2)) * np.float32(rng.uniform(0.01, 0.05))
    image = unit(film)
    return grey(image + noise * (0.5 + image))


def compressed(film: Grey, rng: Rng) -> Grey:
    """By JPEG, at quality 20 to 95."""
    _, data = cv2.imencode(".jpg", film, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 96))))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def resampled(film: Grey, rng: Rng) -> Grey:
    """Up again from 0.36 to 0.72 of its size, as from 80 to 160 px."""
    times = rng.uniform(0.36, 0.72)
    small = round(film.shape[0] * times), round(film.shape[1] * times)
    return resized(resized(film, small), shape_of(film))


def hazy(film: Grey, rng: Rng) -> Grey:
    """Scatter: a veil as bright as what lies around."""
    image = unit(film)
    amount = np.float32(rng.uniform(0.15, 0.5))
    return grey((1 - amount) * image + amount * blurred(image, 0.12 * min(film.shape)))


def shaded(film: Grey, rng: Rng) -> Grey:
    """Unevenly lit: darker to one side or to its corners."""
    x, y = grid(shape_of(film))
    centre = rng.uniform(0, 1, 2)
    distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    return grey(unit(film) * (1 - np.float32(rng.uniform(0.1, 0.5)) * distance))


def scanned(film: Grey, rng: Rng) -> Grey:
    """A digitised film: streaks along the feed, dust, scratches, Newton's rings."""
    image = unit(film)
    height, width = film.shape
    image = image + np.float32(rng.uniform(0.005, 0.03)) * grain((1, width), rng)[:1]
    for _ in range(rng.integers(0, 5)):
        image[:, rng.integers(width)] += np.float32(rng.normal(0, 0.12))
    for _ in range(rng.integers(5, 60)):
        place = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(image, place, int(rng.integers(0, 2)), (rng.uniform(0.7, 1),), -1, cv2.LINE_AA)
    for _ in range(rng.integers(0, 5)):
        path = rng.uniform(0, 1, 2) + np.cumsum(rng.normal(0, 0.03, (8, 2)), axis=0)
        strokes(image, [path], rng.uniform(0.6, 1))
    if chance(rng, 0.3):
        x, y = grid(shape_of(film))
        rings = np.sin(
            rng.uniform(60, 160) * np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1))
        )
        image = image + np.float32(rng.uniform(0.005, 0.02)) * rings
    return grey(image)


def with_devices(film: Grey, rng: Rng) -> Grey:
    """ECG leads, lines, tubes, wires, a pacemaker or a port: some of them."""
    image = unit(film)
    drawn = np.zeros_like(image)
    height = film.shape[0]
    if chance(rng, 0.7):
        for _ in range(rng.integers(1, 5)):
            end = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.75)
            start = (rng.choice((-0.02, 1.02)), rng.uniform(0.2, 1.0))
            middle = (np.add(start, end) / 2 + rng.normal(0, 0.08, 2)).tolist()
            strokes(drawn, [curve([start, middle, end])], rng.uniform(0.3, 0.7))
            place = round(end[0] * film.shape[1]), round(end[1] * height)
            size = max(1, round(rng.uniform(0.006, 0.016) * height))
            cv2.circle(drawn, place, size, (rng.uniform(0.5, 1),), -1, cv2.LINE_AA)
    if chance(rng, 0.4):  # a tube down the middle
        x = rng.uniform(0.46, 0.52)
        path = curve([(x, -0.05), (x + 0.01, 0.15), (x + 0.02, rng.uniform(0.25, 0.9))])
        edges = [np.add(path, (side, 0)) for side in (-0.008, 0.008)]
        strokes(drawn, edges, rng.uniform(0.15, 0.5))
    if chance(rng, 0.35):  # a central line
        side = rng.choice((-1, 1))
        x = 0.5 + side * rng.uniform(0.1, 0.25)
        path = curve([(x, -0.02), (x - side * 0.02, 0.15), (0.46, 0.24), (0.45, 0.42)])
        strokes(drawn, [path], rng.uniform(0.3, 0.6))
    if chance(rng, 0.25):  # a pacemaker with its wire
        side = rng.choice((-1, 1))
        at = (0.5 + side * rng.uniform(0.22, 0.32), rng.uniform(0.14, 0.26))
        box = filled(shape_of(film), [blob(rng, at, (0.055, 0.045), 0.05)])
        drawn = np.maximum(drawn, box * np.float32(rng.uniform(0.6, 1)))
        path = curve([at, (0.5 + side * 0.05, 0.2), (0.46, 0.4), (0.55, 0.62)])
        strokes(drawn, [path], rng.uniform(0.4, 0.8))
    if chance(rng, 0.15):  # wires around the breast bone
        for y in np.linspace(0.28, 0.6, int(rng.integers(3, 7))):
            ring = blob(rng, (0.49, y), (0.018, 0.01), 0.2)
            strokes(drawn, [np.concatenate([ring, ring[:1]])], rng.uniform(0.5, 0.9))
    drawn = blurred(drawn, rng.uniform(0.4, 0.7))
    return grey(image + drawn * (1 - image))


def with_opacity(film: Grey, rng: Rng) -> Grey:
    """An effusion, a consolidation or a lung all white: on one side, and a film like any other."""
    shape = shape_of(film)
    x, y = grid(shape)
    left = chance(rng, 0.5)
    centre = rng.uniform(0.27, 0.35) if left else rng.uniform(0.65, 0.73)
    lung = np.exp(-(np.abs((x - centre) / 0.19) ** 4) - np.abs((y - 0.42) / 0.32) ** 4)
    style = rng.integers(3)
    if style == 0:  # fluid, its surface higher towards the side
        outward = (centre - x) if left else (x - centre)
        level = np.float32(rng.uniform(0.35, 0.62)) - np.float32(rng.uniform(0.2, 0.8)) * outward
        cover = lung / (1 + np.exp(-(y - level) * np.float32(rng.uniform(20, 60))))
    elif style == 1:
        spot_x, spot_y = centre + rng.uniform(-0.07, 0.07), rng.uniform(0.2, 0.62)
        sizes = rng.uniform(0.05, 0.14, 2)
        spot = np.exp(-(((x - spot_x) / sizes[0]) ** 2) - ((y - spot_y) / sizes[1]) ** 2)
        cover = spot * (0.5 + clouds(shape, rng, 8, 3)) * np.sqrt(lung)
    else:
        cover = lung * np.float32(rng.uniform(0.7, 1))
    image = unit(film)
    white = np.float32(rng.uniform(0.75, 0.95))
    part = np.clip(cover * np.float32(rng.uniform(0.6, 1)), 0, 1)
    return grey(image + part * np.maximum(white - image, 0))


def hyperinflated(film: Grey, rng: Rng) -> Grey:
    """Lungs darker than usual, their vessels still to be seen."""
    shape = shape_of(film)
    x, y = grid(shape)
    lungs = sum(
        np.exp(-(np.abs((x - centre) / 0.17) ** 4) - np.abs((y - 0.42) / 0.32) ** 4)
        for centre in (0.3, 0.7)
    )
    image = unit(film)
    return grey(image * (1 - np.float32(rng.uniform(0.25, 0.55)) * np.clip(lungs, 0, 1)))


def with_tones_of(film: Grey, other: Grey, rng: Rng) -> Grey:
    """The histogram of another film, taken over wholly or in part."""
    own = np.cumsum(np.bincount(film.ravel(), minlength=256)) / film.size
    theirs = np.cumsum(np.bincount(other.ravel(), minlength=256)) / other.size
    levels = np.interp(own, theirs, ramp())
    amount = rng.uniform(0.4, 1)
    return toned(film, ((1 - amount) * ramp() + amount * levels).astype(np.float32))


# --- Films ---------------------------------------------------------------------------------------

_SITE: tuple[tuple[float, Step], ...] = (
    (0.3, moved),
    (0.15, cropped),
    (0.12, shaded),
    (0.12, hazy),
    (0.4, exposed_otherwise),
    (0.2, locally_contrasted),
    (0.25, sharpened),
    (0.15, softened),
    (0.25, noisy),
    (0.15, with_devices),
    (0.2, shuttered),
    (0.35, labelled),
    (0.2, bordered),
    (0.15, resampled),
    (0.3, compressed),
)


# A film goes through one of these at most: together they would cost lung or detail.
_ONE_OF = (
    frozenset({moved, cropped}),
    frozenset({exposed_otherwise, hyperinflated}),
    frozenset({sharpened, softened, resampled}),
    frozenset({noisy, scanned, hazy}),
)


def dressed(film: Grey, rng: Rng, already: tuple[Step, ...] = ()) -> Grey:
    """As another hospital's: a few steps of all kinds, in the order in which a film meets them.

    Also what films go through before they are made unreadable: else a border or a JPEG would be
    the mark of a good film. already: steps that it has gone through.
    """
    taken = {*already}
    for probability, step in _SITE:
        excluded = any(step in group and not group.isdisjoint(taken) for group in _ONE_OF)
        if step not in taken and not excluded and chance(rng, probability):
            film = step(film, rng)
            taken.add(step)
    return film


def readable_by(*steps: Step) -> Step:
    """Films that certainly go through these steps, and half of them through some of the others."""

    def make(film: Grey, rng: Rng) -> Grey:
        for step in steps:
            film = step(film, rng)
        return dressed(film, rng, steps) if chance(rng, 0.5) else film

    return make
