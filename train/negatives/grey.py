"""Grey images and the few operations on them that every kind is made with."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Grey = NDArray[np.uint8]  # (H, W), 0 black to 255 white
Unit = NDArray[np.float32]  # (H, W), 0 black to 1 white
Points = NDArray[np.float64]  # (N, 2), x and y, as parts of the image's width and height
Point = Sequence[float] | Points
Shape = tuple[int, int]
Rng = np.random.Generator

BLACK_PERCENTILE, WHITE_PERCENTILE = 0.5, 99.5  # what prepare makes black and white


def unit(image: Grey) -> Unit:
    return image * np.float32(1 / 255)


def grey(image: Unit) -> Grey:
    """Rounded; what is darker than black or brighter than white is clipped."""
    scaled = image * np.float32(255) + np.float32(0.5)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def shape_of(image: NDArray[np.generic]) -> Shape:
    return image.shape[0], image.shape[1]


def chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def stretched(image: Grey) -> Grey:
    """As prepare stretches: its darkest and brightest half percent become black and white.

    An image of one grey stays.
    """
    table = np.cumsum(np.bincount(image.ravel(), minlength=256))
    black, white = np.searchsorted(
        table, [image.size * p / 100 for p in (BLACK_PERCENTILE, WHITE_PERCENTILE)]
    )
    if white <= black:
        return image
    levels = (np.arange(256, dtype=np.float32) - black) / np.float32(white - black)
    return np.asarray(cv2.LUT(image, grey(levels)), np.uint8)


def toned(image: Grey, levels: Unit) -> Grey:
    """Each grey replaced by its own of 256 levels, 0 to 1."""
    return np.asarray(cv2.LUT(image, grey(levels)), np.uint8)


def ramp() -> Unit:
    """The 256 greys, 0 to 1: what a tone curve is made of."""
    return np.linspace(0, 1, 256, dtype=np.float32)


def resized(image: Grey, shape: Shape) -> Grey:
    """Squashed to the shape; means where it shrinks."""
    if shape_of(image) == shape:
        return image
    shrinks = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=method), np.uint8)


def enlarged(image: Unit, shape: Shape, method: int = cv2.INTER_LINEAR) -> Unit:
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=method), np.float32)


def blurred(image: Unit, sigma_px: float) -> Unit:
    """A wide blur is made on a smaller image, which it cannot be told from."""
    if sigma_px < 4:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)
    shape = shape_of(image)
    times = sigma_px / 2
    small = (max(2, round(shape[0] / times)), max(2, round(shape[1] / times)))
    less = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    less = cv2.GaussianBlur(less, (0, 0), 2)
    return enlarged(np.asarray(less, np.float32), shape)


def crop(image: Grey, left: float, top: float, right: float, bottom: float) -> Grey:
    """What lies between these parts of width and height, resized back to the full frame."""
    height, width = image.shape
    rows = slice(round(top * height), max(round(top * height) + 2, round(bottom * height)))
    columns = slice(round(left * width), max(round(left * width) + 2, round(right * width)))
    return resized(np.ascontiguousarray(image[rows, columns]), (height, width))


def grid(shape: Shape) -> tuple[Unit, Unit]:
    """x (1, W) and y (H, 1), from 0 to 1."""
    y = np.linspace(0, 1, shape[0], dtype=np.float32)[:, np.newaxis]
    x = np.linspace(0, 1, shape[1], dtype=np.float32)[np.newaxis]
    return x, y


def warped(image: Grey, matrix: NDArray[np.float64], fill: int | None = 0) -> Grey:
    """By an affine (2, 3) matrix in px, from the image to the result; None repeats its border."""
    height, width = image.shape
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    result = cv2.warpAffine(
        image, matrix, (width, height), borderMode=border, borderValue=float(fill or 0)
    )
    return np.asarray(result, np.uint8)


def affine(
    shape: Shape,
    angle_deg: float = 0,
    zoom: tuple[float, float] = (1, 1),
    shear: float = 0,
    shift: tuple[float, float] = (0, 0),
) -> NDArray[np.float64]:
    """A matrix for `warped`, about the centre. Angles count clockwise, shifts are parts of it."""
    height, width = shape
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(zoom)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre - linear @ centre + np.array(shift) * (width, height)
    return np.hstack([linear, offset[:, np.newaxis]])


def remapped(image: Grey, x: ArrayLike, y: ArrayLike, border: int = cv2.BORDER_REFLECT) -> Grey:
    """Each pixel taken from x, y, parts of width and height, (H, W) or what spreads to it."""
    height, width = image.shape
    full_x = np.broadcast_to(np.asarray(x, np.float32) * np.float32(width - 1), image.shape)
    full_y = np.broadcast_to(np.asarray(y, np.float32) * np.float32(height - 1), image.shape)
    result = cv2.remap(
        image,
        np.ascontiguousarray(full_x),
        np.ascontiguousarray(full_y),
        cv2.INTER_LINEAR,
        borderMode=border,
    )
    return np.asarray(result, np.uint8)


def filled(shape: Shape, outlines: Sequence[Points]) -> Grey:
    """A mask, 1 inside of any of the outlines."""
    mask = np.zeros(shape, np.uint8)
    scale = np.array([shape[1], shape[0]]) * 16
    for outline in outlines:
        points = np.rint(outline * scale).astype(np.int32)
        cv2.fillPoly(mask, [points], (1,), lineType=cv2.LINE_8, shift=4)
    return mask


def strokes(image: Grey | Unit, lines: Sequence[Points], value: float, width_px: int = 1) -> None:
    """Draw lines into the image, in place."""
    scale = np.array([image.shape[1], image.shape[0]]) * 16
    points = [np.rint(line * scale).astype(np.int32) for line in lines]
    cv2.polylines(image, points, False, (value,), width_px, cv2.LINE_AA, shift=4)
