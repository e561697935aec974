"""Text in images, in the one font that Pillow carries."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .grey import Grey, Unit


def written(
    image: NDArray[np.uint8] | Unit, text: str, x: float, y: float, size_px: float, value: float
) -> None:
    """Write the text into the image, in place; what reaches over its edges is lost.

    x, y: where the base line begins, parts of width and height. value: on the image's own scale.
    """
    height, width = image.shape
    size = max(5, round(size_px))
    left, top = round(x * width), round(y * height) - size
    for word in text.split(" "):
        cover = _word(word, size)
        _cover(image, cover, left, top, value)
        left += cover.shape[1] + round(0.28 * size)


def _cover(image: Grey | Unit, cover: Unit, left: int, top: int, value: float) -> None:
    if left >= image.shape[1] or top >= image.shape[0]:
        return
    cover = cover[max(0, -top) :, max(0, -left) :]
    target = image[max(0, top) :, max(0, left) :][: cover.shape[0], : cover.shape[1]]
    cover = cover[: target.shape[0], : target.shape[1]]
    target[:] = (target * (1 - cover) + np.float32(value) * cover).astype(image.dtype)


@lru_cache(4096)
def _word(text: str, size_px: int) -> Unit:
    """How much of each pixel is ink, from the word's first pixel to its last."""
    font = _font(size_px)
    drawn = Image.new("L", (max(1, round(font.getlength(text))), round(1.35 * size_px)), 0)
    ImageDraw.Draw(drawn).text((0, 0), text, 255, font)
    return np.asarray(drawn, np.float32) / np.float32(255)


@lru_cache(256)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
