"""What a person is shown of a film: all that is in it, and where its window lies."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import (
    SPEC,
    dicom,
    dicom_bytes,
    dicom_dataset,
    display,
    encode,
    film,
    lut,
    rgb,
    tiff,
)
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import EncapsulatedPDFStorage, JPEGBaseline8Bit

from cxr_edge.display import Picture, picture, size_at, thumbnail
from cxr_edge.errors import RadiographError
from cxr_edge.radiograph import RadiographFile
from tests.conftest import BROKEN

FILM = film()
FILM_12 = FILM.astype(np.uint16) * 16 + np.arange(80, dtype=np.uint16)[np.newaxis] % 16
COLOURS = np.dstack([FILM, FILM[::-1], 255 - FILM])


def picture_of(data: bytes, long_side_px: int = 2048) -> Picture:
    return picture(RadiographFile(Path("film"), data, ""), SPEC, long_side_px)


def thumbnail_of(data: bytes, side_px: int = 160) -> np.ndarray:
    jpeg = thumbnail(RadiographFile(Path("film"), data, ""), SPEC, side_px)
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)


def units(shown: Picture) -> np.ndarray:
    return shown.pixels * shown.slope + shown.intercept


def windowed(shown: Picture) -> np.ndarray:
    """What is on the screen at first, 0 black to 1 white."""
    return np.clip((shown.pixels - shown.low) / (shown.high - shown.low), 0, 1)


def grey(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)


# DICOM


def test_what_a_window_clips_is_still_there():
    shown = picture_of(dicom(FILM_12, 12, WindowCenter=2000, WindowWidth=101))
    np.testing.assert_array_equal(shown.pixels, FILM_12)
    assert (shown.white, shown.slope, shown.intercept) == (4095, 1, 0)
    assert (shown.low, shown.high) == (1949.5, 2049.5)  # C.11.2.1.2.1
    assert not shown.windowed


def test_monochrome1_is_inverted_with_its_window_and_its_units():
    shown = picture_of(dicom(FILM_12, 12, "MONOCHROME1", WindowCenter=1000.5, WindowWidth=1001))
    np.testing.assert_array_equal(shown.pixels, 4095 - FILM_12)
    np.testing.assert_array_equal(units(shown), FILM_12)
    assert (shown.low, shown.high) == (4095 - 1500, 4095 - 500)
    assert shown.slope == -1


def test_a_viewer_can_show_centre_and_width_in_the_films_units():
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        shown = picture_of(
            dicom(
                *(FILM_12, 12, photometric),
                RescaleSlope=2,
                RescaleIntercept=-1000,
                WindowCenter=400,
                WindowWidth=300,
                VOILUTFunction="LINEAR_EXACT",
            )
        )
        assert (shown.low + shown.high) / 2 * shown.slope + shown.intercept == pytest.approx(400)
        assert (shown.high - shown.low) * abs(shown.slope) == pytest.approx(300)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [1, 0.25, -1.5, 3])
@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(8, np.uint8), (12, np.uint16), (12, np.int16), (16, np.uint16), (16, np.int16)],
)
def test_at_first_it_looks_as_the_film_that_is_read(bits, dtype, slope, function, photometric):
    every = np.arange(1 << bits).reshape(16, -1) - (1 << bits - 1) * (dtype is np.int16)
    values = slope * every - 100
    data = dicom(
        *(every.astype(dtype), bits, photometric),
        RescaleSlope=slope,
        RescaleIntercept=-100,
        WindowCenter=round(float(values.mean()), 2),
        WindowWidth=round(float(np.ptp(values)) / 4, 2),
        VOILUTFunction=function,
    )
    shown = picture_of(data, 1 << 16)
    np.testing.assert_allclose(windowed(shown), display(data), rtol=0, atol=0.26 / 255)
    assert shown.windowed == (function == "SIGMOID")
    if not shown.windowed:
        step = abs(shown.slope)
        assert step <= max(abs(slope), float(np.ptp(values)) / 65535) * 1.001
        np.testing.assert_allclose(units(shown), values, rtol=0, atol=0.51 * step)


def test_a_voi_lut_is_in_the_pixels_and_said():
    curve = np.rint(4095 * (np.arange(4096) / 4095) ** 2).astype(int)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        data = dicom(FILM_12, 12, photometric, VOILUTSequence=[lut(0, 12, curve.tolist())])
        shown = picture_of(data)
        assert shown.windowed
        assert (shown.low, shown.high, shown.white) == (0, 4095, 4095)
        assert (shown.slope, shown.intercept) == (1, 0)
        np.testing.assert_allclose(windowed(shown), display(data), atol=1e-9)


def test_a_modality_lut_is_not_the_window():
    table = lut(0, 16, [int(v) for v in np.linspace(60000, 100, 4096)])
    data = dicom(FILM_12, 12, ModalityLUTSequence=[table], WindowCenter=3000, WindowWidth=500)
    shown = picture_of(data)
    np.testing.assert_allclose(units(shown), np.take(table.LUTData, FILM_12), atol=0.51)
    assert (shown.low, shown.high) == pytest.approx((2750, 3249))


def test_a_film_without_a_window_is_shown_as_the_network_gets_it():
    stored = (FILM_12 // 4 + 700).astype(np.int16)
    stored[0, 0] = 2047
    shown = picture_of(dicom(stored, 12))
    np.testing.assert_array_equal(units(shown), stored)
    assert (shown.intercept, shown.white) == (-2048, 4095)
    wanted = np.percentile(stored, (SPEC.black_percentile, SPEC.white_percentile))
    low, high = (value * shown.slope + shown.intercept for value in (shown.low, shown.high))
    assert (low, high) == pytest.approx(tuple(wanted))


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 700, "WindowWidth": 1},  # a step at 699.5
        {"WindowCenter": 699.5, "WindowWidth": 0.01, "VOILUTFunction": "LINEAR_EXACT"},
    ],
)
def test_a_window_of_one_step_is_one_value_wide(attributes):
    shown = picture_of(dicom(FILM_12, 12, **attributes))
    assert (shown.low, shown.high) == pytest.approx((699, 700))


def test_a_window_may_lie_beyond_all_pixels():
    shown = picture_of(dicom(FILM_12, 12, WindowCenter=-5000.5, WindowWidth=1001))
    assert (shown.low, shown.high) == (-5501, -4501)


def test_blank_films_are_shown():
    shown = picture_of(dicom(np.full((40, 50), 7, np.uint16), 12))
    assert (shown.low, shown.high) == (6.5, 7.5)
    dataset = dicom_dataset(FILM, PixelData=None, PixelRepresentation=None, BitsStored=None)
    dataset.BitsAllocated = 32
    dataset.FloatPixelData = np.full(FILM.shape, -3.5, np.float32).tobytes()
    assert (units(picture_of(dicom_bytes(dataset))) == -3.5).all()


def test_floating_point_pixels_keep_their_units():
    values = FILM.astype(np.float32) / 100 - 1
    dataset = dicom_dataset(FILM, PixelData=None, PixelRepresentation=None, BitsStored=None)
    dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
    dataset.WindowCenter, dataset.WindowWidth = 0.5, 1
    dataset.VOILUTFunction = "LINEAR_EXACT"
    shown = picture_of(dicom_bytes(dataset))
    np.testing.assert_allclose(units(shown), values, atol=0.51 * shown.slope)
    low, high = (value * shown.slope + shown.intercept for value in (shown.low, shown.high))
    assert (low, high) == pytest.approx((0, 1))


# Images


def test_an_8_bit_image_is_shown_as_it_is():
    shown = picture_of(encode(FILM, "PNG"))
    np.testing.assert_array_equal(shown.pixels, FILM)
    assert shown.pixels.dtype == np.uint8
    assert (shown.low, shown.high, shown.white) == (0, 255, 255)
    jpeg = picture_of(encode(FILM, "JPEG", quality=95))
    np.testing.assert_allclose(jpeg.pixels, FILM, atol=6)
    assert (jpeg.low, jpeg.high, jpeg.white, jpeg.slope, jpeg.intercept) == (0, 255, 255, 1, 0)
    two_values = picture_of(encode(Image.fromarray(FILM > 99), "PNG"))
    assert (two_values.low, two_values.high, two_values.white) == (0, 1, 1)


def test_a_16_bit_image_is_shown_by_its_percentiles_with_all_that_is_in_it():
    stored = FILM_12 + np.uint16(9000)
    for data in (encode(stored, "PNG"), tiff(stored), tiff(65535 - stored, white_is_zero=True)):
        shown = picture_of(data)
        np.testing.assert_array_equal(shown.pixels, stored)
        wanted = np.percentile(stored, (SPEC.black_percentile, SPEC.white_percentile))
        assert (shown.low, shown.high) == pytest.approx(tuple(wanted))


def test_floats_are_spread_over_16_bits():
    values = FILM.astype(np.float32) / 50
    shown = picture_of(tiff(values))
    assert (shown.pixels.dtype, shown.white) == (np.uint16, 65535)
    np.testing.assert_allclose(units(shown), values, atol=0.51 * shown.slope)


# What no model may judge


@pytest.mark.parametrize(
    "attributes",
    [{"ViewPosition": "LL"}, {"ViewPosition": "LATERAL"}, {"Modality": "CT"}, {"Modality": "MG"}],
)
def test_what_is_refused_for_what_it_shows_can_be_looked_at(attributes):
    data = dicom(FILM_12, 12, **attributes)
    np.testing.assert_array_equal(picture_of(data).pixels, FILM_12)
    assert thumbnail_of(data).shape == (160, 133)


def test_colour_is_shown_as_grey():
    expected = grey(COLOURS).astype(int)
    dataset = dicom_dataset(
        COLOURS, photometric="RGB", SamplesPerPixel=3, PlanarConfiguration=0, ViewPosition="LL"
    )
    for data in (encode(COLOURS, "PNG"), encode(COLOURS, "BMP"), dicom_bytes(dataset)):
        np.testing.assert_allclose(picture_of(data).pixels, expected, atol=1)
    dataset.PixelData = encapsulate([encode(COLOURS, "JPEG", quality=95)])
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PhotometricInterpretation = "YBR_FULL"
    jpeg = encode(COLOURS, "JPEG", quality=95)
    # jpeg.py leaves aside what may be turned, for image.py.
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><r tiff:Orientation='2'/></x:xmpmeta>"
    xmp = xmp.replace(b"'", b'"')
    turned = jpeg[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + jpeg[2:]
    for data in (dicom_bytes(dataset), jpeg, turned):
        shown = picture_of(data).pixels
        difference = np.abs((shown[:, ::-1] if data is turned else shown) - expected)
        assert np.percentile(difference, 95) < 8
        assert thumbnail_of(data).ndim == 2


@pytest.mark.parametrize(("height", "width"), [(9, 7), (1, 1), (400, 20), (20, 4000), (1, 3000)])
def test_small_and_odd_films_are_shown(height, width):
    data = encode(np.resize(FILM, (height, width)), "PNG")
    assert picture_of(data).full_shape == (height, width)
    shown = thumbnail_of(data, 100)
    assert max(shown.shape) == 100
    assert shown.shape == size_at((height, width), 100)[::-1]


def test_what_cannot_be_decoded_is_not_shown():
    frames = io.BytesIO()
    pages = [Image.fromarray(FILM)] * 2
    pages[0].save(frames, "TIFF", save_all=True, append_images=pages[1:])
    document = dicom_dataset(FILM, PixelData=None, Modality="OT")
    document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    palette = dicom(FILM, PhotometricInterpretation="PALETTE COLOR")
    for data, code in [
        (frames.getvalue(), "several_frames"),
        (dicom(FILM, NumberOfFrames=2), "several_frames"),
        (dicom_bytes(document), "not_a_radiograph"),
        (dicom(FILM_12, 12)[:5000], "corrupt"),
        (dicom(FILM, Rows=60_000, Columns=60_000), "too_many_pixels"),
        (dicom(FILM, WindowCenter=9, WindowWidth=9, VOILUTFunction="CUBIC"), "corrupt"),
        (dicom(FILM, WindowCenter=9, WindowWidth=0.5), "corrupt"),
        (palette, "colour"),
        ((BROKEN / "truncated.jpg").read_bytes(), "corrupt"),
    ]:
        for show in (picture_of, thumbnail_of):
            with pytest.raises(RadiographError) as info:
                show(data)
            assert info.value.code == code


@pytest.mark.parametrize(
    "name", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"]
)
def test_units_and_windows_that_are_no_numbers_never_get_out(name):
    attributes = dict(RescaleSlope=1, RescaleIntercept=0, WindowCenter=900, WindowWidth=300)
    data = dicom(FILM_12, 12, **(attributes | {name: "77.125"}))
    assert data.count(b"77.125") == 1
    for text in (b"nan   ", b"1e999 ", b"-1e308"):
        try:
            shown = picture_of(data.replace(b"77.125", text))
        except RadiographError as exc:
            assert exc.code == "corrupt"
            assert name.startswith("Rescale")
        else:
            assert np.isfinite([shown.low, shown.high, shown.slope, shown.intercept]).all()
            assert shown.low + 1 <= shown.high
            assert units(shown).max() > units(shown).min()


# Sizes


@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "MONOCHROME1", "8-bit DICOM", "16-bit PNG"])
def test_a_large_film_is_shown_by_the_means_of_its_pixels(kind):
    rng = np.random.default_rng(0)
    whole = np.kron(film(96, 80).astype(int), np.ones((4, 4), int))
    whole = np.clip(whole + rng.integers(-9, 10, whole.shape), 0, 255)
    data, levels = {
        "8 bits": lambda: (encode(whole.astype(np.uint8), "PNG"), 255),
        "12 bits": lambda: (dicom((16 * whole).astype(np.uint16), 12), 4095 / 16),
        "MONOCHROME1": lambda: (
            dicom((4095 - 16 * whole).astype(np.uint16), 12, "MONOCHROME1"),
            4095 / 16,
        ),
        "8-bit DICOM": lambda: (dicom(whole.astype(np.uint8)), 255),
        "16-bit PNG": lambda: (encode((256 * whole).astype(np.uint16), "PNG"), 65535 / 256),
    }[kind]()
    for times in (2, 4, 16):
        shown = picture_of(data, 384 // times)
        assert shown.full_shape == (384, 320)
        means = whole.reshape(384 // times, times, 320 // times, times).mean(axis=(1, 3))
        np.testing.assert_allclose(shown.pixels / shown.white * levels, means, rtol=0, atol=0.51)


def test_a_reduced_film_has_the_same_window_and_units():
    stored = np.kron(FILM_12, np.ones((4, 4), np.uint16))
    data = dicom(stored, 12, "MONOCHROME1", RescaleSlope=0.5, WindowCenter=900, WindowWidth=400)
    whole, small = picture_of(data), picture_of(data, 96)
    assert (whole.low, whole.high, whole.slope) == (small.low, small.high, small.slope)
    np.testing.assert_array_equal(small.pixels, whole.pixels[::4, ::4])


def test_a_thumbnail_is_black_and_white_as_the_network_gets_the_film():
    dark = (FILM_12 // 16).astype(np.uint16)  # of 4095
    shown = thumbnail_of(dicom(dark, 12), 96)
    assert shown.shape == (96, 80)
    assert shown.min() < 10
    assert shown.max() > 245
    large = np.kron(FILM, np.ones((20, 20), np.uint8))
    for data in (encode(large, "JPEG"), encode(rgb(large), "JPEG"), encode(large, "PNG")):
        np.testing.assert_allclose(thumbnail_of(data, 96).astype(int), FILM, atol=25)
