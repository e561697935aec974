"""Real films that lie wrong, are cut off, show a fragment alone or have lost their order."""

from collections.abc import Sequence

import numpy as np

from .grey import (
    Grey,
    Rng,
    affine,
    chance,
    crop,
    grid,
    remapped,
    resized,
    shape_of,
    warped,
)
from .textures import grain


def background(rng: Rng) -> int:
    """What lies beyond a film's edge: mostly black, at times white or grey."""
    return (0, 0, 0, 0, 255, int(rng.integers(20, 200)))[rng.integers(6)]


def rotated(film: Grey, turns: int, rng: Rng) -> Grey:
    """The film lies turned by `turns` times 90 degrees clockwise, and up to 12 degrees either way.

    Its sides change their ratio at random, as what lies across was taller or wider before.
    """
    turned = resized(np.ascontiguousarray(np.rot90(film, -turns)), shape_of(film))
    return _jittered(turned, rng)


def flipped_upside_down(film: Grey, rng: Rng) -> Grey:
    """Mirrored top to bottom."""
    return _jittered(np.ascontiguousarray(film[::-1]), rng)


def transposed(film: Grey, rng: Rng) -> Grey:
    """Mirrored along its diagonal: what was above is on the left, as in a film turned by 270."""
    return _jittered(resized(np.ascontiguousarray(film.T), shape_of(film)), rng)


def _jittered(film: Grey, rng: Rng) -> Grey:
    stretch = 2 ** rng.uniform(-0.25, 0.25)
    zoom = rng.uniform(0.85, 1.2)
    matrix = affine(
        shape_of(film),
        rng.uniform(-12, 12),
        (zoom * stretch, zoom / stretch),
        shift=(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)),
    )
    return warped(film, matrix, background(rng))


# --- Lungs cut off -------------------------------------------------------------------------------
# Lungs reach from about 0.1 to 0.7 of a film's height and 0.12 to 0.88 of its width.


def cut_top(film: Grey, rng: Rng) -> Grey:
    """Without the upper third to half: no apices, no upper zones."""
    left, right = _little(rng), 1 - _little(rng)
    return crop(_tilted(film, rng), left, _much(rng), right, 1 - _little(rng))


def cut_bottom(film: Grey, rng: Rng) -> Grey:
    """Without the lower half or more: many films show much abdomen below the lungs."""
    left, right = _little(rng), 1 - _little(rng)
    return crop(_tilted(film, rng), left, _little(rng), right, rng.uniform(0.33, 0.48))


def cut_side(film: Grey, rng: Rng) -> Grey:
    """Without a third to nearly a half of the width: one lung has lost its outer part or more."""
    keep = 1 - _much(rng)
    left = 0.0 if chance(rng, 0.5) else 1 - keep
    return crop(_tilted(film, rng), left, _little(rng), left + keep, 1 - _little(rng))


def half_chest(film: Grey, rng: Rng) -> Grey:
    """One lung and the spine at the edge."""
    keep = rng.uniform(0.42, 0.54)
    left = 0.0 if chance(rng, 0.5) else 1 - keep
    return crop(_tilted(film, rng), left, _little(rng), left + keep, 1 - _little(rng))


def one_lung(film: Grey, rng: Rng) -> Grey:
    """A tight view of a part of one lung."""
    width, height = rng.uniform(0.32, 0.44), rng.uniform(0.35, 0.55)
    x = rng.uniform(0.24, 0.36) if chance(rng, 0.5) else rng.uniform(0.64, 0.76)
    y = rng.uniform(0.3, 0.5)
    left, top = max(0.0, x - width / 2), max(0.0, y - height / 2)
    return crop(_tilted(film, rng), left, top, min(1, left + width), top + height)


def shifted_out(film: Grey, rng: Rng) -> Grey:
    """The chest lies half beyond the frame, which is black, white or grey where it is not."""
    sideways = chance(rng, 0.5)
    far = rng.uniform(0.34, 0.55) * (1 if chance(rng, 0.5) else -1)
    # Downwards the abdomen leaves first, so that the lungs only follow later.
    if not sideways and far > 0:
        far += 0.12
    near = rng.uniform(-0.08, 0.08)
    zoom = rng.uniform(0.9, 1.25)
    fill = (0, 0, 255, int(rng.integers(256)))[rng.integers(4)]
    matrix = affine(
        shape_of(film),
        rng.uniform(-8, 8),
        (zoom, zoom),
        shift=(far, near) if sideways else (near, far),
    )
    return warped(film, matrix, fill)


def covered(film: Grey, rng: Rng) -> Grey:
    """Shutters closed over the lungs, from one side or from two."""
    height, width = film.shape
    image = film.copy()
    fill = (0, 0, 0, 255, int(rng.integers(256)))[rng.integers(5)]
    sides = rng.choice(4, 2, replace=False)
    deep = (rng.uniform(0.36, 0.55), rng.uniform(0, 0.15))
    for side, depth in zip(sides, deep, strict=True):
        if side == 0:
            image[: round(depth * height)] = fill
        elif side == 1:
            image[round((0.85 - depth) * height) :] = fill  # what lies below is abdomen first
        elif side == 2:
            image[:, : round(depth * width)] = fill
        else:
            image[:, round((1 - depth) * width) :] = fill
    return image


def _little(rng: Rng) -> float:
    return rng.uniform(0, 0.08)


def _much(rng: Rng) -> float:
    return rng.uniform(0.35, 0.52)


def _tilted(film: Grey, rng: Rng) -> Grey:
    return warped(film, affine(shape_of(film), rng.uniform(-6, 6)), None)


# --- Fragments -----------------------------------------------------------------------------------


def corner(film: Grey, rng: Rng) -> Grey:
    """A shoulder with its arm, from an upper corner."""
    size = rng.uniform(0.18, 0.26)
    left = rng.uniform(0, 0.03) if chance(rng, 0.5) else 1 - size - rng.uniform(0, 0.03)
    top = rng.uniform(0, 0.06)
    return _any_way(crop(film, left, top, left + size, top + size * rng.uniform(0.7, 1.1)), rng)


def abdomen_strip(film: Grey, rng: Rng) -> Grey:
    """What lies below the lungs."""
    top = rng.uniform(0.78, 0.85)
    left = rng.uniform(0, 0.4)
    return _any_way(crop(film, left, top, left + rng.uniform(0.3, 0.6), 1), rng)


def neck(film: Grey, rng: Rng) -> Grey:
    """What lies above the lungs, in the middle."""
    half = rng.uniform(0.12, 0.22)
    middle = rng.uniform(0.42, 0.58)
    return _any_way(crop(film, middle - half, 0, middle + half, rng.uniform(0.12, 0.2)), rng)


def extreme_zoom(film: Grey, rng: Rng) -> Grey:
    """Four to eight times as large, anywhere but in the air beside the patient."""
    size = 1 / rng.uniform(4, 8)
    for _ in range(6):
        left, top = rng.uniform(0.05, 0.95 - size), rng.uniform(0.02, 0.98 - size)
        image = crop(film, left, top, left + size, top + size)
        if image.std() > 12:
            break
    return _any_way(image, rng)


def _any_way(image: Grey, rng: Rng) -> Grey:
    """Turned by any number of quarters and tilted."""
    if chance(rng, 0.3):
        turned = np.ascontiguousarray(np.rot90(image, int(rng.integers(1, 4))))
        image = resized(turned, shape_of(image))
    return _tilted(image, rng)


# --- Order lost ----------------------------------------------------------------------------------


def jigsaw(film: Grey, other: Grey, rng: Rng) -> Grey:
    """Cut into 2 x 2 to 6 x 6 pieces and laid out in another order; some from another film."""
    height, width = film.shape
    n_rows, n_columns = (int(n) for n in rng.integers(2, 7, 2))
    rows = np.linspace(0, height, n_rows + 1).astype(int)
    columns = np.linspace(0, width, n_columns + 1).astype(int)
    places = [(i, j) for i in range(n_rows) for j in range(n_columns)]
    order = rng.permutation(len(places))
    while np.mean(order == np.arange(len(places))) > 0.3:
        order = rng.permutation(len(places))
    mixed = chance(rng, 0.3)
    turned = chance(rng, 0.3)
    image = np.empty_like(film)
    for (i, j), source in zip(places, order, strict=True):
        k, m = places[source]
        film_of_piece = other if mixed and chance(rng, 0.4) else film
        piece = film_of_piece[rows[k] : rows[k + 1], columns[m] : columns[m + 1]]
        if turned:
            piece = np.rot90(piece, int(rng.integers(4)))
        target = image[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        target[:] = resized(np.ascontiguousarray(piece), shape_of(target))
    return image


def swirl(film: Grey, rng: Rng) -> Grey:
    """Turned about a point, the less the farther from it."""
    x, y = grid(shape_of(film))
    centre_x, centre_y = rng.uniform(0.35, 0.65, 2).astype(np.float32)
    dx, dy = x - centre_x, y - centre_y
    radius = np.float32(rng.uniform(0.3, 0.6))
    strength = np.float32(rng.uniform(3, 9) * (1 if chance(rng, 0.5) else -1))
    angle = strength * np.exp(-np.hypot(dx, dy) / radius * 2)
    cos, sin = np.cos(angle), np.sin(angle)
    return remapped(film, centre_x + cos * dx - sin * dy, centre_y + sin * dx + cos * dy)


def elastic(film: Grey, rng: Rng) -> Grey:
    """Bent as no chest is (Simard et al., "Best practices for CNNs", ICDAR 2003)."""
    shape = shape_of(film)
    cells = rng.uniform(3, 9)
    strength = np.float32(rng.uniform(0.4, 0.7) / cells)
    x, y = grid(shape)
    size_px = max(shape) / cells
    return remapped(
        film, x + strength * grain(shape, rng, size_px), y + strength * grain(shape, rng, size_px)
    )


def kaleidoscope(film: Grey, rng: Rng) -> Grey:
    """One piece mirrored over and over: in two or four quarters, or around a point."""
    x, y = grid(shape_of(film))
    if chance(rng, 0.5):
        n = int(rng.integers(3, 9))
        dx, dy = x - 0.5, y - 0.5
        angle = np.arctan2(dy, dx) + np.float32(rng.uniform(0, 6))
        sector = np.float32(2 * np.pi / n)
        angle = np.abs(angle % sector - sector / 2) + np.float32(rng.uniform(0, 6))
        radius = np.hypot(dx, dy) * np.float32(rng.uniform(0.6, 1.2))
        centre = rng.uniform(0.35, 0.65, 2).astype(np.float32)
        return remapped(
            film, centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
        )
    if chance(rng, 0.4):
        # Top and bottom alike: shoulders twice and no diaphragm, or the other way round.
        return remapped(film, x, np.abs(y - 0.5) + (0.5 if chance(rng, 0.5) else 0))
    start_x, start_y = rng.uniform(0, 0.5, 2).astype(np.float32)
    n_x, n_y = rng.integers(2, 5, 2)
    fold_x, fold_y = (np.abs((v * n) % 2 - 1) / 2 for v, n in ((x, n_x), (y, n_y)))
    return remapped(film, start_x + fold_x, start_y + fold_y)


def contact_sheet(films: Sequence[Grey], rng: Rng) -> Grey:
    """Several small films in one image, with or without gaps."""
    shape = shape_of(films[0])
    n_rows, n_columns = ((1, 2, 3, 4)[i] for i in rng.integers(4, size=2))
    if n_rows * n_columns < 3:
        n_rows, n_columns = 2, 2
    image = np.full(shape, (0, 0, 255, 90)[rng.integers(4)], np.uint8)
    gap = rng.uniform(0, 0.04) if chance(rng, 0.7) else 0.0
    rows, columns = np.linspace(0, 1, n_rows + 1), np.linspace(0, 1, n_columns + 1)
    for i in range(n_rows):
        for j in range(n_columns):
            film = films[int(rng.integers(len(films)))]
            if chance(rng, 0.3):
                film = film[:, ::-1]
            _place(
                image,
                np.ascontiguousarray(film),
                (columns[j] + gap, rows[i] + gap, columns[j + 1] - gap, rows[i + 1] - gap),
            )
    return image


def side_by_side(film: Grey, other: Grey, rng: Rng) -> Grey:
    """Two films in one image, beside or above each other, as for a comparison."""
    image = np.full(film.shape, (0, 0, 255)[rng.integers(3)], np.uint8)
    gap = rng.uniform(0, 0.03)
    middle = rng.uniform(0.42, 0.58)
    if chance(rng, 0.7):
        _place(image, film, (gap, gap, middle - gap, 1 - gap))
        _place(image, other, (middle + gap, gap, 1 - gap, 1 - gap))
    else:
        _place(image, film, (gap, gap, 1 - gap, middle - gap))
        _place(image, other, (gap, middle + gap, 1 - gap, 1 - gap))
    return image


def _place(image: Grey, film: Grey, box: tuple[float, float, float, float]) -> None:
    """Put the film into the image, in place, between these parts of width and height."""
    height, width = image.shape
    left, top, right, bottom = box
    target = image[
        round(top * height) : round(bottom * height), round(left * width) : round(right * width)
    ]
    target[:] = resized(film, shape_of(target))
