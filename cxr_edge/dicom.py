"""READ for DICOM: decode, Modality LUT, VOI LUT, then inversion (PS3.4 N.2), in that order."""

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .errors import RadiographError, RefusedError, UnreadableError
from .radiograph import (
    BAND_ROWS,
    Header,
    Radiograph,
    RadiographFile,
    Unwindowed,
    check_n_pixels,
    corrupt,
    finish,
    in_bands,
    n_halvings,
    quiet,
    refuse_colour,
    refuse_frames,
)
from .refusals import ACCEPTABLE, Refusals
from .result import Identifiers

# Modality (0008,0060) of projection radiographs and of films that were scanned or exported.
# An absent modality is let through: many clinics' exports lack it.
_RADIOGRAPH_MODALITIES = frozenset({"", "CR", "DX", "RG", "SC", "OT", "HC", "XC"})
_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PLAIN_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
# Of fewer levels than this the means that PREPARE rounds to whole levels would be too coarse.
_MIN_CLIPPED_LEVELS = 1020
# Body Part Examined (0018,0015) of radiographs of something else (PS3.16, annex L). Whatever is not
# named here is let through: it is often typed by hand, or holds what the room is mostly used for.
_OTHER_BODY_PARTS = frozenset(
    "ABDOMEN ANKLE ARM BREAST CALCANEUS CALF CLAVICLE CSPINE ELBOW EXTREMITY EYE FEMUR FINGER FOOT "  # noqa: SIM905
    "FOREARM HAND HEAD HIP HUMERUS JAW KNEE LEG LSPINE MANDIBLE NECK ORBIT PATELLA PELVIS SHOULDER "
    "SINUS SKULL SPINE TOE TSPINE WRIST ZYGOMA".split()
)
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_LATERAL_VIEWS = frozenset({"LL", "RL", "LLD", "RLD", "LATERAL", "LAT"})
_VOI_ELEMENTS = ("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth")
# A window so many values away from its film, or at no number, is none.
_FARTHEST = 1e9
# Of white, where stored values may be clipped in place of being looked up. A quarter of one of 255
# grey levels is enough for a network; a person may look at a narrow part of the range.
_FOR_A_NETWORK, _FOR_A_PERSON = 0.25 / 255, 0.51 / 0xFFFF


def decode_dicom(file: RadiographFile, min_side_px: int, refusals: Refusals) -> Radiograph:
    """Decode a single-frame greyscale DICOM file.

    min_side_px: as decode_radiograph says; means of 2 x 2 pixels are taken where that is at hand.
    Raises UnreadableError (corrupt, unsupported_format, too_many_pixels) or RefusedError (colour,
    several_frames, not_a_radiograph, not_a_chest_film, lateral, invalid_pixels).
    """
    with _damage_is_corrupt():
        dataset, stored = _read(file.data, refusals)
        pixels, white, _ = _display_values(stored, dataset, min_side_px, _FOR_A_NETWORK)
        photometric = str(dataset.PhotometricInterpretation)
        header = _header_of(dataset)
        return finish(pixels, white, _bits(dataset), photometric, file, stored.shape, header)


def decode_unwindowed(file: RadiographFile, min_side_px: int = 0) -> Unwindowed:
    """Decode a single-frame DICOM file for a person to look at; see decode_dicom. Nothing is
    refused that can be accepted."""
    with _damage_is_corrupt():
        dataset, stored = _read(file.data, Refusals(ACCEPTABLE))
        window, windowed = _window(dataset), _has_curve(dataset)
        if not windowed:
            for name in _VOI_ELEMENTS:
                dataset.pop(name, None)
        pixels, white, ends = _display_values(stored, dataset, min_side_px, _FOR_A_PERSON)
        slope, intercept = (ends[1] - ends[0]) / white, ends[0]
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            slope, intercept = -slope, ends[1]
        if windowed:
            slope, intercept, window = 1.0, 0.0, (0.0, white)
        elif window:
            low, high = sorted((value - intercept) / slope for value in window)
            window = (low, high) if -_FARTHEST <= low <= high <= _FARTHEST else None
        if not (math.isfinite(slope) and math.isfinite(intercept)):
            raise ValueError("its rescale is no number")
        shown = finish(pixels, white, _bits(dataset), "", file, stored.shape)
        full_shape = shown.full_shape
        return Unwindowed(shown.pixels, white, full_shape, slope, intercept, window, windowed)


@contextmanager
def _damage_is_corrupt() -> Iterator[None]:
    """What comes out of pydicom or a codec depends on the byte that is wrong; all of it means
    damaged data."""
    try:
        # pydicom warns about every liberty a vendor took; what matters raises.
        with quiet:
            yield
    except (RadiographError, MemoryError):
        raise
    except Exception as exc:
        raise corrupt(exc) from exc


def _read(data: bytes, refusals: Refusals) -> tuple[pydicom.Dataset, NDArray[Any]]:
    """The header and the stored pixels, (H, W) but where there are several images."""
    stream = io.BytesIO(data)
    dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True)
    _complete_file_meta(dataset)
    stored = _pixels_in_place(data, stream.tell(), dataset)
    if stored is None:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        _complete_file_meta(dataset)
    _check_header(dataset, stored is not None, refusals)
    if stored is not None:
        return dataset, stored
    stored = _stored_pixels(dataset)
    if dataset.get("SamplesPerPixel") == 3:
        stored = np.asarray(cv2.cvtColor(np.ascontiguousarray(stored), cv2.COLOR_RGB2GRAY))
    return dataset, stored


def _bits(dataset: pydicom.Dataset) -> int:
    return int(dataset.get("BitsStored") or dataset.BitsAllocated)


def identifiers(data: bytes) -> Identifiers:
    """Whose film it is, and which; as far as the header tells, each of at most 64 characters."""
    tags = ["PatientID", "StudyInstanceUID", "SOPInstanceUID"]
    try:
        with quiet:
            header = pydicom.dcmread(
                io.BytesIO(data), force=True, stop_before_pixels=True, specific_tags=list(tags)
            )
            found = [str(header.get(name) or "") for name in tags]
    except MemoryError:
        raise
    # As in _damage_is_corrupt; what is wrong with the file is said when it is decoded.
    except Exception:
        return Identifiers()
    shown = ("".join(filter(str.isprintable, text)).strip()[:64] for text in found)
    return Identifiers(*shown)


def _check_header(dataset: pydicom.Dataset, has_pixels: bool, refusals: Refusals) -> None:
    _check_what_it_shows(dataset, refusals)
    if not has_pixels and not any(name in dataset for name in _PIXEL_ELEMENTS):
        # pydicom stops without a word where a file ends too early.
        if _class_name(dataset).endswith("Image Storage"):
            raise corrupt(EOFError("it ends before its pixels"))
        raise RefusedError(
            "not_a_radiograph",
            "The DICOM file holds no image.",
            "Send the image, not its report or index.",
        )
    check_n_pixels(int(dataset.Rows), int(dataset.Columns))
    n_frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if n_frames > 1:
        raise refuse_frames(n_frames)
    n_channels = int(dataset.get("SamplesPerPixel", 1) or 1)
    is_grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    if n_channels != 1 or not is_grey:
        # A palette, or colours of more than 8 bits, are no radiograph's.
        if is_grey or (n_channels, dataset.BitsAllocated) != (3, 8):
            raise refuse_colour()
        refusals.refuse(refuse_colour())


def _check_what_it_shows(dataset: pydicom.Dataset, refusals: Refusals) -> None:
    modality = str(dataset.get("Modality", "") or "").upper()
    if modality not in _RADIOGRAPH_MODALITIES:
        refusals.refuse(
            RefusedError(
                "not_a_radiograph",
                f"The DICOM modality is {modality}, not a radiograph.",
                "Send chest radiographs only (CR or DX).",
            )
        )
    part = str(dataset.get("BodyPartExamined", "") or "").upper()
    if part in _OTHER_BODY_PARTS:
        refusals.refuse(
            RefusedError(
                "not_a_chest_film",
                f"The DICOM body part is {part}, not the chest.",
                "Send chest radiographs only.",
            )
        )
    view = _view_of(dataset)
    if view in _LATERAL_VIEWS:
        refusals.refuse(
            RefusedError(
                "lateral", f"The view is {view}, a lateral.", "Send the frontal view (PA or AP)."
            )
        )


def _header_of(dataset: pydicom.Dataset) -> Header:
    orientation = dataset.get("PatientOrientation") or ()
    sides = [str(one).strip().upper()[:1] for one in orientation] if len(orientation) == 2 else []
    return Header(_age_years(dataset), _view_of(dataset), "".join(sides))


def _view_of(dataset: pydicom.Dataset) -> str:
    return str(dataset.get("ViewPosition", "") or "").strip().upper()


def _age_years(dataset: pydicom.Dataset) -> float | None:
    """The patient's age (an Age String, PS3.5 6.2, or a bare number of years); else what lies
    between birth and study. Of "000Y", which is written where nobody knows, nothing is believed."""
    age = _AGE.fullmatch(str(dataset.get("PatientAge") or "").strip().upper())
    if age and (int(age[1]) or age[2] in ("D", "W", "M")):
        return int(age[1]) * _YEARS[age[2] or "Y"]
    try:
        born, taken = (
            datetime.strptime(str(dataset.get(name) or "")[:8], "%Y%m%d")
            for name in ("PatientBirthDate", "StudyDate")
        )
    except ValueError:
        return None
    return (taken - born).days * _YEARS["D"] if taken >= born else None


def _class_name(dataset: pydicom.Dataset) -> str:
    """What kind of object the file says it is; it says so first in its file meta information."""
    uid = dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or ""
    return UID(uid).name.partition(" - ")[0]


def _complete_file_meta(dataset: pydicom.Dataset) -> None:
    """Bare data sets do not name their transfer syntax: take the encoding they were read in."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little_endian = dataset.original_encoding
        little = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = little if little_endian else ExplicitVRBigEndian


def _pixels_in_place(data: bytes, start: int, dataset: pydicom.Dataset) -> NDArray[Any] | None:
    """The stored pixels of a plain 16-bit image as they lie in the file, which copies nothing.

    start: where pydicom found their data element. None: pydicom has to decode them, or to say what
    is wrong.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    shape = dataset.get("Rows"), dataset.get("Columns")
    kind = {0: "<u2", 1: "<i2"}.get(dataset.get("PixelRepresentation"))
    if (
        syntax not in _PLAIN_SYNTAXES
        or data[start : start + 4] != b"\xe0\x7f\x10\x00"
        or dataset.get("BitsAllocated") != 16
        or dataset.get("SamplesPerPixel") != 1
        or dataset.get("BitsStored") not in range(1, 17)
        or dataset.get("NumberOfFrames", 1) not in (1, None)
        or not (kind and all(isinstance(side, int) and side > 0 for side in shape))
    ):
        return None
    # Implicit: tag, length. Explicit: tag, OW and two bytes that are not used, length (PS3.5, 7.1).
    start += 8 if syntax == ImplicitVRLittleEndian else 12
    n_bytes = 2 * shape[0] * shape[1]
    if data[start - 4 : start] != struct.pack("<I", n_bytes) or len(data) - start < n_bytes:
        return None
    return np.frombuffer(data, kind, n_bytes // 2, start).reshape(shape)


def _stored_pixels(dataset: pydicom.Dataset) -> NDArray[Any]:
    """Stored values; where they are not compressed, with whatever is in the unused bits."""
    try:
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.pixel_array_options(decoding_plugin=_choose_decoder(dataset))
        else:
            # The bytes as they are in the file; what is in unused bits is left to the table.
            dataset.pixel_array_options(view_only=True, correct_unused_bits=False)
        return dataset.pixel_array
    except (NotImplementedError, RuntimeError) as exc:
        # No decoder at all, none that is installed, or none that takes so many bits.
        reasons = ("missing dependencies", "does not support")
        if isinstance(exc, NotImplementedError) or any(reason in str(exc) for reason in reasons):
            syntax = dataset.file_meta.TransferSyntaxUID.name
            raise UnreadableError(
                "unsupported_format",
                f"DICOM pixels in {syntax}, {dataset.BitsStored} bits, cannot be decoded here.",
                "Export the radiograph again as uncompressed DICOM, PNG or JPEG.",
            ) from exc
        raise


def _choose_decoder(dataset: pydicom.Dataset) -> str:
    """The pydicom plug-in to decode compressed pixels with; "" leaves it to pydicom.

    An exception inside GDCM ends the whole process (tfmoraes/python-gdcm#34), and a damaged file is
    enough for one. So it decodes only what no other plug-in does, JPEG lossless, and that checked.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    plugins = get_decoder(syntax).available_plugins
    if plugins != ("gdcm",):
        return next((plugin for plugin in plugins if plugin != "gdcm"), "")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    precision, *shape = _check_lossless_jpeg(frame)
    bits_stored, bits_allocated = dataset.BitsStored, dataset.BitsAllocated
    if (
        shape != [dataset.Rows, dataset.Columns, 1]
        or bits_allocated not in (8, 16)
        or not bits_stored <= precision <= bits_allocated
        or (precision > 8) != (bits_allocated > 8)
    ):
        raise ValueError("the JPEG image inside is not the one that the header describes")
    return "gdcm"


def _check_lossless_jpeg(data: bytes) -> tuple[int, int, int, int]:
    """Bits, rows, columns and components of a lossless JPEG image whose headers are sound.

    Raises ValueError or struct.error: what ITU-T T.81, B.2 asks for is not there.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("the JPEG image inside has no beginning")
    frame: tuple[int, int, int, int] | None = None
    n_tables = 0
    start = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", data, start)
        segment = data[start + 4 : start + 2 + length]
        if mark != 0xFF or len(segment) != length - 2:
            raise ValueError("the JPEG image inside has a damaged header")
        if kind == 0xC3 and frame is None:
            frame = struct.unpack_from(">BHHB", segment)
        elif kind == 0xC4:
            n_tables += 1
        elif kind == 0xDA:  # the scan: one component, a predictor from 1 to 7, nothing refined
            n_components, _, _, predictor, end, _ = struct.unpack(">BBBBBB", segment)
            sound = n_components == 1 and 1 <= predictor <= 7 and end == 0
            if frame is None or not n_tables or not sound:
                raise ValueError("the JPEG image inside has a damaged header")
            return frame
        elif not (0xE0 <= kind <= 0xEF or kind in (0xDB, 0xDD, 0xFE)):
            raise ValueError("the JPEG image inside is of another kind")
        start += 2 + length


def _display_values(
    stored: NDArray[Any], dataset: pydicom.Dataset, min_side_px: int, tolerance: float
) -> tuple[NDArray[Any], float, tuple[float, float]]:
    """Stored pixels as they should be displayed, 0 black, and their white; and what they were
    before they began at 0, of the darkest and the brightest there can be.

    tolerance: see `_clip`.
    """
    if stored.ndim != 2:
        raise refuse_frames(len(stored))
    if stored.dtype.kind == "f" or stored.dtype.itemsize > 2:
        shown, *ends = _displayed(stored, dataset)
        return shown, ends[1] - ends[0], (ends[0], ends[1])
    # Whatever is done to a stored value, up to 16 bits it is quickest done once per possible value.
    table, white, range_ = _display_table(stored.dtype, dataset)
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    patterns = native.view(f"u{stored.dtype.itemsize}")
    n_times = n_halvings(patterns.shape, min_side_px)
    clipped = _clip(patterns, table, white, n_times, tolerance)
    return *(clipped or (_look_up(patterns, table, n_times), white)), range_


def _display_table(
    stored: np.dtype[Any], dataset: pydicom.Dataset
) -> tuple[NDArray[Any], float, tuple[float, float]]:
    """What is displayed for each pattern that a stored pixel can have; see _display_values.

    Beyond the table it begins again: bits that are not used do not count. Display values that are
    no whole numbers, as those of a window, are given in 16 bits.
    """
    n_patterns = 1 << 8 * stored.itemsize
    kind = f"{stored.kind}{stored.itemsize}"
    values = np.arange(n_patterns, dtype=f"u{stored.itemsize}").view(kind)
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        # Shifted up and down again, unused bits mean nothing, and the highest used one is the sign
        # (PS3.5, 8.1.1); what the others hold repeats itself.
        n_unused = 8 * stored.itemsize - int(dataset.BitsStored)
        values = (values[: n_patterns >> n_unused] << n_unused) >> n_unused
    shown, *ends = _displayed(values, dataset)
    white = ends[1] - ends[0]
    if white != int(white) or white > 0xFFFF or (shown != np.rint(shown)).any():
        shown, white = np.rint(shown * (0xFFFF / white)), 0xFFFF
    shown = shown.astype(np.uint8 if white <= 0xFF else np.uint16)
    return shown, float(white), (ends[0], ends[1])


def _clip(
    patterns: NDArray[Any], table: NDArray[Any], white: float, n_times: int, tolerance: float
) -> tuple[NDArray[Any], float] | None:
    """The same to a part of white, `tolerance`, by clipping the stored values, and its white.

    That takes half the time of a table. None where it is not the same: where the table is no ramp
    between two flat ends, as a wide window is, or where a pixel lies beyond the table.
    """
    changes = np.flatnonzero(np.diff(table.astype(np.int32)))
    if not len(changes):
        return None
    low, high = int(changes[0]), int(changes[-1]) + 1
    if high - low < _MIN_CLIPPED_LEVELS:
        return None
    rises = bool(table[high] > table[low])
    ramp = np.clip(np.arange(len(table)), low, high)
    ramp = ramp - low if rises else high - ramp
    if np.abs(ramp / (high - low) - table / white).max() > tolerance:
        return None
    ends = patterns.dtype.type(low), patterns.dtype.type(high)
    scratch = np.empty((BAND_ROWS, patterns.shape[1]), patterns.dtype)
    highest = 0

    def rows(top: int, end: int) -> NDArray[Any]:
        nonlocal highest
        band = patterns[top:end]
        highest = max(highest, int(band.max()))
        if low == 0 and highest <= high:
            return band
        return np.clip(band, *ends, out=scratch[: end - top])

    shown = in_bands(len(patterns), n_times, rows)
    if highest >= len(table):
        return None
    # Only now is the black end taken away, or all taken from it: the means move with their pixels.
    if rises:
        np.subtract(shown, ends[0], out=shown)
    else:
        np.subtract(ends[1], shown, out=shown)
    return shown, float(high - low)


def _look_up(patterns: NDArray[Any], table: NDArray[Any], n_times: int) -> NDArray[Any]:
    table = np.resize(table, 1 << 8 * patterns.dtype.itemsize)

    def rows(top: int, end: int) -> NDArray[Any]:
        try:
            return np.asarray(cv2.LUT(patterns[top:end], table))
        except cv2.error:  # OpenCV 4 looks up 8 bits alone
            return np.take(table, patterns[top:end])

    return in_bands(len(patterns), n_times, rows)


def _displayed(stored: NDArray[Any], dataset: pydicom.Dataset) -> tuple[NDArray[Any], float, float]:
    """Stored values, in any number and shape, as they should be displayed, 0 black; and the range
    open to them before they began at 0."""
    values, black, white = _apply_voi(*_apply_modality(stored, dataset), dataset)
    if values.dtype.kind != "u":
        values = values.astype(np.float64)  # so that nothing wraps around below
    values = np.clip(values, black, white)  # a damaged codestream may lead beyond its bits
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return white - values if inverted else values - black, float(black), float(white)


def _apply_modality(
    stored: NDArray[Any], dataset: pydicom.Dataset
) -> tuple[NDArray[Any], float, float]:
    """Values after the Modality LUT or rescaling (PS3.3 C.11.1), and the range open to them."""
    if dataset.get("ModalityLUTSequence"):
        bits = _widen_table(dataset.ModalityLUTSequence[0], dataset)
        return apply_modality_lut(stored.astype(np.int64), dataset), 0, (1 << bits) - 1
    if stored.dtype.kind == "f":
        # Floating point pixels declare no range, so the image's own is taken.
        lowest, highest = float(stored.min()), float(stored.max())
        ends = np.array([lowest, highest if highest != lowest else lowest + 1])
    else:
        n_values = 1 << int(dataset.BitsStored)
        first = -n_values // 2 if stored.dtype.kind == "i" else 0
        ends = np.array([first, first + n_values - 1])
    black, white = sorted(apply_modality_lut(ends, dataset).tolist())
    return apply_modality_lut(stored, dataset), black, white


def _apply_voi(
    values: NDArray[Any], black: float, white: float, dataset: pydicom.Dataset
) -> tuple[NDArray[Any], float, float]:
    """Values after the VOI LUT or the first window (PS3.3 C.11.2), and the range open to them."""
    voi = pydicom.Dataset()
    for name in _VOI_ELEMENTS:
        if dataset.get(name) not in (None, ""):
            voi[name] = dataset[name]
    if voi.get("VOILUTSequence"):
        table = voi.VOILUTSequence[0]
        bits = _widen_table(table, dataset)
        n_entries, first, _ = table.LUTDescriptor
        # Clipped here, because pydicom casts to the width of the table's entries first.
        indices = np.clip(np.rint(values), first, first + (n_entries or 1 << 16) - 1)
        return apply_voi_lut(indices.astype(np.int64), voi), 0, (1 << bits) - 1
    if _has_window(voi):
        # The window's result fills the range of the bits that are declared: one bit, 0 to 1.
        voi.BitsStored, voi.PixelRepresentation = 1, 0
        voi.PhotometricInterpretation = "MONOCHROME2"
        return apply_voi_lut(values, voi), 0, 1
    return values, black, white


def _has_window(dataset: pydicom.Dataset) -> bool:
    return dataset.get("WindowCenter") not in (None, "") and _first(dataset.get("WindowWidth")) > 0


def _has_curve(dataset: pydicom.Dataset) -> bool:
    """Whether its VOI LUT is no straight line between black and white."""
    if dataset.get("VOILUTSequence"):
        return True
    return _has_window(dataset) and _function(dataset) not in ("LINEAR", "LINEAR_EXACT")


def _function(dataset: pydicom.Dataset) -> str:
    return str(dataset.get("VOILUTFunction") or "LINEAR").upper()


def _window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """What the first window, a straight line, makes black and white (PS3.3 C.11.2.1.2.1)."""
    if not _has_window(dataset) or _has_curve(dataset):
        return None
    center, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
    if _function(dataset) == "LINEAR":
        if width < 1:
            raise ValueError("its window is too narrow")
        center, width = center - 0.5, width - 1
    return center - width / 2, center + width / 2


def _widen_table(table: pydicom.Dataset, dataset: pydicom.Dataset) -> int:
    """Make a look-up table's entries 16 bits wide; the bits that they have or really need.

    From 8-bit entries pydicom takes the width of the index too, which wraps around at 256, and it
    does not unpack them two to a word (PS3.3 C.11.2.1.1).
    """
    n_entries, first, bits = table.LUTDescriptor
    n_entries = n_entries or 1 << 16
    entries = table.LUTData
    if isinstance(entries, bytes):
        word = "<u2" if dataset.original_encoding[1] else ">u2"
        packed = len(entries) < 2 * n_entries
        entries = np.frombuffer(entries, np.uint8 if packed else word, n_entries).tolist()
    table["LUTData"] = pydicom.DataElement("LUTData", "US", entries)
    table.LUTDescriptor = [n_entries, first, 16]
    return max(int(bits), int(np.max(entries)).bit_length())


def _first(value: object) -> float:
    """The first of one or several numbers; 0 where there is none."""
    if value is None or value == "":
        return 0.0
    return float(np.atleast_1d(np.asarray(value, np.float64))[0])
