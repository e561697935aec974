"""READ for DICOM: every transfer syntax; Modality LUT, VOI LUT and inversion, in that order."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from made import (
    bare,
    decode,
    dicom,
    dicom_bytes,
    dicom_dataset,
    display,
    encode,
    error_of,
    film,
    lut,
    rgb,
    with_gdcm,
)
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cxr_edge.errors import RefusedError, UnreadableError
from cxr_edge.preprocess import squash
from cxr_edge.radiograph import RadiographFile, decode_radiograph, halve, n_halvings

FILM = film()
FILM_12 = FILM.astype(np.uint16) * 16 + np.arange(80, dtype=np.uint16)[np.newaxis] % 16
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
LOSSLESS = {
    "explicit little endian": ExplicitVRLittleEndian,
    "implicit little endian": ImplicitVRLittleEndian,
    "explicit big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
}
UNCOMPRESSED = dict(list(LOSSLESS.items())[:4])


def row(*values: int, dtype: type = np.uint16) -> np.ndarray:
    return np.array([values], dtype)


def syntax_of(data: bytes) -> UID:
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.TransferSyntaxUID


# Decoding


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_transfer_syntaxes_give_equal_pixels(
    syntax: UID, bits: int, photometric: str
) -> None:
    stored = {8: FILM, 12: FILM_12, 16: FILM_12 * 16}[bits]
    data = dicom(stored, bits, photometric, syntax)
    assert syntax_of(data) == syntax
    radiograph = decode(data)
    white = (1 << bits) - 1
    expected = white - stored if photometric == "MONOCHROME1" else stored
    assert radiograph.pixels.dtype == stored.dtype
    assert (radiograph.white, radiograph.bits_stored) == (white, bits)
    assert radiograph.photometric == photometric
    np.testing.assert_array_equal(radiograph.pixels, expected)


@pytest.mark.parametrize("stored", [FILM, FILM_12], ids=["8 bits", "12 bits"])
@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("JPEGLosslessProcess14_1", JPEGLosslessSV1),
        ("JPEGLosslessProcess14", JPEGLossless),
        ("JPEG2000Lossless", JPEG2000Lossless),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_jpeg_and_jpeg_2000_give_equal_pixels(
    tmp_path: Path, name: str, syntax: UID, stored: np.ndarray, photometric: str
) -> None:
    bits = 12 if stored is FILM_12 else 8
    data = with_gdcm(dicom(stored, bits, photometric), name, tmp_path)
    assert syntax_of(data) == syntax
    expected = (1 << bits) - 1 - stored if photometric == "MONOCHROME1" else stored
    np.testing.assert_array_equal(decode(data).pixels, expected)


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_signed_pixels_survive_compression(tmp_path: Path, name: str) -> None:
    stored = FILM_12.astype(np.int16) - 2048
    data = with_gdcm(dicom(stored, 12), name, tmp_path)
    np.testing.assert_array_equal(decode(data).pixels, FILM_12)


JPEG_START = b"\xff\xd8\xff\xc3\x00\x0b\x10"  # the image, a lossless frame, its length, 16 bits


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        (JPEG_START, b"\xff\xd9" + JPEG_START[2:]),
        (JPEG_START, JPEG_START[:-1] + b"\x08"),
        (JPEG_START, JPEG_START[:-1] + b"\x11"),
        (JPEG_START + b"\x00\x60", JPEG_START + b"\x00\x61"),
        (JPEG_START + b"\x00\x60\x00\x50", JPEG_START + b"\x00\x60\xff\xff"),
        (JPEG_START + b"\x00\x60\x00\x50\x01", JPEG_START + b"\x00\x60\x00\x50\x03"),
        (JPEG_START, JPEG_START.replace(b"\xc3", b"\xc0")),
        (JPEG_START, JPEG_START.replace(b"\xc3", b"\xfe")),
        (b"\xff\xc4", b"\xff\xfe"),
        (b"\xff\xc4", b"\x46\xc4"),
        (b"\xff\xda\x00\x08\x01\x01", b"\xff\xda\x00\x08\x03\x01"),
        (b"\xff\xda\x00\x08", b"\xff\xda\xff\xff"),
    ],
)
def test_damaged_lossless_jpeg_never_reaches_gdcm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bytes, damaged: bytes
) -> None:
    data = with_gdcm(dicom(FILM_12, 12), "JPEGLosslessProcess14_1", tmp_path)
    assert data.count(sound) == 1
    gdcm = pytest.importorskip("gdcm")
    monkeypatch.setattr(gdcm, "Image", lambda: pytest.fail("GDCM might end the process"))
    assert error_of(data.replace(sound, damaged)).code == "corrupt"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_compressed_file_cut_short_is_corrupt(tmp_path: Path, name: str, part: float) -> None:
    data = with_gdcm(dicom(FILM_12, 12), name, tmp_path)
    assert error_of(data[: int(part * len(data))]).code == "corrupt"


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_8_bit_jpeg_is_near_its_pixels(photometric: str, syntax: UID) -> None:
    dataset = dicom_dataset(FILM, photometric=photometric)
    dataset.PixelData = encapsulate([encode(FILM, "JPEG", quality=95)])
    dataset.file_meta.TransferSyntaxUID = syntax
    expected = 255 - FILM if photometric == "MONOCHROME1" else FILM
    np.testing.assert_allclose(decode(dicom_bytes(dataset)).pixels, expected, atol=6)


def test_12_bit_lossy_jpeg_has_no_decoder_and_says_so() -> None:
    dataset = pydicom.dcmread(PYDICOM_FILES / "JPEG-lossy.dcm")
    dataset.Modality = "CR"
    error = error_of(dicom_bytes(dataset))
    assert error.code == "unsupported_format"
    assert "JPEG Extended (Process 2 and 4), 12 bits" in error.message


@pytest.mark.parametrize("syntax", UNCOMPRESSED.values(), ids=UNCOMPRESSED)
def test_preamble_may_be_absent(syntax: UID) -> None:
    data = dicom(FILM_12, 12, syntax=syntax)
    np.testing.assert_array_equal(decode(data[132:]).pixels, FILM_12)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_file_meta_information_may_be_absent(syntax: UID) -> None:
    np.testing.assert_array_equal(decode(bare(dicom(FILM_12, 12, syntax=syntax))).pixels, FILM_12)


def test_unused_high_bits_are_no_part_of_a_pixel() -> None:
    overlay = FILM_12 | (FILM > 200).astype(np.uint16) << 13
    np.testing.assert_array_equal(decode(dicom(overlay, 12)).pixels, FILM_12)


def test_floating_point_pixels_span_their_own_range() -> None:
    values = FILM.astype(np.float32) / 100 - 1
    dataset = dicom_dataset(FILM, PixelData=None, PixelRepresentation=None, BitsStored=None)
    dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
    radiograph = decode(dicom_bytes(dataset))
    assert radiograph.bits_stored == 32
    np.testing.assert_allclose(radiograph.pixels / radiograph.white, FILM / 255, atol=1e-6)
    values[3, 3] = np.nan
    dataset.FloatPixelData = values.tobytes()
    assert error_of(dicom_bytes(dataset)).code == "invalid_pixels"


# Modality LUT, VOI LUT, inversion. Expected values are worked out by hand from PS3.3 C.11.


# What is no whole number is kept in 16 bits.
HALF_A_STEP = 0.51 / 65535
# Windows may be clipped at whole stored values.
QUARTER_OF_A_LEVEL = 0.26 / 255


def test_without_a_window_bits_stored_is_the_range() -> None:
    radiograph = decode(dicom(row(0, 1000, 4095), 12))
    assert radiograph.white == 4095
    assert radiograph.pixels.tolist() == [[0, 1000, 4095]]


def test_signed_pixels_start_at_the_lowest_value() -> None:
    radiograph = decode(dicom(row(-2048, 0, 2047, dtype=np.int16), 12))
    assert radiograph.white == 4095
    assert radiograph.pixels.tolist() == [[0, 2048, 4095]]
    inverted = decode(dicom(row(-32768, 0, 32767, dtype=np.int16), 16, "MONOCHROME1"))
    assert inverted.pixels.tolist() == [[65535, 32767, 0]]


LINEAR = {"WindowCenter": 1000, "WindowWidth": 2001}
# C.11.2.1.2.1: y = (x - 999.5) / 2000 + 0.5, and 0 and 1 outside
LINEAR_EXPECTED = [0.00025, 0.25025, 0.50025, 0.75025, 1, 1]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param(LINEAR, LINEAR_EXPECTED, id="linear"),
        pytest.param(LINEAR | {"VOILUTFunction": "LINEAR"}, LINEAR_EXPECTED, id="LINEAR by name"),
        pytest.param(LINEAR | {"VOILUTFunction": ""}, LINEAR_EXPECTED, id="function left empty"),
        pytest.param(
            {"WindowCenter": [1000, 40], "WindowWidth": [2001, 80]},
            LINEAR_EXPECTED,
            id="the first of two windows",
        ),
        pytest.param(
            # C.11.2.1.3.2: y = (x - 1000) / 2000 + 0.5
            {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"},
            [0, 0.25, 0.5, 0.75, 1, 1],
            id="LINEAR_EXACT",
        ),
        pytest.param(
            # C.11.2.1.3.1: y = 1 / (1 + exp(-4 (x - 1000) / 2000)): e^2 = 7.389056, e = 2.718282
            {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"},
            [1 / 8.389056, 1 / 3.718282, 0.5, 2.718282 / 3.718282, 7.389056 / 8.389056, 0.997954],
            id="SIGMOID",
        ),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_and_then_inversion(
    attributes: dict[str, Any], expected: list[float], photometric: str
) -> None:
    shown = display(dicom(row(0, 500, 1000, 1500, 2000, 4095), 12, photometric, **attributes))
    wanted = 1 - np.array(expected) if photometric == "MONOCHROME1" else expected
    np.testing.assert_allclose(shown[0], wanted, atol=QUARTER_OF_A_LEVEL)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_window_is_in_units_after_the_rescale_slope_and_intercept(dtype: type) -> None:
    data = dicom(
        row(0, 500, 1000, 1500, dtype=dtype), 12, RescaleSlope=2, RescaleIntercept=-1000, **LINEAR
    )
    # 2 p - 1000 is -1000, 0, 1000, 2000; then (x - 999.5) / 2000 + 0.5
    np.testing.assert_allclose(display(data)[0], [0, 0.00025, 0.50025, 1], atol=QUARTER_OF_A_LEVEL)


def test_rescale_alone_does_not_change_what_is_shown() -> None:
    data = dicom(row(0, 1000, 4095), 12, RescaleSlope="0.5", RescaleIntercept=-100)
    np.testing.assert_allclose(display(data)[0], [0, 1000 / 4095, 1], atol=QUARTER_OF_A_LEVEL)


def test_negative_rescale_slope_turns_black_to_white() -> None:
    data = dicom(row(0, 1000, 4095), 12, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(display(data)[0], [1, 3095 / 4095, 0], atol=QUARTER_OF_A_LEVEL)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_modality_lut_comes_before_the_window(dtype: type) -> None:
    attributes = {"WindowCenter": 500.5, "WindowWidth": 1001}
    table = lut(10, 16, [0, 250, 500, 1000])  # for the stored values 10, 11, 12, 13
    data = dicom(
        row(0, 10, 11, 12, 13, 100, dtype=dtype), 8, ModalityLUTSequence=[table], **attributes
    )
    np.testing.assert_allclose(display(data)[0], [0, 0, 0.25, 0.5, 1, 1], atol=HALF_A_STEP)


def test_modality_lut_declares_the_range() -> None:
    data = dicom(row(0, 1, 2), 12, ModalityLUTSequence=[lut(0, 16, [0, 13107, 65535])])
    np.testing.assert_allclose(display(data)[0], [0, 0.2, 1], atol=HALF_A_STEP)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_voi_lut_maps_12_bits_to_its_own(bits: int, photometric: str) -> None:
    white = (1 << bits) - 1
    curve = np.rint(white * (np.arange(4096) / 4095) ** 2).astype(int)
    data = dicom(FILM_12, 12, photometric, VOILUTSequence=[lut(0, bits, curve.tolist())])
    shown = curve[FILM_12] / white
    np.testing.assert_allclose(
        display(data), 1 - shown if photometric == "MONOCHROME1" else shown, atol=HALF_A_STEP
    )


def test_voi_lut_holds_its_ends_and_counts_from_its_first_value() -> None:
    table = lut(1000, 8, [10, 20, 30])
    shown = display(dicom(row(0, 999, 1000, 1001, 1002, 4095), 12, VOILUTSequence=[table]))
    np.testing.assert_allclose(255 * shown[0], [10, 10, 10, 20, 30, 30], atol=1e-4)


def test_voi_lut_is_in_units_after_the_rescale() -> None:
    data = dicom(
        row(0, 10, 20, 40000),
        16,
        RescaleSlope=2,
        RescaleIntercept=1000,
        VOILUTSequence=[lut(1000, 16, list(range(0, 65535, 1000)))],
    )
    # 1000, 1020 and 1040 are the entries 0, 20 and 40; 81000 is beyond the last, 65
    np.testing.assert_allclose(display(data)[0] * 65535, [0, 20000, 40000, 65000], atol=0.01)


@pytest.mark.parametrize(
    ("syntax", "packed"),
    [
        pytest.param(ExplicitVRLittleEndian, False, id="one to a word"),
        pytest.param(ExplicitVRBigEndian, False, id="one to a word, big-endian"),
        pytest.param(ExplicitVRLittleEndian, True, id="two to a word"),
    ],
)
def test_voi_lut_entries_may_be_bytes(packed: bool, syntax: UID) -> None:
    entries = np.array([0, 51, 102, 255], np.uint8)
    word = "<u2" if syntax == ExplicitVRLittleEndian else ">u2"
    table = lut(0, 8, [0, 0, 0, 0])
    del table.LUTData
    table.add_new("LUTData", "OW", (entries if packed else entries.astype(word)).tobytes())
    data = dicom(row(0, 1, 2, 3), 12, syntax=syntax, VOILUTSequence=[table])
    np.testing.assert_allclose(display(data)[0], [0, 0.2, 0.4, 1], atol=HALF_A_STEP)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 2000},
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": [0, 0], "WindowWidth": [0, 0]},
        {"VOILUTSequence": []},
        {"RescaleSlope": 1},
    ],
)
def test_incomplete_window_or_rescale_is_none(attributes: dict[str, Any]) -> None:
    assert decode(dicom(row(0, 1000, 4095), 12, **attributes)).pixels.tolist() == [[0, 1000, 4095]]


FUNCTIONS = {
    # PS3.3 C.11.2.1.2.1, C.11.2.1.3.2 and C.11.2.1.3.1, from x, the center and the width
    "LINEAR": lambda x, c, w: np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1),
    "LINEAR_EXACT": lambda x, c, w: np.clip((x - c) / w + 0.5, 0, 1),
    "SIGMOID": lambda x, c, w: 1 / (1 + np.exp(-4 * (x - c) / w)),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("slope", ["1", "0.25", "-1.5", "3"])
@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(8, np.uint8), (10, np.uint16), (12, np.uint16), (12, np.int16), (16, np.uint16)],
)
def test_windows_are_those_of_the_standard_worked_out_for_every_pixel(
    bits: int, dtype: type, slope: str, function: str, photometric: str
) -> None:
    rng = np.random.default_rng(bits)
    n_values = 1 << bits
    grain = rng.normal(0, n_values / 100, (192, 160))
    signed = dtype is np.int16
    stored = film(192, 160) * (n_values / 256) + grain - (n_values / 2 if signed else 0)
    lowest, highest = (-n_values // 2, n_values // 2 - 1) if signed else (0, n_values - 1)
    stored = np.clip(np.rint(stored), lowest, highest).astype(dtype)
    values = stored * float(slope) - 100
    for part in (0.02, 0.2, 0.9, 2.5):  # of the range that the film's own values span
        center = round(float(np.quantile(values, rng.uniform(0.3, 0.7))), 2)
        width = round(part * float(np.ptp(values)) + 2, 2)
        data = dicom(
            stored,
            bits,
            photometric,
            RescaleSlope=slope,
            RescaleIntercept="-100",
            WindowCenter=str(center),
            WindowWidth=str(width),
            VOILUTFunction=function,
        )
        shown = FUNCTIONS[function](values, center, width)
        shown = 1 - shown if photometric == "MONOCHROME1" else shown
        radiograph = decode(data)
        # Less than one of 255 grey levels off, as are the means that the network gets.
        levels = radiograph.pixels / radiograph.white * 255
        np.testing.assert_allclose(levels, 255 * shown, rtol=0, atol=0.26)
        small = squash(radiograph.pixels, 32, 32) / radiograph.white * 255
        np.testing.assert_allclose(small, squash(255 * shown, 32, 32), rtol=0, atol=0.5)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_pixels_of_whole_numbers_are_kept_as_they_are(bits: int, inverted: bool) -> None:
    """Every stored value there is, whatever stands in the bits that are not used."""
    values = np.arange(1 << bits, dtype=np.uint16).reshape(-1, 16)
    garbage = np.random.default_rng(0).integers(0, 1 << 16, values.shape) << bits & 0xFFFF
    data = dicom(values | garbage.astype(np.uint16), bits, f"MONOCHROME{1 if inverted else 2}")
    white = (1 << bits) - 1
    np.testing.assert_array_equal(decode(data).pixels, white - values if inverted else values)


@pytest.mark.parametrize("shape", [(192, 160), (191, 160), (192, 159), (191, 159), (257, 129)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_means_taken_on_the_way_are_those_of_the_whole_film(
    photometric: str, shape: tuple[int, int]
) -> None:
    stored = film(*shape).astype(np.uint16) * 16 + np.arange(shape[1], dtype=np.uint16) % 16
    file = RadiographFile(
        Path("film"), dicom(stored, 12, photometric, WindowCenter=2000, WindowWidth=3000), ""
    )
    whole, halved = decode_radiograph(file), decode_radiograph(file, 64)
    assert halved.pixels.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert halved.full_shape == whole.full_shape == shape
    small, right = (255 / r.white * squash(r.pixels, 32, 32, r.full_shape) for r in (halved, whole))
    np.testing.assert_allclose(small, right, rtol=0, atol=0.3)


@pytest.mark.parametrize("min_side_px", [64, 32, 1])
@pytest.mark.parametrize("shape", [(192, 160), (301, 133), (128, 257)])
@pytest.mark.parametrize(
    ("bits", "dtype", "attributes"),
    [
        pytest.param(12, np.uint16, {}, id="nothing to clip"),
        pytest.param(12, np.uint16, {"WindowCenter": 2000, "WindowWidth": 1500}, id="clipped"),
        pytest.param(12, np.uint16, {"WindowCenter": 2000, "WindowWidth": 300}, id="narrow"),
        pytest.param(
            12,
            np.uint16,
            {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
            id="sigmoid",
        ),
        pytest.param(12, np.int16, {"WindowCenter": 0, "WindowWidth": 2500}, id="signed"),
        pytest.param(16, np.uint16, {}, id="16 bits"),
        pytest.param(8, np.uint8, {"WindowCenter": 100, "WindowWidth": 99}, id="8 bits"),
    ],
)
def test_film_is_halved_as_often_as_it_can_be_after_its_window(
    bits: int, dtype: type, attributes: dict[str, Any], shape: tuple[int, int], min_side_px: int
) -> None:
    unsigned = film(*shape).astype(np.int32) << (bits - 8)
    data = dicom((unsigned - (2048 if dtype is np.int16 else 0)).astype(dtype), bits, **attributes)
    file = RadiographFile(Path("film"), data, "")
    reduced, whole = decode_radiograph(file, min_side_px), decode_radiograph(file)
    expected = whole.pixels
    for _ in range(n_halvings(shape, min_side_px)):
        expected = halve(expected)
    assert reduced.full_shape == whole.full_shape == shape
    assert reduced.white == whole.white
    np.testing.assert_array_equal(reduced.pixels, expected)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_means_are_of_clipped_pixels_not_clipped_means(photometric: str) -> None:
    # Of every four pixels one is far above the window, which ends at 2048, and three are black:
    # a quarter of white. Their own mean, 1024, would lie in the middle of the window.
    stored = np.zeros((200, 160), np.uint16)
    stored[::2, ::2] = 4095
    data = dicom(stored, 12, photometric, WindowCenter=1024, WindowWidth=2049)
    radiograph = decode_radiograph(RadiographFile(Path("film"), data, ""), 80)
    assert radiograph.pixels.shape == (100, 80)
    shown = 0.75 if photometric == "MONOCHROME1" else 0.25
    np.testing.assert_allclose(radiograph.pixels / radiograph.white, shown, atol=1 / 2048)


@pytest.mark.parametrize("row", [3, 150, 299])
@pytest.mark.parametrize("min_side_px", [0, 80, 40])
def test_overlay_in_the_unused_bits_of_any_row_is_not_in_the_means(
    min_side_px: int, row: int
) -> None:
    stored = film(300, 160).astype(np.uint16) * 16
    overlay = stored.copy()
    overlay[row, 20:30] |= 1 << 13
    with_it, without = (
        decode_radiograph(RadiographFile(Path("film"), dicom(pixels, 12), ""), min_side_px)
        for pixels in (overlay, stored)
    )
    np.testing.assert_array_equal(with_it.pixels, without.pixels)


@pytest.mark.parametrize(("center", "shown"), [(-5000, 1), (9000, 0)])
def test_window_beside_all_pixels_shows_nothing(center: int, shown: int) -> None:
    data = dicom(FILM_12, 12, WindowCenter=center, WindowWidth=2000)
    assert (display(data) == shown).all()


def test_bytes_after_the_pixels_are_left_alone() -> None:
    data = dicom(FILM_12, 12, PixelData=FILM_12.tobytes() + bytes(80 * 2))
    np.testing.assert_array_equal(decode(data).pixels, FILM_12)


def test_pixels_of_the_file_are_never_written_to() -> None:
    data = dicom(FILM_12, 12, "MONOCHROME1", WindowCenter=2000, WindowWidth=3000)
    before = bytes(bytearray(data))
    for min_side_px in (0, 20):
        decode_radiograph(RadiographFile(Path("film"), data, ""), min_side_px)
    assert data == before


# Files that are no frontal chest radiograph


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "CT"}, "not_a_radiograph"),
        ({"Modality": "MG"}, "not_a_radiograph"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "LATERAL"}, "lateral"),
        ({"NumberOfFrames": 2}, "several_frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
    ],
)
def test_refusals(attributes: dict[str, Any], code: str) -> None:
    error = error_of(dicom(FILM, **attributes))
    assert isinstance(error, RefusedError)
    assert error.code == code


def test_colour_image_is_refused() -> None:
    dataset = dicom_dataset(rgb(FILM), photometric="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    assert error_of(dicom_bytes(dataset)).code == "colour"


@pytest.mark.parametrize(
    "attributes",
    [
        {"Modality": None},
        {"Modality": ""},
        {"Modality": "DX"},
        {"ViewPosition": "PA"},
        {"ViewPosition": "AP"},
        {"ViewPosition": ""},
        {"NumberOfFrames": 1},
    ],
)
def test_frontal_films_and_those_that_do_not_say_are_read(attributes: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decode(dicom(FILM, **attributes)).pixels, FILM)


@pytest.mark.parametrize(
    "name", ["test-SR.dcm", "dicomdirtests/DICOMDIR", "rtplan.dcm", "CT_small.dcm"]
)
def test_report_index_plan_and_ct_are_no_radiographs(name: str) -> None:
    error = error_of((PYDICOM_FILES / name).read_bytes())
    assert isinstance(error, RefusedError)
    assert error.code == "not_a_radiograph"


def test_document_without_an_image_is_no_radiograph() -> None:
    dataset = dicom_dataset(FILM, PixelData=None, Modality="OT")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    assert error_of(dicom_bytes(dataset)).code == "not_a_radiograph"


# Damage


@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_file_cut_short_is_corrupt(syntax: UID, part: float) -> None:
    data = dicom(FILM_12, 12, syntax=syntax)
    error = error_of(data[: int(part * len(data))])
    assert isinstance(error, UnreadableError)
    assert error.code == "corrupt"


def test_header_cut_short_is_corrupt_not_a_file_without_image() -> None:
    error = error_of(dicom(FILM)[:420])
    assert error.code == "corrupt"


def test_header_that_claims_too_many_pixels_costs_nothing() -> None:
    data = dicom(FILM, Rows=60_000, Columns=60_000)
    started = time.process_time()
    assert error_of(data).code == "too_many_pixels"
    assert time.process_time() - started < 0.2


def test_transfer_syntax_without_a_decoder_is_named() -> None:
    dataset = dicom_dataset(FILM)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = encapsulate([b"\x00\x00\x01\xb3" + bytes(100)])
    assert error_of(dicom_bytes(dataset)).code == "unsupported_format"


@pytest.mark.parametrize(
    "attributes",
    [
        {"Rows": None},
        {"Rows": 0},
        {"Columns": None},
        {"BitsAllocated": None},
        {"BitsAllocated": 12},
        {"BitsStored": None},
        {"BitsStored": 0},
        {"BitsStored": 17},
        {"PixelRepresentation": None},
        {"PixelRepresentation": 2},
        {"PhotometricInterpretation": None},
        {"SamplesPerPixel": None},
        {"PixelData": b""},
        {"Rows": 200},
        {"WindowCenter": 100, "WindowWidth": 200, "VOILUTFunction": "CUBIC"},
    ],
)
def test_header_that_makes_no_sense_is_corrupt(attributes: dict[str, Any]) -> None:
    error = error_of(dicom(FILM_12, 12, **attributes))
    assert isinstance(error, UnreadableError)
    assert error.code == "corrupt"
