"""READ: a file becomes a Radiograph, or an error that says why it cannot.

The content decides the format, never the suffix. Headers are looked at before pixels are decoded,
so that a decompression bomb costs nothing.
"""

import hashlib
import stat
import threading
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import RefusedError, UnreadableError
from .refusals import ACCEPTABLE, Refusals
from .windows_path import reachable

MAX_FILE_BYTES = 512 * 1024**2
MAX_PIXELS = 80_000_000  # three times the largest detectors (about 25 megapixels)
# A greyscale film saved as RGB has equal channels but for JPEG rounding and a coloured marker;
# the mean spread between its channels stays under this many grey levels of 255.
MAX_COLOUR_SPREAD = 6.0
# Pixels are worked on in bands of so many rows, which stay in a core's cache; a power of two.
BAND_ROWS = 64

_EXPORT_AGAIN = "Export the radiograph again as a single greyscale JPEG, PNG or DICOM file."
_COPY_AGAIN = "Copy the file again from its source."


@dataclass(frozen=True)
class Header:
    """What a DICOM header tells of a film that a model's card has a say in; as far as it tells.

    age_years: of the patient, in years and parts of them (0010,1010). view: View Position
    (0018,5101), in capitals. orientation: Patient Orientation (0020,0020): towards which side of
    the patient the film's rows run, and its columns: "LF" is a frontal film as it should hang.
    """

    age_years: float | None = None
    view: str = ""
    orientation: str = ""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One radiograph as it should be looked at: 0 is black, `white` is white.

    pixels: (H, W), uint8, uint16 or float32; MONOCHROME1 has already been inverted and the
    Modality and VOI look-up tables applied.
    full_shape: (H, W) of the film in the file, upright, where `pixels` may have been reduced.
    bits_stored, photometric: what the file declared (DICOM PS3.3 C.7.6.3); 32 for floats.
    sha256: of the file's bytes. header: what DICOM tells of the patient and of how the film was
    taken. overruled: codes of refusals that the site overrules (refusals.py), met while decoding.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    white: float
    bits_stored: int
    photometric: str
    source: Path
    sha256: str
    full_shape: tuple[int, int]
    header: "Header" = Header()
    overruled: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Unwindowed:
    """One film before its window, for a person who sets brightness and contrast; 0 is black.

    pixels: (h, w), uint8, uint16 or float32 from 0 to `white`; the Modality LUT is applied, the VOI
    LUT is not, and MONOCHROME1 has been inverted. full_shape: as of a Radiograph.
    slope, intercept: pixels * slope + intercept are the film's own units, those that its window is
    in; of an inverted film the slope is negative.
    window: the pixel values that the film wants black and white; None where it does not say.
    windowed: its VOI LUT is applied all the same, being no straight line (a table or a sigmoid);
    pixels have no other units then.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    white: float
    full_shape: tuple[int, int]
    slope: float
    intercept: float
    window: tuple[float, float] | None
    windowed: bool


@dataclass(frozen=True, eq=False)
class RadiographFile:
    """The bytes of a file and their digest, before anything is believed about them."""

    path: Path
    data: bytes
    sha256: str


def open_radiograph(path: Path) -> RadiographFile:
    """Read a file's bytes.

    Raises UnreadableError: missing, no_permission, not_a_file, empty, file_too_large, io_error.
    """
    path = reachable(path)
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


def decode_radiograph(
    file: RadiographFile, min_side_px: int = 0, accepted: Collection[str] = ()
) -> Radiograph:
    """Decode JPEG, PNG, TIFF, BMP or DICOM.

    min_side_px: where it takes far less time or memory, as with JPEG, a film is decoded at a half,
    a quarter or an eighth of its size, as long as its shorter side keeps so many pixels; 0: nothing
    is.
    accepted: codes of refusals that are overruled: colour (taken in grey), not_a_radiograph,
    not_a_chest_film, lateral.
    Raises UnreadableError (corrupt, unsupported_format, too_many_pixels) or RefusedError (colour,
    several_frames, not_a_radiograph, not_a_chest_film, lateral, invalid_pixels).
    """
    refusals = Refusals(accepted)
    film = _decode(file, min_side_px, refusals)
    return replace(film, overruled=refusals.overruled) if refusals.overruled else film


def _decode(file: RadiographFile, min_side_px: int, refusals: Refusals) -> Radiograph:
    # Each is imported where it is needed: Pillow and pydicom take longer to import than a JPEG
    # takes to be read.
    if looks_like_dicom(file.data):
        from .dicom import decode_dicom

        return decode_dicom(file, min_side_px, refusals)
    if file.data.startswith(b"\xff\xd8\xff"):
        from .jpeg import decode_jpeg

        radiograph = decode_jpeg(file, min_side_px, refusals)
        if radiograph is not None:
            return radiograph
    from .image import decode_image

    return decode_image(file, min_side_px, refusals)


def decode_unwindowed(file: RadiographFile, min_side_px: int = 0) -> Unwindowed:
    """Decode any film for a person to look at; see decode_radiograph.

    An image is taken as it is where it has no more than 8 bits; of more, it does not say what is to
    be black and white. Its pixels are its units.
    """
    if looks_like_dicom(file.data):
        from . import dicom

        return dicom.decode_unwindowed(file, min_side_px)
    film = decode_radiograph(file, min_side_px, ACCEPTABLE)
    window = (0.0, film.white) if film.bits_stored <= 8 else None
    return Unwindowed(film.pixels, film.white, film.full_shape, 1.0, 0.0, window, False)


def read_radiograph(path: Path, min_side_px: int = 0, accepted: Collection[str] = ()) -> Radiograph:
    """Open and decode one file; see open_radiograph and decode_radiograph for the errors."""
    return decode_radiograph(open_radiograph(path), min_side_px, accepted)


def looks_like_dicom(data: bytes) -> bool:
    """Whether the bytes start as a DICOM file: with its preamble, or bare (PS3.10, section 7.1).

    A bare data set starts with a group-2 or group-8 element, little-endian.
    """
    if data[128:132] == b"DICM":
        return True
    return data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00" and len(data) > 8


def can_be_halved(shape: tuple[int, ...], min_side_px: int) -> bool:
    """Whether the shorter side keeps min_side_px."""
    return min(shape) // 2 >= min_side_px


def halve(pixels: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 pixels, which cv2 takes in a tenth of the time of any other factor.

    uint16 stays so; anything else becomes float32, because cv2 would round it to its 8 bits. An odd
    side is rounded up, as libjpeg does it: the last row or column counts twice.
    """
    return in_bands(len(pixels), 1, lambda top, end: pixels[top:end])


def n_halvings(shape: tuple[int, ...], min_side_px: int) -> int:
    """How often `in_bands` can halve a film whose shorter side is to keep min_side_px; 0: never."""
    n_times, side = 0, min(shape)
    while min_side_px and side // 2 >= min_side_px and 2 << n_times <= BAND_ROWS:
        n_times, side = n_times + 1, -(-side // 2)
    return n_times


def in_bands(n_rows: int, n_times: int, rows: Callable[[int, int], NDArray[Any]]) -> NDArray[Any]:
    """A film of so many rows, halved n_times while it is made, so that it is never held whole.

    rows: makes the rows from its first number to before its second, as (rows, columns).
    """
    film: NDArray[Any] = np.empty(0)
    for top in range(0, n_rows, BAND_ROWS):
        band = rows(top, min(top + BAND_ROWS, n_rows))
        for _ in range(n_times):
            band = _halve_band(band)
        if not top:
            film = np.empty((-(-n_rows // (1 << n_times)), band.shape[1]), band.dtype)
        first = top >> n_times
        film[first : first + len(band)] = band
    return film


def _halve_band(band: NDArray[Any]) -> NDArray[Any]:
    if band.dtype != np.uint16:
        band = band.astype(np.float32, copy=False)
    n_rows, n_columns = band.shape
    if n_rows % 2 or n_columns % 2:
        odd = n_rows % 2, n_columns % 2
        band = np.asarray(cv2.copyMakeBorder(band, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE))
    half = (band.shape[1] // 2, band.shape[0] // 2)
    return np.asarray(cv2.resize(band, half, interpolation=cv2.INTER_AREA))


def check_n_pixels(n_rows: int, n_columns: int) -> None:
    """Raises UnreadableError (too_many_pixels) before such an image is decoded."""
    if n_rows * n_columns > MAX_PIXELS:
        raise too_many_pixels(f"The image has {n_columns} x {n_rows} pixels")


def corrupt(exc: Exception) -> UnreadableError:
    """The error for data that ends too early or does not decode.

    Raises MemoryError where that is all that went wrong.
    """
    if is_out_of_memory(exc):
        raise MemoryError from exc
    return UnreadableError(
        "corrupt", f"The image is damaged or cut short ({_one_line(exc)}).", _COPY_AGAIN
    )


def is_out_of_memory(exc: BaseException) -> bool:
    """OpenCV says it in its own way."""
    return isinstance(exc, MemoryError) or (
        isinstance(exc, cv2.error) and getattr(exc, "code", 0) == cv2.Error.StsNoMem
    )


def out_of_memory() -> UnreadableError:
    return UnreadableError("out_of_memory", "This machine has too little memory for the file.", "")


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
    full_shape: tuple[int, int] | None = None,
    header: Header = Header(),
) -> Radiograph:
    """Check decoded display values (H, W), 0 black, and make the Radiograph.

    full_shape: of the film, where it was reduced.
    Raises RefusedError (invalid_pixels) for NaN or infinite values.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():
            raise RefusedError(
                "invalid_pixels", "Some pixels are not a number (NaN or infinite).", _EXPORT_AGAIN
            )
    return Radiograph(
        np.ascontiguousarray(pixels),
        white,
        bits_stored,
        photometric,
        file.path,
        file.sha256,
        full_shape or (pixels.shape[0], pixels.shape[1]),
        header,
    )


def refuse_if_coloured(rgb: NDArray[np.uint8], refusals: Refusals) -> None:
    """Refuses (colour) where the channels (H, W, 3) differ by more than a film's."""
    first, second, third = cv2.split(rgb)
    highest = cv2.max(cv2.max(first, second), third)
    lowest = cv2.min(cv2.min(first, second), third)
    if float(np.mean(highest - lowest)) > MAX_COLOUR_SPREAD:
        refusals.refuse(refuse_colour())


class _Quiet:
    """Keeps warnings back while any thread is inside.

    warnings.catch_warnings changes the whole process: of two threads the one that leaves first
    would let the other's warnings out, and the filters of the last one would stay for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._filters.__exit__(None, None, None)


quiet = _Quiet()


def too_many_pixels(what: str) -> UnreadableError:
    return UnreadableError(
        "too_many_pixels",
        f"{what}; the limit is {MAX_PIXELS // 1_000_000} megapixels.",
        _EXPORT_AGAIN,
    )


def unsupported() -> UnreadableError:
    return UnreadableError(
        "unsupported_format",
        "This is not a JPEG, PNG, TIFF, BMP or DICOM image.",
        _EXPORT_AGAIN,
    )


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return (text[:117] + "...") if len(text) > 120 else (text or type(exc).__name__)
