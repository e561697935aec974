"""Noise, test patterns and whatever else fills a frame and shows nobody.

White noise, sums of octaves of smooth noise (Perlin, "An image synthesizer", SIGGRAPH 1985) and
the layouts of monitor test patterns (SMPTE RP 133; AAPM TG18).
"""

from statistics import NormalDist

import cv2
import numpy as np

from .grey import (
    Grey,
    Rng,
    Shape,
    Unit,
    blurred,
    chance,
    enlarged,
    filled,
    grey,
    grid,
    ramp,
    strokes,
    toned,
)
from .writing import written

# The middles of 256 equally likely parts of the normal distribution: a random byte stands for each,
# which is several times as fast as drawing normal numbers, and enough for greys of 8 bits.
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


def grain(shape: Shape, rng: Rng, size_px: float = 1) -> Unit:
    """Normal noise, mean 0 and deviation about 1, its grains so many pixels wide."""
    height, width = (max(2, round(side / size_px)) for side in shape)
    drawn = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)
    noise = np.asarray(cv2.LUT(drawn, _NORMAL), np.float32)
    if (height, width) == shape:
        return noise
    # What is hardly enlarged looks the same at a third of the time.
    return enlarged(noise, shape, cv2.INTER_LINEAR if size_px < 3 else cv2.INTER_CUBIC)


def clouds(shape: Shape, rng: Rng, coarsest: int = 3, octaves: int = 5, keep: float = 0.5) -> Unit:
    """Fractal noise, 0 to 1. coarsest: cells across; keep: of the weight from octave to octave."""
    total = grain((coarsest + 2, coarsest + 2), rng)
    weight = 1.0
    for octave in range(1, octaves):
        cells = coarsest * 2**octave
        if cells >= max(shape):
            break
        weight *= keep
        finer = (cells + 2, cells + 2)
        total = enlarged(total, finer, cv2.INTER_CUBIC) + np.float32(weight) * grain(finer, rng)
    total = enlarged(total, shape, cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(max(high - low, 1e-6))


def white_noise(shape: Shape, rng: Rng) -> Grey:
    """Normal, even or salt and pepper, its grains 1 to 6 px wide, at times on a soft gradient."""
    if chance(rng, 0.3):
        noise = rng.random(shape, np.float32)
        if chance(rng, 0.5):
            noise = (noise < rng.uniform(0.05, 0.95)).astype(np.float32)
        return grey(noise)
    noise = 0.5 + rng.uniform(0.05, 0.3) * grain(shape, rng, rng.uniform(1, 6))
    if chance(rng, 0.4):
        noise += _slope(shape, rng) * np.float32(rng.uniform(0.2, 0.8))
    return grey(noise)


def fractal_noise(shape: Shape, rng: Rng) -> Grey:
    """From smoke to gravel; at times folded into ridges, banded like marble or set in steps."""
    keep = rng.uniform(0.35, 0.85)
    noise = clouds(shape, rng, int(rng.integers(1, 7)), int(rng.integers(3, 8)), keep)
    style = rng.integers(4)
    if style == 1:
        noise = np.abs(2 * noise - 1)
    elif style == 2:
        x, y = grid(shape)
        turns = np.float32(rng.uniform(3, 14))
        noise = 0.5 + 0.5 * np.sin(turns * (x * rng.uniform(-1, 1) + y) + 8 * noise)
    elif style == 3:
        steps = np.float32(rng.integers(2, 7))
        noise = np.floor(noise * steps) / steps
    return grey(noise.astype(np.float32) ** np.float32(2 ** rng.uniform(-1, 1)))


def gradient(shape: Shape, rng: Rng) -> Grey:
    """A slope, a light spot or a ring, alone or two together."""
    image = _slope(shape, rng)
    for _ in range(rng.integers(1, 4)):
        x, y = grid(shape)
        distance = np.hypot((x - rng.uniform(0, 1)) * rng.uniform(0.7, 1.5), y - rng.uniform(0, 1))
        spot = np.exp(-((distance - rng.uniform(0, 0.4)) ** 2) / rng.uniform(0.01, 0.2))
        image = image + np.float32(rng.uniform(-1, 1)) * spot
    image = image - image.min()
    image = image / max(float(image.max()), 1e-6)
    return grey(image + np.float32(rng.uniform(0, 0.04)) * grain(shape, rng))


def stripes(shape: Shape, rng: Rng) -> Grey:
    """A grating or two, straight or round, smooth or hard."""
    x, y = grid(shape)
    image = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 3)):
        if chance(rng, 0.25):
            path = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1))
        else:
            angle = rng.uniform(0, np.pi)
            path = np.cos(angle) * x + np.sin(angle) * y
        wave = np.sin(2 * np.pi * rng.uniform(2, 40) * path + rng.uniform(0, 6))
        image = image + (np.sign(wave) if chance(rng, 0.4) else wave)
    return grey(0.5 + 0.25 * image + np.float32(rng.uniform(0, 0.1)) * grain(shape, rng))


def checkerboard(shape: Shape, rng: Rng) -> Grey:
    """Fields of two greys or of many, at times seen askew."""
    n_rows, n_columns = rng.integers(2, 17, 2)
    fields = np.indices((n_rows, n_columns)).sum(0) % 2 * 1.0
    if chance(rng, 0.5):
        fields = rng.random((n_rows, n_columns))
    image = enlarged(fields.astype(np.float32), shape, cv2.INTER_NEAREST)
    if chance(rng, 0.5):
        height, width = shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        away = corners + rng.uniform(-0.3, 0.3, (4, 2)).astype(np.float32) * (width, height)
        matrix = cv2.getPerspectiveTransform(corners, away.astype(np.float32))
        image = np.asarray(
            cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT),
            np.float32,
        )
    return grey(image + np.float32(rng.uniform(0, 0.1)) * grain(shape, rng))


def test_pattern(shape: Shape, rng: Rng) -> Grey:
    """A monitor's test pattern: grey steps, line pairs, a cross-hatch, corner boxes, a ramp."""
    image = np.full(shape, rng.uniform(0.1, 0.7), np.float32)
    lines = int(rng.integers(6, 20))
    ticks = np.linspace(0, 1, lines)
    bars = [np.array([[t, 0], [t, 1]]) for t in ticks] + [np.array([[0, t], [1, t]]) for t in ticks]
    strokes(image, bars, rng.uniform(0.6, 1))
    n_steps = int(rng.integers(6, 19))
    for i_step, angle in enumerate(np.linspace(0, 2 * np.pi, n_steps, endpoint=False)):
        x, y = 0.5 + 0.32 * np.cos(angle), 0.5 + 0.32 * np.sin(angle)
        _box(image, x - 0.04, y - 0.04, 0.08, 0.08, i_step / (n_steps - 1))
        _box(image, x - 0.01, y - 0.01, 0.02, 0.02, i_step / (n_steps - 1) + 0.06)
    for x, y in ((0.02, 0.02), (0.84, 0.02), (0.02, 0.84), (0.84, 0.84), (0.42, 0.42)):
        period = int(rng.integers(1, 5))
        rows = slice(round(y * shape[0]), round((y + 0.14) * shape[0]))
        columns = slice(round(x * shape[1]), round((x + 0.14) * shape[1]))
        part = image[rows, columns]
        across = np.arange(part.shape[1]) // period % 2
        part[:] = across if chance(rng, 0.5) else (np.arange(part.shape[0]) // period % 2)[:, None]
    _box(image, 0.2, 0.06, 0.6, 0.06, 0)
    ends = round(0.2 * shape[1]), round(0.8 * shape[1])
    band = image[round(0.9 * shape[0]) : round(0.96 * shape[0]), ends[0] : ends[1]]
    band[:] = np.linspace(0, 1, band.shape[1], dtype=np.float32)
    written(image, "QC", 0.46, 0.115, shape[0] / 20, 1)
    circle = np.linspace(0, 2 * np.pi, 90)
    strokes(image, [0.5 + 0.48 * np.stack([np.cos(circle), np.sin(circle)], 1)], 1, 1)
    return grey(image)


def dusty_flat(shape: Shape, rng: Rng) -> Grey:
    """An exposure of nothing: a flat field with its heel, dust, scratches and dead lines."""
    image = 0.5 + np.float32(rng.uniform(0.02, 0.3)) * _slope(shape, rng)
    image = image + np.float32(rng.uniform(0.01, 0.08)) * grain(shape, rng)
    for _ in range(rng.integers(0, 40)):
        place = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        cv2.circle(image, place, int(rng.integers(1, 4)), (rng.uniform(0, 1),), -1, cv2.LINE_AA)
    for _ in range(rng.integers(0, 6)):
        start = rng.uniform(0, 1, 2)
        scratch = start + np.cumsum(rng.normal(0, 0.05, (6, 2)), axis=0)
        strokes(image, [scratch], rng.uniform(0, 1))
    for _ in range(rng.integers(0, 4)):
        image[:, rng.integers(shape[1])] = rng.uniform(0, 1)
    return grey(image)


def shapes(shape: Shape, rng: Rng) -> Grey:
    """Ellipses, boxes and polygons of random greys, sharp or blurred."""
    image = np.full(shape, rng.uniform(0, 1), np.float32)
    for _ in range(rng.integers(3, 30)):
        corners = rng.uniform(0, 1, 2) + rng.normal(0, rng.uniform(0.03, 0.3), (7, 2))
        n_corners = int(rng.integers(3, 8))
        value = np.float32(rng.uniform(0, 1))
        if chance(rng, 0.5):
            turn = np.linspace(0, 2 * np.pi, 24)
            radii = rng.uniform(0.02, 0.3, 2)
            corners = corners[0] + radii * np.stack([np.cos(turn), np.sin(turn)], 1)
            n_corners = len(corners)
        image[filled(shape, [corners[:n_corners]]) > 0] = value
    if chance(rng, 0.5):
        image = blurred(image, rng.uniform(0.5, 6))
    return grey(image + np.float32(rng.uniform(0, 0.08)) * grain(shape, rng))


def random_tone(image: Grey, rng: Rng, most: float = 1) -> Grey:
    """A gamma of up to `most` powers of two either way."""
    return toned(image, ramp() ** np.float32(2 ** rng.uniform(-most, most)))


def _slope(shape: Shape, rng: Rng) -> Unit:
    """From 0 to 1 across the frame, in any direction."""
    x, y = grid(shape)
    angle = rng.uniform(0, 2 * np.pi)
    path = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
    return (0.5 + path / np.float32(1.42)).astype(np.float32)


def _box(image: Unit, x: float, y: float, width: float, height: float, value: float) -> None:
    rows = slice(round(y * image.shape[0]), round((y + height) * image.shape[0]))
    image[rows, round(x * image.shape[1]) : round((x + width) * image.shape[1])] = value
