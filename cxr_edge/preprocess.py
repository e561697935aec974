"""PREPARE: a Radiograph becomes the network's input. The only implementation: training, export and
the runtime all come through here."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import RefusedError
from .model_card import InputSpec
from .radiograph import Radiograph

# Less than half the input's size is more invented than seen.
MIN_SIDE_RATIO = 0.5
MAX_ASPECT_RATIO = 3.0
# A film whose grey values span less than this part of its range shows nothing.
MIN_CONTRAST = 0.02


def prepare(radiograph: Radiograph, spec: InputSpec) -> NDArray[np.float32]:
    """The network's input, float32 (1, C, H, W).

    Raises RefusedError: too_small, odd_shape, blank.
    """
    return normalise(to_grey(radiograph, spec)[np.newaxis], spec)


def to_grey(radiograph: Radiograph, spec: InputSpec) -> NDArray[np.float32]:
    """Resize and stretch to float32 (height_px, width_px), 0 black to 1 white.

    This is where training takes its films, to augment them before `normalise`.
    Raises RefusedError: too_small, odd_shape, blank.
    """
    height, width = radiograph.pixels.shape
    _check_shape(height, width, spec)
    shrinks = height > spec.height_px or width > spec.width_px
    resized = cv2.resize(
        # As floats: from 8-bit pixels cv2 would round the means back to 8 bits.
        radiograph.pixels.astype(np.float32),
        (spec.width_px, spec.height_px),
        # The mean over each target pixel when shrinking, so that nothing aliases.
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    black, white = np.percentile(resized, (spec.black_percentile, spec.white_percentile))
    if white - black < MIN_CONTRAST * radiograph.white:
        raise RefusedError(
            "blank",
            "The image is blank or nearly so.",
            "Check the exposure, and that the right file was exported.",
        )
    grey: NDArray[np.float32] = (resized - np.float32(black)) / np.float32(white - black)
    return np.clip(grey, 0, 1, out=grey)


def normalise(grey: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """Grey values (N, H, W) from 0 to 1 to float32 (N, C, H, W) on the network's scale."""
    mean = np.asarray(spec.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.asarray(spec.std, np.float32)[:, np.newaxis, np.newaxis]
    return (grey[:, np.newaxis] - mean) / std


def _check_shape(height: int, width: int, spec: InputSpec) -> None:
    if height < spec.height_px * MIN_SIDE_RATIO or width < spec.width_px * MIN_SIDE_RATIO:
        raise RefusedError(
            "too_small",
            f"The image has only {width} x {height} pixels.",
            "Export the radiograph at its full size, not its thumbnail.",
        )
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise RefusedError(
            "odd_shape",
            f"At {width} x {height} pixels this cannot be a whole chest radiograph.",
            "Export the whole radiograph.",
        )
