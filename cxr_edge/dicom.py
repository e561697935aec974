"""READ for DICOM: decode, Modality LUT, VOI LUT, then inversion (PS3.4 N.2), in that order."""

import io
import logging
import warnings

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from .errors import RadiographError, RefusedError, UnreadableError
from .radiograph import (
    Radiograph,
    RadiographFile,
    check_n_pixels,
    corrupt,
    finish,
    refuse_colour,
    refuse_frames,
)

logger = logging.getLogger(__name__)

# Modality (0008,0060) of projection radiographs and of films that were scanned or exported.
# An absent modality is let through: many clinics' exports lack it.
_RADIOGRAPH_MODALITIES = frozenset({"", "CR", "DX", "RG", "SC", "OT", "HC", "XC"})
_LATERAL_VIEWS = frozenset({"LL", "RL", "LLD", "RLD", "LATERAL", "LAT"})


def decode_dicom(file: RadiographFile) -> Radiograph:
    """Decode a single-frame greyscale DICOM file.

    Raises UnreadableError (corrupt, unsupported_format, too_many_pixels) or RefusedError (colour,
    several_frames, not_a_radiograph, lateral, invalid_pixels).
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns about every liberty a vendor took; what matters raises.
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(file.data), force=True)
            _check_header(dataset)
            pixels, bits = _display_values(dataset)
    except RadiographError:
        raise
    except InvalidDicomError as exc:
        raise corrupt(exc) from exc
    except (RuntimeError, NotImplementedError) as exc:
        if "missing dependencies" in str(exc) or isinstance(exc, NotImplementedError):
            raise UnreadableError(
                "unsupported_format",
                f"This DICOM transfer syntax cannot be decoded ({exc}).",
                "Export the radiograph again as uncompressed DICOM, PNG or JPEG.",
            ) from exc
        raise corrupt(exc) from exc
    # Any other error from inside pydicom or a codec means damaged data; which type it is depends
    # on the byte that is wrong.
    except Exception as exc:
        raise corrupt(exc) from exc
    photometric = str(dataset.PhotometricInterpretation)
    return finish(pixels, bits, photometric, file)


def _check_header(dataset: pydicom.Dataset) -> None:
    modality = str(dataset.get("Modality", "") or "").upper()
    if modality not in _RADIOGRAPH_MODALITIES:
        raise RefusedError(
            "not_a_radiograph",
            f"The DICOM modality is {modality}, not a radiograph.",
            "Send chest radiographs only (CR or DX).",
        )
    view = str(dataset.get("ViewPosition", "") or "").upper()
    if view in _LATERAL_VIEWS:
        raise RefusedError(
            "lateral", f"The view is {view}, a lateral.", "Send the frontal view (PA or AP)."
        )
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise RefusedError(
            "not_a_radiograph",
            "The DICOM file holds no image.",
            "Send the image, not its report or index.",
        )
    check_n_pixels(int(dataset.Rows), int(dataset.Columns))
    n_frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if n_frames > 1:
        raise refuse_frames(n_frames)
    if int(dataset.get("SamplesPerPixel", 1) or 1) != 1 or not str(
        dataset.PhotometricInterpretation
    ).startswith("MONOCHROME"):
        raise refuse_colour()


def _display_values(dataset: pydicom.Dataset) -> tuple[NDArray[np.generic], int]:
    """Values as they should be displayed, 0 black, and the bits they span."""
    bits = int(dataset.get("BitsStored", 16))
    pixels = dataset.pixel_array
    if pixels.ndim != 2:
        raise refuse_frames(len(pixels))
    raw_kind = pixels.dtype.kind
    pixels = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
    if raw_kind == "f" or pixels.dtype.kind == "f":
        low, high = _output_range(dataset, pixels, bits)
        if np.isfinite(pixels).all() and high > low:
            scaled = np.clip((pixels - low) / (high - low), 0, 1) * 65535
            pixels, bits = np.rint(scaled).astype(np.uint16), 16
    elif pixels.dtype.kind == "i" or pixels.dtype.itemsize > 2:
        pixels = (pixels.astype(np.int64) - int(pixels.min())).clip(0, 65535).astype(np.uint16)
        bits = max(bits, int(pixels.max()).bit_length(), 1)
    elif "VOILUTSequence" in dataset or "ModalityLUTSequence" in dataset:
        bits = max(1, int(pixels.max()).bit_length())
    if pixels.dtype.kind == "u" and dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = ((1 << bits) - 1) - pixels
    elif dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    return pixels, bits


def _output_range(
    dataset: pydicom.Dataset, pixels: NDArray[np.generic], bits: int
) -> tuple[float, float]:
    """Black and white of `pixels`: the range that pydicom's windowing fills (PS3.3 C.11.2.1.2)."""
    if "WindowWidth" in dataset and "PixelRepresentation" in dataset and "PixelData" in dataset:
        signed = int(dataset.PixelRepresentation) == 1
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        slope = float(dataset.get("RescaleSlope", 1) or 1)
        intercept = float(dataset.get("RescaleIntercept", 0) or 0)
        if "ModalityLUTSequence" not in dataset:
            return low * slope + intercept, high * slope + intercept
    return float(pixels.min()), float(pixels.max())
