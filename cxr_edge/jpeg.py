"""READ for JPEG as nearly every film has it: 8 bits, greyscale or colour, and nothing unusual.

libjpeg leaves out most of the work where a half, a quarter or an eighth of the size is asked for,
and OpenCV is there already, while Pillow takes longer to import than a film takes to be read.
"""

import re
import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from .radiograph import Radiograph, RadiographFile, check_n_pixels, finish, refuse_if_coloured
from .refusals import Refusals

_REDUCED = {
    1: (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_COLOR),
    2: (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
    4: (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
    8: (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
}
_EIGHTH = 8
# XMP (Photoshop writes it) may turn a film that its Exif does not; OpenCV heeds Exif alone.
_TURNED_BY_XMP = re.compile(rb'tiff:Orientation(="|>)[2-8]')


def decode_jpeg(file: RadiographFile, min_side_px: int, refusals: Refusals) -> Radiograph | None:
    """Decode a plain JPEG, reduced as decode_radiograph says; None: Pillow has to look at it.

    None is the answer for CMYK, 12 bits, lossless, several images, and wherever something is
    missing or damaged. Raises UnreadableError (too_many_pixels) or RefusedError (colour).
    """
    header = _plain_header(file.data)
    if header is None:
        return None
    height, width, n_components = header
    check_n_pixels(height, width)
    side = min(height, width)
    reduced = max((n for n in _REDUCED if min_side_px and side // n >= min_side_px), default=1)
    grey_flag, colour_flag = _REDUCED[reduced]
    encoded = np.frombuffer(file.data, np.uint8)
    try:
        # It heeds the Exif orientation.
        pixels = cv2.imdecode(encoded, grey_flag if n_components == 1 else colour_flag)
    except cv2.error:
        return None
    if pixels is None:
        return None
    if n_components == 3:
        _refuse_if_coloured(np.asarray(pixels, np.uint8), reduced, refusals)
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    as_stored = pixels.shape == (-(-height // reduced), -(-width // reduced))
    full_shape = (height, width) if as_stored else (width, height)
    return finish(pixels, 255.0, 8, "MONOCHROME2", file, full_shape)


def _plain_header(data: bytes) -> tuple[int, int, int] | None:
    """Height, width and number of components; None where anything is out of the ordinary.

    ITU-T T.81, B.2: segments up to the start of the scan, which a whole file ends with a mark.
    """
    frame: tuple[int, int, int] | None = None
    start = 2
    try:
        while True:
            mark, kind, length = struct.unpack_from(">BBH", data, start)
            if mark != 0xFF or length < 2:
                return None
            if kind in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
                precision, *shape = struct.unpack_from(">BHHB", data, start + 4)
                frame = (shape[0], shape[1], shape[2])
                if precision != 8 or 0 in frame or frame[2] not in (1, 3):
                    return None
            elif kind == 0xDA:
                break
            elif not (0xE0 <= kind <= 0xEF or kind in (0xC4, 0xDB, 0xDD, 0xFE)) or (
                kind == 0xE2 and data.startswith(b"MPF\0", start + 4)  # several images
            ):
                return None
            start += 2 + length
    except struct.error:
        return None
    # In the scan 0xFF is followed by 0 or a restart mark, so that only its end looks like one.
    is_whole = data.rfind(b"\xff\xd9") > start
    return frame if is_whole and not _TURNED_BY_XMP.search(data, 0, start) else None


def _refuse_if_coloured(bgr: NDArray[np.uint8], reduced: int, refusals: Refusals) -> None:
    """Refuses (colour) where there really is colour.

    An eighth of the film's size is enough to see whether there is.
    """
    more = _EIGHTH // reduced
    size = (-(-bgr.shape[1] // more), -(-bgr.shape[0] // more))
    small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    refuse_if_coloured(np.asarray(small, np.uint8), refusals)
