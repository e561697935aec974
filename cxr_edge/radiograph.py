"""READ: a file becomes a Radiograph, or an error that says why it cannot.

The content decides the format, never the suffix. Headers are looked at before pixels are decoded,
so that a decompression bomb costs nothing.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import RadiographError, RefusedError, UnreadableError

MAX_FILE_BYTES = 512 * 1024**2
MAX_PIXELS = 80_000_000  # three times the largest detectors (about 25 megapixels)
# A greyscale film saved as RGB has equal channels but for JPEG rounding and a coloured marker;
# the mean spread between its channels stays under this many grey levels of 255.
MAX_COLOUR_SPREAD = 6.0

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "MPO")
# GIF and MPO are recognised only to be refused with a better reason than "unknown format".
_REFUSED_FORMATS = ("GIF",)

_EXPORT_AGAIN = "Export the radiograph again as a single greyscale JPEG, PNG or DICOM file."
_COPY_AGAIN = "Copy the file again from its source."


@dataclass(frozen=True)
class Radiograph:
    """One radiograph as it should be looked at: 0 is black, `white` is white.

    pixels: (H, W), uint8, uint16 or float32; MONOCHROME1 has already been inverted and the
    Modality and VOI look-up tables applied.
    bits_stored, photometric: what the file declared (DICOM PS3.3 C.7.6.3).
    sha256: of the file's bytes.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    white: float
    bits_stored: int
    photometric: str
    source: Path
    sha256: str


@dataclass(frozen=True)
class RadiographFile:
    """The bytes of a file and their digest, before anything is believed about them."""

    path: Path
    data: bytes
    sha256: str


def open_radiograph(path: Path) -> RadiographFile:
    """Read a file's bytes.

    Raises UnreadableError: missing, no_permission, empty, file_too_large, io_error.
    """
    try:
        n_bytes = path.stat().st_size
        if path.is_dir():
            raise UnreadableError("not_a_file", "This is a folder.", "Name the files inside it.")
        if n_bytes > MAX_FILE_BYTES:
            raise UnreadableError(
                "file_too_large",
                f"The file has {n_bytes / 1024**2:.0f} MB; the limit is "
                f"{MAX_FILE_BYTES // 1024**2} MB.",
                _EXPORT_AGAIN,
            )
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise UnreadableError(
            "missing", "There is no such file.", "Check the path, or whether the share is there."
        ) from exc
    except PermissionError as exc:
        raise UnreadableError(
            "no_permission",
            "The file may not be read by this user.",
            "Give this user read access to it.",
        ) from exc
    except OSError as exc:
        raise UnreadableError(
            "io_error", f"The file could not be read ({exc.strerror}).", _COPY_AGAIN
        ) from exc
    if not data:
        raise UnreadableError("empty", "The file has zero bytes.", _COPY_AGAIN)
    return RadiographFile(path, data, hashlib.sha256(data).hexdigest())


def decode_radiograph(file: RadiographFile) -> Radiograph:
    """Decode JPEG, PNG, TIFF, BMP or DICOM.

    Raises UnreadableError (corrupt, unsupported_format, too_many_pixels) or RefusedError (colour,
    several_frames, not_a_radiograph, invalid_pixels).
    """
    if looks_like_dicom(file.data):
        # Imported here: pydicom takes longer to import than a JPEG takes to be read.
        from .dicom import decode_dicom

        return decode_dicom(file)
    return _decode_image(file)


def read_radiograph(path: Path) -> Radiograph:
    """Open and decode one file; see open_radiograph and decode_radiograph for the errors."""
    return decode_radiograph(open_radiograph(path))


def looks_like_dicom(data: bytes) -> bool:
    """Whether the bytes start as a DICOM file: with its preamble, or bare (PS3.10, section 7.1).

    A bare data set starts with a group-2 or group-8 element, little-endian.
    """
    if data[128:132] == b"DICM":
        return True
    return data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00" and len(data) > 8


def check_n_pixels(n_rows: int, n_columns: int) -> None:
    """Raises UnreadableError (too_many_pixels) before such an image is decoded."""
    if n_rows * n_columns > MAX_PIXELS:
        raise UnreadableError(
            "too_many_pixels",
            f"The image has {n_columns} x {n_rows} pixels; the limit is "
            f"{MAX_PIXELS // 1_000_000} megapixels.",
            _EXPORT_AGAIN,
        )


def corrupt(exc: Exception) -> UnreadableError:
    """The error for data that ends too early or does not decode."""
    return UnreadableError(
        "corrupt", f"The image is damaged or cut short ({_one_line(exc)}).", _COPY_AGAIN
    )


def refuse_colour() -> RefusedError:
    return RefusedError(
        "colour", "The image is in colour; a radiograph is greyscale.", _EXPORT_AGAIN
    )


def refuse_frames(n_frames: int) -> RefusedError:
    return RefusedError(
        "several_frames", f"The file holds {n_frames} images.", "Export one radiograph per file."
    )


def finish(
    pixels: NDArray[np.generic], bits_stored: int, photometric: str, file: RadiographFile
) -> Radiograph:
    """Check decoded display values (H, W) and make the Radiograph.

    Raises RefusedError (invalid_pixels) for NaN or infinite values.
    """
    white = float((1 << bits_stored) - 1)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise RefusedError(
                "invalid_pixels", "Some pixels are not a number (NaN or infinite).", _EXPORT_AGAIN
            )
        # Floating point images declare no range, so the image's own is taken.
        low = pixels.min()
        pixels = (pixels - low).astype(np.float32)
        white = float(pixels.max()) or 1.0
    elif pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
        white = 1.0
    return Radiograph(pixels, white, bits_stored, photometric, file.path, file.sha256)


def _decode_image(file: RadiographFile) -> Radiograph:
    try:
        with warnings.catch_warnings():
            # MAX_PIXELS decides, below; Pillow warns at a smaller size and about odd metadata.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(file.data), formats=_PILLOW_FORMATS)
            check_n_pixels(image.height, image.width)
            n_frames = int(getattr(image, "n_frames", 1))
            if n_frames > 1:
                raise refuse_frames(n_frames)
            if image.format in _REFUSED_FORMATS:
                raise _unsupported()
            return _decode_single(image, file)
    except Image.DecompressionBombError as exc:
        raise UnreadableError("too_many_pixels", str(exc), _EXPORT_AGAIN) from exc
    except UnidentifiedImageError as exc:
        raise _unsupported() from exc
    except RadiographError:
        raise
    # Pillow's decoders raise whatever the damaged byte led to (OSError, SyntaxError, struct.error,
    # ValueError, KeyError ...); all of them mean the same to the user.
    except Exception as exc:
        raise corrupt(exc) from exc


def _decode_single(image: Image.Image, file: RadiographFile) -> Radiograph:
    orientation = image.getexif().get(0x0112, 1)
    if image.mode in ("RGB", "RGBA", "P", "PA", "YCbCr", "CMYK", "LAB", "HSV", "LA", "La"):
        pixels = _grey_of_colour(image, file)
    elif image.mode == "I":  # 32-bit integers: TIFF, and 16-bit PNG in some Pillow versions
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 0xFFFF:
            pixels = pixels.astype(np.float32)
        else:
            pixels = pixels.astype(np.uint16)
    else:
        pixels = np.asarray(image)
    photometric = "MONOCHROME2"
    if image.format == "TIFF":
        # Pillow inverts WhiteIsZero (tag 262 = 0) for 8 bits and fewer; 16-bit data stay raw.
        if image.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
            photometric = "MONOCHROME1"
            if pixels.dtype == np.uint16:
                pixels = 0xFFFF - pixels
    bits_stored = 16 if pixels.dtype.itemsize == 2 else 8
    if pixels.dtype.kind == "u" and pixels.dtype.byteorder == ">":
        pixels = pixels.astype(np.uint16)
    return finish(_upright(pixels, orientation), bits_stored, photometric, file)


def _grey_of_colour(image: Image.Image, file: RadiographFile) -> NDArray[np.uint8]:
    """The grey values (H, W) of an image stored in colour, refused where there really is colour."""
    if image.format == "JPEG" and image.mode == "RGB":
        # libjpeg decodes the luminance alone in half the time; an eighth of the size is enough to
        # see whether there is colour.
        thumbnail = Image.open(io.BytesIO(file.data), formats=("JPEG",))
        thumbnail.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        _refuse_if_coloured(np.asarray(thumbnail))
        image.draft("L", image.size)
        return np.asarray(image)
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L"))
    rgb = np.asarray(image.convert("RGB"))
    _refuse_if_coloured(rgb)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _refuse_if_coloured(rgb: NDArray[np.uint8]) -> None:
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    if float(spread.mean()) > MAX_COLOUR_SPREAD:
        raise refuse_colour()


def _upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Undo the Exif orientation (1 to 8; CIPA DC-008, tag 0x0112)."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)


def _unsupported() -> UnreadableError:
    return UnreadableError(
        "unsupported_format",
        "This is not a JPEG, PNG, TIFF, BMP or DICOM image.",
        _EXPORT_AGAIN,
    )


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return (text[:117] + "...") if len(text) > 120 else (text or type(exc).__name__)
