"""PREPARE: a Radiograph becomes the network's input. The only implementation: training, export and
the runtime all come through here."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import RefusedError
from .model_card import InputSpec
from .radiograph import Radiograph, can_be_halved, halve
from .refusals import Refusals

# Less than half the input's size is more invented than seen.
MIN_SIDE_RATIO = 0.5
MAX_ASPECT_RATIO = 3.0
# A film whose grey values span less than this part of its range shows nothing.
MIN_CONTRAST = 0.02
# Of the triangle that a film is reduced with, in pixels of the result: as sharp as the public sets'
# own small copies (benchmarks/resize.py).
HALF_WIDTH = 1.125


def min_side_px(spec: InputSpec) -> int:
    """What a film's shorter side must keep when it is read (see radiograph.read_radiograph).

    Twice the input, which is where `squash` begins: what is reduced further on the way would be
    less sharp than the films that the network learned from.
    """
    return 2 * max(spec.width_px, spec.height_px)


def prepare(
    radiograph: Radiograph, spec: InputSpec, refusals: Refusals | None = None
) -> NDArray[np.float32]:
    """The network's input, float32 (1, C, H, W).

    refusals: told of what the site may overrule; None: it overrules nothing.
    Raises RefusedError: too_small, odd_shape, blank.
    """
    return normalise(to_grey(radiograph, spec, refusals)[np.newaxis], spec)


def to_grey(
    radiograph: Radiograph, spec: InputSpec, refusals: Refusals | None = None
) -> NDArray[np.float32]:
    """Resize and stretch to float32 (height_px, width_px), 0 black to 1 white.

    This is where training takes its films, to augment them before `normalise`. refusals, and what
    it raises: see prepare.
    """
    _check_shape(*radiograph.full_shape, spec, refusals or Refusals())
    resized = squash(radiograph.pixels, spec.width_px, spec.height_px, radiograph.full_shape)
    black, white = percentiles(resized, spec.black_percentile, spec.white_percentile)
    if white - black < MIN_CONTRAST * radiograph.white:
        raise RefusedError(
            "blank",
            "The image is blank or nearly so.",
            "Check the exposure, and that the right file was exported.",
        )
    grey: NDArray[np.float32] = (resized - np.float32(black)) / np.float32(white - black)
    return np.clip(grey, 0, 1, out=grey)


def squash(
    pixels: NDArray[Any], width: int, height: int, full_shape: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Squash (H, W) pixels to float32 (height, width) without aliasing.

    From twice the size on, each result is a mean under a triangle. The public sets were reduced so,
    and the plain mean of its own pixels would be half as sharp again as the films that the network
    learned from (benchmarks/resize.py).
    full_shape: of the film, where a JPEG was decoded at a smaller size; libjpeg rounds that up, and
    the film ends within its last pixels.
    """
    grey = pixels
    while can_be_halved(grey.shape, 2 * max(width, height)):
        grey = halve(grey)
    n_rows, n_columns = grey.shape
    if n_rows < 2 * height or n_columns < 2 * width:
        shrinks = n_rows > height or n_columns > width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        grey = grey.astype(np.float32, copy=False)
        with _everywhere_alike():
            return np.asarray(cv2.resize(grey, (width, height), interpolation=method), np.float32)
    if grey.dtype == np.uint16:
        grey = grey.astype(np.float32)  # which cv2 filters in a third of the time
    full_height, full_width = full_shape or pixels.shape
    times = round(max(full_height, full_width) / max(grey.shape))
    across, down = full_width / (times * width), full_height / (times * height)
    smooth = cv2.sepFilter2D(
        grey, cv2.CV_32F, _triangle(across), _triangle(down), borderType=cv2.BORDER_REFLECT
    )
    # The triangles stand on the film's own pixels; between two of them a line is close enough.
    with _everywhere_alike():
        squashed = cv2.resize(
            smooth, None, fx=1 / across, fy=1 / down, interpolation=cv2.INTER_LINEAR
        )
    return np.ascontiguousarray(squashed[:height, :width], np.float32)


@contextmanager
def _everywhere_alike() -> Iterator[None]:
    """OpenCV resizes with its own code here, on any PC: Intel's IPP, where a build has it,
    interpolates floats otherwise, by up to 6e-5 of white, of which int8 makes up to 0.004 of
    probability. For this thread alone."""
    used = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        yield
    finally:
        cv2.ipp.setUseIPP(used)


def _triangle(distance: float) -> NDArray[np.float32]:
    """The weights (2 n + 1,) of the pixels around one for results so many pixels apart."""
    half_width = HALF_WIDTH * distance
    n = math.ceil(half_width) - 1
    weights = 1 - np.abs(np.arange(-n, n + 1)) / half_width
    return np.asarray(weights / weights.sum(), np.float32)


def percentiles(values: NDArray[np.float32], *percents: float) -> tuple[float, ...]:
    """What np.percentile gives, of all values together, without numpy.ma, which it imports."""
    flat = values.ravel()
    places = [percent / 100 * (flat.size - 1) for percent in percents]
    below = [int(place) for place in places]
    above = [min(index + 1, flat.size - 1) for index in below]
    part = np.partition(flat, sorted({*below, *above}))
    return tuple(
        float(part[i]) + (place - i) * (float(part[j]) - float(part[i]))
        for place, i, j in zip(places, below, above, strict=True)
    )


def normalise(grey: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """Grey values (N, H, W) from 0 to 1 to float32 (N, C, H, W) on the network's scale."""
    mean = np.asarray(spec.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.asarray(spec.std, np.float32)[:, np.newaxis, np.newaxis]
    return (grey[:, np.newaxis] - mean) / std


def _check_shape(height: int, width: int, spec: InputSpec, refusals: Refusals) -> None:
    if height < spec.height_px * MIN_SIDE_RATIO or width < spec.width_px * MIN_SIDE_RATIO:
        refusals.refuse(
            RefusedError(
                "too_small",
                f"The image has only {width} x {height} pixels.",
                "Export the radiograph at its full size, not its thumbnail.",
            )
        )
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        refusals.refuse(
            RefusedError(
                "odd_shape",
                f"At {width} x {height} pixels this cannot be a whole chest radiograph.",
                "Export the whole radiograph.",
            )
        )
