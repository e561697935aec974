"""Small films of different content, made as they are needed."""

import hashlib
import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests import made

# Ways of storing a DICOM film.
_SYNTAXES = {
    "dcm": ExplicitVRLittleEndian,
    "rle.dcm": RLELossless,
    "jls.dcm": JPEGLSLossless,
    "j2k.dcm": JPEG2000Lossless,
    "jpg.dcm": JPEGBaseline8Bit,
}
KINDS = ("jpg", "png", "tif", *_SYNTAXES)


def picture(number: int, kind: str = "", height: int = 56, width: int = 48) -> tuple[str, bytes]:
    """A film's name and its bytes; no two numbers give the same. kind: one of KINDS."""
    kind = kind or KINDS[number % len(KINDS)]
    grain = np.random.default_rng(number).integers(-20, 21, (height, width))
    pixels = np.clip(made.film(height, width) + grain, 0, 255).astype(np.uint8)
    if kind == "tif":
        data = made.tiff(pixels)
    elif kind in _SYNTAXES:
        data = _dicom(pixels, kind)
    else:
        data = made.encode(pixels, {"jpg": "JPEG", "png": "PNG"}[kind])
    return f"film {number:06}.{kind}", data


def quick_picture(number: int) -> tuple[str, bytes]:
    """The same in some microseconds: JPEGs that differ in a comment alone."""
    comment = f"film {number}".encode()
    start, rest = _jpeg()
    segment = b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment
    return f"film {number:06}.jpg", start + segment + rest


@cache
def _jpeg() -> tuple[bytes, bytes]:
    data = picture(0, "jpg")[1]
    return data[:2], data[2:]


def _dicom(pixels: NDArray[np.uint8], kind: str) -> bytes:
    syntax = _SYNTAXES[kind]
    if kind in ("rle.dcm", "jls.dcm", "dcm"):
        return made.dicom(pixels.astype(np.uint16) << 4, 12, syntax=syntax)
    frame = (
        made.encode(pixels, "JPEG2000", no_jp2=True)
        if kind == "j2k.dcm"
        else made.encode(pixels, "JPEG")
    )
    dataset = made.dicom_dataset(pixels)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    return made.dicom_bytes(dataset)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
