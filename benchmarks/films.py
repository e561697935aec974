"""Films to measure with, made from the samples: the same on every machine."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from cxr_edge.reading import expand

ROOT = Path(__file__).parents[1]
FIVE_MEGAPIXELS = (2000, 2500)  # rows, columns
# A JPEG's time goes with its bits. 60 full-size films as a hospital exported them (Kermany 2018,
# 0.3 to 2.7 megapixels, JPEG quality 75 to 95) have 0.55 to 2.4 bits per pixel, 0.78 in the median;
# with this grain and quality a 5-megapixel film has 0.81, half a megabyte.
GRAIN, QUALITY = 1.5, 90


def named_or_made(names: Sequence[str], folder: Path) -> list[Path]:
    """The films and folders of the command line, or else one made 5-megapixel JPEG in `folder`."""
    if names:
        return expand(Path(name) for name in names)
    path = folder / "film.jpg"
    path.write_bytes(jpeg(film(FIVE_MEGAPIXELS)))
    return [path]


def conditions(films: Sequence[Path]) -> dict[str, str | float]:
    """What a time depends on, for results.json: the JPEG films in the median, and one core."""
    megapixels = [cv2.imread(str(film), cv2.IMREAD_GRAYSCALE).size / 1e6 for film in films]
    bits = [film.stat().st_size * 8e-6 / size for film, size in zip(films, megapixels, strict=True)]
    return {
        "films": len(films),
        "megapixels": float(np.median(megapixels)),
        "bits_per_pixel": float(np.median(bits)),
        "cores": 1,
    }


def film(shape: tuple[int, int], sample: str = "normal-1.jpg", seed: int = 0) -> NDArray[np.uint8]:
    """A sample enlarged to (rows, columns) pixels, with the grain that a detector adds."""
    return np.clip(_enlarged(shape, sample, seed), 0, 255).astype(np.uint8)


def film_12_bit(
    shape: tuple[int, int], sample: str = "normal-1.jpg", seed: int = 0
) -> NDArray[np.uint16]:
    """The same with 12 bits, 0 to 4095."""
    return np.clip(16 * _enlarged(shape, sample, seed), 0, 4095).astype(np.uint16)


def _enlarged(shape: tuple[int, int], sample: str, seed: int) -> NDArray[np.float32]:
    small = cv2.imread(str(ROOT / "samples" / sample), cv2.IMREAD_GRAYSCALE)
    large = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(seed).normal(0, GRAIN, shape).astype(np.float32)
    return large


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def dicom(pixels: NDArray[np.uint16]) -> bytes:
    """An uncompressed 12-bit computed radiograph (PS3.3 A.2) with a VOI window."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.ViewPosition = "CR", "PA"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def mixed_folder(folder: Path, n_films: int) -> Path:
    """Fill `folder` with what a clinic's folder holds: `n_films` names over 40 different films.

    6 of 10 are JPEGs of 1 to 5 megapixels, one a PNG, one a 16-bit PNG, two 12-bit DICOM.
    """
    folder.mkdir(parents=True)
    samples = [f"{label}-{n}.jpg" for label in ("normal", "pneumonia") for n in (1, 4)]
    first = []
    for number in range(min(40, n_films)):
        sample, kind = samples[number // 10], number % 10
        rows, columns = ((1000, 1250), (1200, 1500), (1520, 1900), FIVE_MEGAPIXELS)[number % 4]
        if kind < 6:
            suffix, data = "jpg", jpeg(film((rows, columns), sample, number))
        elif kind == 6:
            suffix, data = "png", png(film((rows, columns), sample, number))
        elif kind == 7:
            suffix, data = "png", png(film_12_bit((rows, columns), sample, number) << 4)
        else:
            suffix, data = "dcm", dicom(film_12_bit((rows, columns), sample, number))
        first.append(folder / f"film {number:05}.{suffix}")
        first[-1].write_bytes(data)
    for number in range(len(first), n_films):
        original = first[number % len(first)]
        os.link(original, folder / f"film {number:05}{original.suffix}")
    return folder
