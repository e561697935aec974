"""Real films shown as negatives, or exposed so that the lungs show nothing."""

import numpy as np

from .grey import Grey, Rng, Unit, blurred, chance, grey, ramp, shape_of, toned, unit, warped
from .grey import affine as affine_matrix
from .textures import grain


def inverted(film: Grey, rng: Rng) -> Grey:
    """A negative, with another gamma and contrast."""
    levels = (1 - ramp()) ** np.float32(2 ** rng.uniform(-1, 1))
    return toned(film, 0.5 + (levels - 0.5) * np.float32(rng.uniform(0.8, 1.4)))


def inverted_framed(film: Grey, rng: Rng) -> Grey:
    """A negative in a black or white frame, as what a viewer adds is not turned with the film."""
    zoom = rng.uniform(0.8, 0.97, 2)
    matrix = affine_matrix(shape_of(film), rng.uniform(-4, 4), (zoom[0], zoom[1]))
    inside = warped(np.full_like(film, 255), matrix)
    frame = 0 if chance(rng, 0.75) else 255
    return np.where(inside > 127, inverted(warped(film, matrix), rng), np.uint8(frame))


def inverted_windowed(film: Grey, rng: Rng) -> Grey:
    """A negative in a narrow window: much of it all black or all white."""
    black, white = np.percentile(film, (rng.uniform(5, 25), rng.uniform(75, 95))) / 255
    levels = 1 - (ramp() - black) / max(white - black, 0.1)
    return toned(film, np.clip(levels, 0, 1).astype(np.float32))


def overexposed(film: Grey, rng: Rng) -> Grey:
    """Too dark: lungs burnt out to black, what is left lies around them."""
    image = unit(film)
    black = _chest_percentile(film, rng.uniform(42, 68))
    levels = _toe((ramp() - black) / max(1 - black, 0.05), rng.uniform(0.01, 0.06))
    image = unit(toned(film, levels ** np.float32(rng.uniform(0.9, 2))))
    return grey(image + np.float32(rng.uniform(0, 0.03)) * grain(shape_of(film), rng))


def overexposed_saturated(film: Grey, rng: Rng) -> Grey:
    """The detector saturated: one dark grey in lungs and air alike, its edges hard and noisy."""
    limit = _chest_percentile(film, rng.uniform(45, 65))
    image = unit(film) + np.float32(rng.uniform(0.01, 0.05)) * grain(
        shape_of(film), rng, rng.uniform(1, 2)
    )
    image = np.maximum(image, np.float32(limit))
    return grey((image - np.float32(limit)) / np.float32(max(1 - limit, 0.05)))


def underexposed(film: Grey, rng: Rng) -> Grey:
    """Too bright: all but the darkest of the lungs is white, and noise where grey is left."""
    white = max(_chest_percentile(film, rng.uniform(10, 36)), 0.04)
    image = unit(film)
    image = image + np.float32(rng.uniform(0.01, 0.06)) * grain(shape_of(film), rng)
    return grey(1 - _toe(1 - image / np.float32(white), rng.uniform(0.01, 0.06)))


def low_dose(film: Grey, rng: Rng) -> Grey:
    """Too few photons: mottle that hides the vessels, though the stretch gives it full contrast."""
    shape = shape_of(film)
    image = blurred(unit(film), rng.uniform(0.8, 2.5))
    mottle = grain(shape, rng, rng.uniform(1, 3.5)) * np.float32(rng.uniform(0.17, 0.45))
    return grey(0.5 + 0.6 * (image - 0.5) + mottle * (0.5 + image))


def few_levels(film: Grey, rng: Rng) -> Grey:
    """A flat film whose stretch shows the steps that are left of its greys: two or three."""
    levels = int(rng.integers(2, 4))
    image = blurred(unit(film), rng.uniform(0.5, 2))
    image = image ** np.float32(2 ** rng.uniform(-0.7, 0.7))
    image = image + np.float32(rng.uniform(0, 0.05)) * grain(shape_of(film), rng)
    steps = np.floor(np.clip(image, 0, 0.999) * levels) / (levels - 1)
    return grey(steps.astype(np.float32))


def _chest_percentile(film: Grey, percent: float) -> float:
    """Of the greys where the lungs are, as a part of white."""
    height, width = film.shape
    chest = film[round(0.15 * height) : round(0.7 * height), round(0.12 * width) :]
    return float(np.percentile(chest[:, : round(0.76 * width)], percent)) / 255


def _toe(levels: Unit, softness: float) -> Unit:
    """Cut off at 0, with a bend instead of an edge."""
    scaled = np.clip(levels / np.float32(softness), -30, 30)
    soft = np.log1p(np.exp(scaled)) * np.float32(softness)
    return np.where(scaled > 20, levels, soft).astype(np.float32)
