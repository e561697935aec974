"""READ: a file becomes a Radiograph, or an error that says why it cannot.

The content decides the format, never the suffix. Headers are looked at before pixels are decoded,
so that a decompression bomb costs nothing.
"""

import hashlib
import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF")
# GIF is recognised only to be refused for its several images where it has them.
_REFUSED_FORMATS = ("GIF",)
# How JPEG, PNG, TIFF and BMP start: such a file is a damaged one where Pillow makes nothing of it.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"BM")

_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC = 262

_EXPORT_AGAIN = "Export the radiograph again as a single greyscale JPEG, PNG or DICOM file."
_COPY_AGAIN = "Copy the file again from its source."


@dataclass(frozen=True)
class Radiograph:
    """One radiograph as it should be looked at: 0 is black, `white` is white.

    pixels: (H, W), uint8, uint16 or float32; MONOCHROME1 has already been inverted and the
    Modality and VOI look-up tables applied.
    bits_stored, photometric: what the file declared (DICOM PS3.3 C.7.6.3); 32 for floats.
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

    Raises UnreadableError: missing, no_permission, not_a_file, empty, file_too_large, io_error.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableError(
                "not_a_file",
                "This is a folder whose files cannot be listed.",
                "Give this user read access to it.",
            )
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not_a_file", "This is a pipe or a device.", "Name a file.")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableError(
                "file_too_large",
                f"The file has {status.st_size / 1024**2:.0f} MB; the limit is "
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
            "io_error", f"The file could not be read ({exc.strerror or exc}).", _COPY_AGAIN
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
        raise _too_many_pixels(f"The image has {n_columns} x {n_rows} pixels")


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
    pixels: NDArray[Any],
    white: float,
    bits_stored: int,
    photometric: str,
    file: RadiographFile,
) -> Radiograph:
    """Check decoded display values (H, W), 0 black, and make the Radiograph.

    Raises RefusedError (invalid_pixels) for NaN or infinite values.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():
            raise RefusedError(
                "invalid_pixels", "Some pixels are not a number (NaN or infinite).", _EXPORT_AGAIN
            )
    contiguous = np.ascontiguousarray(pixels)
    return Radiograph(contiguous, white, bits_stored, photometric, file.path, file.sha256)


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
        # Pillow's own limit is higher than MAX_PIXELS, and comes first.
        raise _too_many_pixels("The image is far too large") from exc
    except UnidentifiedImageError as exc:
        if file.data.startswith(_SIGNATURES):
            raise corrupt(ValueError("its header cannot be read")) from exc
        raise _unsupported() from exc
    except (RadiographError, MemoryError):
        raise
    # Pillow's decoders raise whatever the damaged byte led to (OSError, SyntaxError, struct.error,
    # ValueError, KeyError ...); all of them mean the same to the user.
    except Exception as exc:
        raise corrupt(exc) from exc


def _decode_single(image: Image.Image, file: RadiographFile) -> Radiograph:
    pixels = _stored_pixels(image, file)
    bits_stored = 1 if pixels.dtype == np.bool_ else 8 * pixels.dtype.itemsize
    if pixels.dtype.kind in "if":
        # 32-bit integers and floats declare no range, so the image's own is taken.
        pixels = pixels - pixels.min().astype(np.float64)
        white = float(pixels.max()) or 1.0
    else:
        pixels = pixels.astype(np.uint8 if bits_stored <= 8 else np.uint16, copy=False)
        white = float((1 << bits_stored) - 1)
    photometric = "MONOCHROME2"
    if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0:
        photometric = "MONOCHROME1"
        # Pillow has inverted WhiteIsZero up to 8 bits, and left wider pixels as they are.
        if bits_stored > 8:
            pixels = (white - pixels).astype(pixels.dtype)
    # Asked for after decoding: Pillow turns a TIFF upright itself and then forgets the tag.
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    return finish(_upright(pixels, orientation), white, bits_stored, photometric, file)


def _stored_pixels(image: Image.Image, file: RadiographFile) -> NDArray[Any]:
    """The grey values (H, W) as they are stored: bool, uint8, uint16, int32 or float32."""
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L"))
    if image.mode not in ("1", "L", "I", "F") and not image.mode.startswith("I;16"):
        return _grey_of_colour(image, file)
    pixels: NDArray[Any] = np.asarray(image)
    # Some Pillow versions give 16-bit PNG as 32-bit integers.
    if image.mode == "I" and pixels.min() >= 0 and pixels.max() <= 0xFFFF:
        return pixels.astype(np.uint16)
    return pixels


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
    rgb = np.asarray(image.convert("RGB"))
    _refuse_if_coloured(rgb)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _refuse_if_coloured(rgb: NDArray[np.uint8]) -> None:
    red, green, blue = cv2.split(rgb)
    highest = cv2.max(cv2.max(red, green), blue)
    lowest = cv2.min(cv2.min(red, green), blue)
    if float(np.mean(highest - lowest)) > MAX_COLOUR_SPREAD:
        raise refuse_colour()


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo the Exif orientation (1 to 8; CIPA DC-008, tag 0x0112)."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)


def _too_many_pixels(what: str) -> UnreadableError:
    return UnreadableError(
        "too_many_pixels",
        f"{what}; the limit is {MAX_PIXELS // 1_000_000} megapixels.",
        _EXPORT_AGAIN,
    )


def _unsupported() -> UnreadableError:
    return UnreadableError(
        "unsupported_format",
        "This is not a JPEG, PNG, TIFF, BMP or DICOM image.",
        _EXPORT_AGAIN,
    )


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return (text[:117] + "...") if len(text) > 120 else (text or type(exc).__name__)
