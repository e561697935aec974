"""Paper and screens full of text: reports, tables, forms, windows, codes, scribbles."""

import cv2
import numpy as np

from .grey import (
    Grey,
    Rng,
    Shape,
    Unit,
    affine,
    blurred,
    chance,
    grey,
    resized,
    shape_of,
    strokes,
    warped,
)
from .textures import clouds, grain
from .writing import written

_TEXT = """
patient name date of birth hospital department radiology chest examination report findings
impression no acute process lungs are clear heart size within normal limits consent informed
signature physician address telephone reference indication cough fever since three days the and to
with dated received please return this form by post if any questions remain ward bed thorax poumon
coeur rapport examen radiografia informe paciente nombre fecha laudo exame
"""
_WORDS = tuple(_TEXT.split())


def report(shape: Shape, rng: Rng) -> Grey:
    """A typed page: headings and paragraphs, on paper or as white on black."""
    page = _paper(shape, rng)
    y = rng.uniform(0.03, 0.12)
    size_px = rng.uniform(0.022, 0.06) * shape[0]
    margin = rng.uniform(0.03, 0.15)
    while y < 0.97:
        heading = chance(rng, 0.15)
        scale = 1.5 if heading else 1.0
        _line(page, rng, margin, y, size_px * scale, 0.35 if heading else rng.uniform(0.5, 1))
        y += size_px / shape[0] * scale * rng.uniform(1.3, 1.6)
        if chance(rng, 0.12):
            y += 0.04
    return _printed(page, rng)


def table(shape: Shape, rng: Rng) -> Grey:
    """Rows and columns of words and figures, ruled or shaded."""
    page = _paper(shape, rng)
    n_rows, n_columns = int(rng.integers(4, 20)), int(rng.integers(2, 8))
    left, top = rng.uniform(0.02, 0.1, 2)
    rows, columns = np.linspace(top, 0.97, n_rows + 1), np.linspace(left, 0.98, n_columns + 1)
    if chance(rng, 0.4):
        height = shape[0]
        for a, b in zip(rows[:-1:2], rows[1::2], strict=False):
            page[round(a * height) : round(b * height)] *= np.float32(0.82)
    if chance(rng, 0.8):
        lines = [np.array([[left, y], [0.98, y]]) for y in rows]
        lines += [np.array([[x, top], [x, 0.97]]) for x in columns]
        strokes(page, lines, 0.2)
    size_px = min(0.5 / n_rows, 0.06) * shape[0]
    for y in rows[1:]:
        for x in columns[:-1]:
            if chance(rng, 0.85):
                number = f"{rng.uniform(0, 500):.{rng.integers(0, 3)}f}"
                text = number if chance(rng, 0.6) else _WORDS[rng.integers(len(_WORDS))]
                written(page, text[: int(18 / n_columns) + 2], x + 0.01, y - 0.012, size_px, 0.1)
    return _printed(page, rng)


def form(shape: Shape, rng: Rng) -> Grey:
    """Labels with boxes to tick and lines to fill in, some by hand, a logo and a stamp."""
    page = _paper(shape, rng)
    height, width = shape
    written(page, "CONSENT" if chance(rng, 0.5) else "REQUEST", 0.3, 0.09, 0.08 * height, 0.1)
    logo = (round(0.1 * width), round(0.07 * height))
    cv2.circle(page, logo, round(0.05 * height), (0.4,), -1, cv2.LINE_AA)
    n = int(rng.integers(6, 14))
    for y in np.linspace(0.18, 0.9, n):
        size_px = min(0.4 / n, 0.05) * height
        _line(page, rng, 0.05, y, size_px, rng.uniform(0.15, 0.3))
        if chance(rng, 0.5):
            strokes(page, [np.array([[0.4, y], [0.95, y]])], 0.3)
            if chance(rng, 0.6):
                _scribble(page, rng, 0.45, y, rng.uniform(0.1, 0.4), 0.025)
        else:
            for x in np.linspace(0.45, 0.85, int(rng.integers(2, 5))):
                side = 0.025
                box = [(x, y - side), (x + side, y - side), (x + side, y), (x, y), (x, y - side)]
                strokes(page, [np.array(box)], 0.2)
                if chance(rng, 0.3):
                    strokes(page, [np.array([box[0], box[2]]), np.array([box[1], box[3]])], 0.1)
    if chance(rng, 0.5):
        centre = (round(rng.uniform(0.3, 0.8) * width), round(rng.uniform(0.6, 0.9) * height))
        cv2.circle(page, centre, round(0.1 * height), (0.45,), 2, cv2.LINE_AA)
    return _printed(page, rng)


def consent_with_film(film: Grey, rng: Rng) -> Grey:
    """A page of text with a small film printed on it."""
    page = report(shape_of(film), rng)
    size = rng.uniform(0.2, 0.42)
    left, top = rng.uniform(0.05, 0.95 - size, 2)
    height, width = film.shape
    rows = slice(round(top * height), round((top + size) * height))
    target = page[rows, round(left * width) : round((left + size) * width)]
    target[:] = resized(film, shape_of(target))
    return page


def screenshot(shape: Shape, rng: Rng) -> Grey:
    """A desktop with its windows, bars, buttons and icons."""
    dark = chance(rng, 0.4)
    desk, window, ink = (0.1, 0.2, 0.85) if dark else (rng.uniform(0.2, 0.7), 0.95, 0.1)
    image = np.full(shape, desk, np.float32)
    if chance(rng, 0.4):
        image += 0.3 * clouds(shape, rng, 2, 4)
    for _ in range(rng.integers(1, 6)):
        left, top = rng.uniform(-0.05, 0.6, 2)
        right, bottom = left + rng.uniform(0.25, 0.9), top + rng.uniform(0.2, 0.8)
        _fill(image, left, top, right, bottom, window * rng.uniform(0.85, 1.05))
        _fill(image, left, top, right, top + 0.045, ink * 0.5 + 0.3)
        written(image, "File  Edit  View", left + 0.02, top + 0.036, 0.035 * shape[0], window)
        for y in np.arange(top + 0.1, bottom - 0.03, rng.uniform(0.04, 0.08)):
            if chance(rng, 0.8):
                _line(image, rng, left + 0.03, y, 0.033 * shape[0], (right - left) * 0.8, ink)
        for _ in range(rng.integers(0, 5)):
            x, y = rng.uniform(left, right), rng.uniform(top, bottom)
            _fill(image, x, y, x + 0.09, y + 0.04, rng.uniform(0.3, 0.9))
    _fill(image, 0, 0.95, 1, 1, 0.15 if dark else 0.75)
    for x in np.arange(0.01, rng.uniform(0.2, 0.6), 0.05):
        _fill(image, x, 0.957, x + 0.035, 0.992, rng.uniform(0.2, 1))
    return grey(image)


def code(shape: Shape, rng: Rng) -> Grey:
    """A QR-like square of modules or a bar code, large or on a label."""
    page = _paper(shape, rng)
    n = int(rng.integers(17, 45))
    if chance(rng, 0.6):
        modules = (rng.random((n, n)) < 0.5).astype(np.float32)
        for rows, columns in (
            (slice(0, 7), slice(0, 7)),
            (slice(0, 7), slice(-7, None)),
            (slice(-7, None), slice(0, 7)),
        ):
            modules[rows, columns] = 0
            modules[rows, columns][1:6, 1:6] = 1
            modules[rows, columns][2:5, 2:5] = 0
    else:
        modules = np.repeat((rng.random((1, 2 * n)) < 0.5).astype(np.float32), n, axis=0)
    size = rng.uniform(0.4, 0.95, 2)
    left, top = rng.uniform(0, 1 - size[0]), rng.uniform(0, 1 - size[1])
    height, width = shape
    target = page[
        round(top * height) : round((top + size[1]) * height),
        round(left * width) : round((left + size[0]) * width),
    ]
    drawn = cv2.resize(modules, target.shape[::-1], interpolation=cv2.INTER_NEAREST)
    target[:] = 0.05 + 0.9 * np.asarray(drawn)
    for _ in range(rng.integers(0, 4)):
        _line(page, rng, left, rng.uniform(0.02, 0.98), 0.05 * height, 0.6)
    return _printed(page, rng)


def scribbles(shape: Shape, rng: Rng) -> Grey:
    """Lines of handwriting, a drawing, underlines."""
    page = _paper(shape, rng)
    if chance(rng, 0.4):
        lines = [np.array([[0, y], [1.0, y]]) for y in np.arange(0.05, 1, rng.uniform(0.05, 0.1))]
        strokes(page, lines, 0.7)
    for y in np.arange(0.08, 0.97, rng.uniform(0.07, 0.15)):
        x = rng.uniform(0.02, 0.15)
        while x < 0.9:
            length = rng.uniform(0.05, 0.25)
            _scribble(page, rng, x, y, length, rng.uniform(0.02, 0.045))
            x += length + 0.03
    for _ in range(rng.integers(0, 3)):
        path = rng.uniform(0.1, 0.9, 2) + np.cumsum(rng.normal(0, 0.06, (12, 2)), axis=0)
        strokes(page, [path], 0.15, int(rng.integers(1, 4)))
    return _printed(page, rng)


def _paper(shape: Shape, rng: Rng) -> Unit:
    return np.full(shape, rng.uniform(0.82, 1), np.float32)


def _line(
    page: Unit, rng: Rng, x: float, y: float, size_px: float, length: float, ink: float = 0.1
) -> None:
    """A line of words up to a length, part of the width, in place."""
    n = max(1, round(length * page.shape[1] / (0.5 * size_px)))
    text = " ".join(_WORDS[i] for i in rng.integers(len(_WORDS), size=n // 4 + 1))[:n]
    if chance(rng, 0.2):
        text = text.upper()
    written(page, text, x, y, size_px, ink)


def _scribble(page: Unit, rng: Rng, x: float, y: float, length: float, tall: float) -> None:
    """A word that nobody can read, in place."""
    t = np.linspace(0, length, max(8, round(length * 160)))
    hand = rng.uniform(0.3, 0.9)  # round or pointed, the same through a word
    turn = np.cumsum(rng.uniform(0.3, 1.5, len(t)) * hand)
    path = np.stack(
        [x + t + 0.4 * tall * np.sin(turn), y + tall * np.cos(turn) * rng.uniform(0.3, 1, len(t))],
        1,
    )
    strokes(page, [path], 0.15, 1)


def _fill(image: Unit, left: float, top: float, right: float, bottom: float, value: float) -> None:
    height, width = image.shape
    rows = slice(max(0, round(top * height)), max(0, round(bottom * height)))
    image[rows, max(0, round(left * width)) : max(0, round(right * width))] = value


def _printed(page: Unit, rng: Rng) -> Grey:
    """As a scanner, a fax or a screen would give it: askew, faint, noisy, shaded, or inverted."""
    shape = page.shape[0], page.shape[1]
    if chance(rng, 0.3):
        page = page * (1 - np.float32(rng.uniform(0, 0.4)) * clouds(shape, rng, 2, 3))
    if chance(rng, 0.4):
        page = blurred(page, rng.uniform(0.4, 1.2))
    page = page + np.float32(rng.uniform(0, 0.05)) * grain(shape, rng)
    image = grey(page)
    if chance(rng, 0.4):
        image = warped(image, affine(shape, rng.uniform(-15, 15)), None)
    if chance(rng, 0.15):
        image = np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))
        image = resized(image, shape)
    return 255 - image if chance(rng, 0.15) else image
