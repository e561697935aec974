"""Small radiographs made in memory, in every form that the tests read them in."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import InputSpec
from cxr_edge.radiograph import Radiograph, RadiographFile, decode_radiograph

SPEC = InputSpec(
    width_px=32,
    height_px=32,
    channels=3,
    resize="squash",
    black_percentile=0.5,
    white_percentile=99.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
_UNCOMPRESSED = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def film(height: int = 96, width: int = 80) -> NDArray[np.uint8]:
    """Two dark lungs in a bright chest, every grey level from 0 to 255, no symmetry."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lungs = np.exp(-8 * ((x - 0.45) ** 2 + 0.4 * y**2))
    lungs += 0.8 * np.exp(-10 * ((x + 0.5) ** 2 + 0.5 * (y - 0.1) ** 2))
    chest = 0.4 + 0.3 * np.exp(-3 * x**2) + 0.1 * y - 0.5 * lungs
    chest = (chest - chest.min()) / (chest.max() - chest.min())
    return np.rint(255 * chest).astype(np.uint8)


def encode(pixels: NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a JPEG, PNG, TIFF, BMP or GIF file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., np.newaxis], 3, axis=2)


def tiff(pixels: NDArray[Any], white_is_zero: bool = False, byte_order: str = "<") -> bytes:
    """An uncompressed TIFF 6.0 file with the pixels just as they are given."""
    height, width = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(byte_order)).tobytes()
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = {  # tag: (type, value); type 3 is 16 bits, 4 is 32 bits
        256: (4, width),
        257: (4, height),
        258: (3, 8 * pixels.dtype.itemsize),
        259: (3, 1),
        262: (3, 0 if white_is_zero else 1),
        273: (4, 8),
        277: (3, 1),
        278: (4, height),
        279: (4, len(data)),
        339: (3, sample_format),
    }
    directory = struct.pack(byte_order + "H", len(entries))
    for tag, (kind, value) in entries.items():
        packed = struct.pack(byte_order + ("H2x" if kind == 3 else "I"), value)
        directory += struct.pack(byte_order + "HHI", tag, kind, 1) + packed
    mark = b"II" if byte_order == "<" else b"MM"
    header = mark + struct.pack(byte_order + "HI", 42, 8 + len(data))
    return header + data + directory + bytes(4)


def dicom_dataset(
    pixels: NDArray[Any],
    bits: int | None = None,
    photometric: str = "MONOCHROME2",
    syntax: UID = ExplicitVRLittleEndian,
    **attributes: Any,
) -> pydicom.Dataset:
    """A CR image; `attributes` are added by keyword, those that are None removed."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CR"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 1 if pixels.dtype.kind == "i" else 0
    big_endian = syntax == ExplicitVRBigEndian
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    dataset.PixelData = stored.tobytes() + bytes(stored.nbytes % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    if syntax in _UNCOMPRESSED:
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def dicom_bytes(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom(pixels: NDArray[Any], *args: Any, **attributes: Any) -> bytes:
    """A CR image as a DICOM file; see dicom_dataset."""
    return dicom_bytes(dicom_dataset(pixels, *args, **attributes))


def with_gdcm(data: bytes, syntax: str, folder: Path) -> bytes:
    """The same DICOM file, its pixels compressed by GDCM."""
    gdcm = pytest.importorskip("gdcm")
    (folder / "in.dcm").write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "in.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(folder / "out.dcm"))
    assert writer.Write()
    return (folder / "out.dcm").read_bytes()


def bare(data: bytes) -> bytes:
    """A DICOM file's data set alone: no preamble, no file meta information."""
    meta_length = struct.unpack("<I", data[140:144])[0]
    return data[144 + meta_length :]


def lut(first: int, bits: int, entries: list[int]) -> pydicom.Dataset:
    """One item of a Modality or VOI LUT sequence."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def decode(data: bytes, name: str = "film") -> Radiograph:
    return decode_radiograph(RadiographFile(Path(name), data, "0" * 64))


def display(data: bytes) -> NDArray[np.float64]:
    """What a decoded file shows, 0 black to 1 white."""
    radiograph = decode(data)
    return radiograph.pixels / np.float64(radiograph.white)


def error_of(data: bytes) -> RadiographError:
    with pytest.raises(RadiographError) as info:
        decode(data)
    return info.value


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes with a few flipped, or cut short."""
    if rng.random() < 0.3:
        return data[: rng.integers(1, len(data))]
    changed = bytearray(data)
    # Half of the damage goes to the header, where it does the most.
    end = len(data) if rng.random() < 0.5 else min(len(data), 1000)
    for position in rng.integers(0, end, rng.integers(1, 6)):
        changed[position] = rng.integers(256)
    return bytes(changed)
