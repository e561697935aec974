"""SHOW: a film at the size of a screen, for a person, whatever a model may say of it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .model_card import InputSpec
from .preprocess import percentiles
from .radiograph import Radiograph, RadiographFile, Unwindowed, decode_radiograph, decode_unwindowed
from .refusals import ACCEPTABLE

_JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Picture:
    """A film for a viewer that sets brightness and contrast: 0 is black before any window.

    pixels: (h, w), uint8 or uint16, from 0 to `white`; MONOCHROME1 has been inverted.
    low, high: the pixel values that are black and white at first, which may lie beyond 0 and white:
    those of the film's own window, or percentiles where it has none. high is at least 1 above low.
    slope, intercept: pixels * slope + intercept are in the film's own units, as its window is; the
    slope of an inverted film is negative. So the window's centre is (low + high) / 2 * slope +
    intercept, and its width (high - low) * |slope|.
    windowed: the film's VOI LUT, a curve, is in the pixels; they have no other units then.
    full_shape: (H, W) of the film in the file.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    low: float
    high: float
    white: int
    slope: float
    intercept: float
    windowed: bool
    full_shape: tuple[int, int]


def thumbnail(file: RadiographFile, spec: InputSpec, side_px: int) -> bytes:
    """A film as a small JPEG, its longer side so many pixels.

    Raises what decode_radiograph does where nothing is refused that can be accepted.
    """
    radiograph = decode_radiograph(file, side_px, ACCEPTABLE)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", stretched(radiograph, spec, side_px), quality)[1].tobytes()


def picture(file: RadiographFile, spec: InputSpec, long_side_px: int) -> Picture:
    """A film for a viewer; by area means where it is larger.

    Raises what decode_radiograph does where nothing is refused that can be accepted.
    """
    return to_picture(decode_unwindowed(file, long_side_px), spec, long_side_px)


def to_picture(film: Unwindowed, spec: InputSpec, long_side_px: int) -> Picture:
    """spec: whose percentiles are black and white where the film does not say."""
    pixels, times = _reduced(film, long_side_px), 1.0
    if pixels.dtype == np.float32:
        # Spread out, so that whole numbers are fine enough.
        times = 0xFFFF / film.white
        pixels = np.asarray(np.rint(np.clip(pixels * np.float32(times), 0, 0xFFFF)), np.uint16)
    if film.window is not None:
        low, high = film.window[0] * times, film.window[1] * times
    else:
        low, high = percentiles(pixels, spec.black_percentile, spec.white_percentile)
    if high - low < 1:
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    return Picture(
        pixels,
        low,
        high,
        round(film.white * times),
        film.slope / times,
        film.intercept,
        film.windowed,
        film.full_shape,
    )


def size_at(full_shape: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    """Width and height of a film (H, W) where its longer side has so many pixels."""
    height, width = full_shape
    scale = long_side_px / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def stretched(radiograph: Radiograph, spec: InputSpec, long_side_px: int) -> NDArray[np.uint8]:
    """A film at a handy size, its own shape kept, black and white as the network gets them."""
    size = size_at(radiograph.full_shape, long_side_px)
    shrinks = radiograph.pixels.shape[0] > size[1]
    pixels = cv2.resize(
        radiograph.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    ).astype(np.float32)
    black, white = np.percentile(pixels, (spec.black_percentile, spec.white_percentile))
    # A film that is blank at this size only, and was judged all the same.
    levels = (pixels - black) * (255 / max(white - black, 1e-9))
    return np.asarray(np.rint(np.clip(levels, 0, 255)), np.uint8)


def _reduced(film: Unwindowed, long_side_px: int) -> NDArray[Any]:
    if max(film.full_shape) <= long_side_px:
        return film.pixels
    size = size_at(film.full_shape, long_side_px)
    return np.asarray(cv2.resize(film.pixels, size, interpolation=cv2.INTER_AREA))
