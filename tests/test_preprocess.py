"""PREPARE: the same film gives the same input, whatever it was stored in; others are refused."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import SPEC, decode, dicom, encode, film, rgb, tiff
from numpy.typing import NDArray

from cxr_edge.errors import RefusedError
from cxr_edge.model_card import InputSpec
from cxr_edge.preprocess import (
    HALF_WIDTH,
    min_side_px,
    normalise,
    percentiles,
    prepare,
    squash,
    to_grey,
)
from cxr_edge.radiograph import Radiograph, RadiographFile, decode_radiograph

FILM = film(150, 120)
FILM_16 = FILM.astype(np.uint16)
GREY = to_grey(decode(encode(FILM, "PNG")), SPEC)
# One channel of 2 x 2, stretched from the darkest value to the brightest.
TINY = InputSpec(2, 2, 1, "squash", 0.0, 100.0, (0.25,), (0.5,))


def radiograph(pixels: np.ndarray, white: float = 255) -> Radiograph:
    return Radiograph(pixels, white, 8, "MONOCHROME2", Path("film"), "", pixels.shape)


def code_of(pixels: np.ndarray, white: float = 255) -> str:
    with pytest.raises(RefusedError) as info:
        prepare(radiograph(pixels, white), SPEC)
    return info.value.code


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(rgb(FILM), "PNG"), id="PNG in RGB"),
        pytest.param(encode(FILM_16 * 257, "PNG"), id="PNG, 16 bits"),
        pytest.param(encode(FILM, "BMP"), id="BMP"),
        pytest.param(tiff(FILM), id="TIFF"),
        pytest.param(tiff(FILM_16 * 257, byte_order=">"), id="TIFF, 16 bits, big-endian"),
        pytest.param(tiff(255 - FILM, white_is_zero=True), id="TIFF, white is zero"),
        pytest.param(tiff(FILM / np.float32(255)), id="TIFF, floating point"),
        pytest.param(dicom(FILM), id="DICOM"),
        pytest.param(dicom(255 - FILM, photometric="MONOCHROME1"), id="DICOM, MONOCHROME1"),
        pytest.param(dicom(FILM_16 * 16, 12), id="DICOM, 12 bits"),
        pytest.param(dicom(FILM_16.astype(np.int16) * 16 - 2048, 12), id="DICOM, signed"),
        pytest.param(
            dicom(FILM_16 * 16, 12, WindowCenter=2048, WindowWidth=4096),
            id="DICOM, identity window",
        ),
        pytest.param(
            dicom(4095 - FILM_16 * 16, 12, "MONOCHROME1", WindowCenter=2048, WindowWidth=4096),
            id="DICOM, MONOCHROME1, identity window",
        ),
        pytest.param(
            dicom(FILM, RescaleSlope="2.5", RescaleIntercept="-7"), id="DICOM with a rescale"
        ),
    ],
)
def test_same_film_same_input(data: bytes) -> None:
    np.testing.assert_allclose(to_grey(decode(data), SPEC), GREY, atol=1e-5)


def test_same_film_as_jpeg_is_nearly_the_same_input() -> None:
    for pixels in (FILM, rgb(FILM)):
        grey = to_grey(decode(encode(pixels, "JPEG", quality=95)), SPEC)
        np.testing.assert_allclose(grey, GREY, atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type(channels: int) -> None:
    mean, std = (0.5,) * channels, (0.25,) * channels
    spec = replace(SPEC, height_px=40, channels=channels, mean=mean, std=std)
    inputs = prepare(radiograph(FILM), spec)
    assert inputs.shape == (1, channels, 40, 32)
    assert inputs.dtype == np.float32
    assert inputs.min() == -2  # (0 - 0.5) / 0.25
    assert inputs.max() == 2


def test_hand_calculation() -> None:
    pixels = np.array([[10, 30, 100, 100], [10, 30, 100, 102], [0, 0, 220, 220]], np.uint8)
    # The means of the four quarters, each two columns wide and one and a half rows high.
    top, bottom = (20, (100 + 101 / 2) / 1.5), (10 / 1.5, (101 / 2 + 220) / 1.5)
    grey = (np.array([top, bottom]) - bottom[0]) / (bottom[1] - bottom[0])
    np.testing.assert_allclose(to_grey(radiograph(pixels), TINY), grey, atol=1e-6)
    inputs = prepare(radiograph(pixels), TINY)
    np.testing.assert_allclose(inputs, [[(grey - 0.25) / 0.5]], atol=1e-6)


def test_full_size_films_are_reduced_with_a_triangle_filter() -> None:
    film = np.tile([0, 80, 160, 240], (4, 1)).astype(np.uint16)
    # Two pixels to one of the result, under a triangle that ends after 2.25 of them: weights of
    # 0.25 1.25 2.25 1.25 0.25, about the first pixel, which the edge reflects, and the second.
    first = 1.25 * 80 + 0.25 * 160 + 0.25 * 80
    second = 2.25 * 80 + 1.25 * 160 + 0.25 * 240
    left = (first + second) / 2 / 5.25
    np.testing.assert_allclose(squash(film, 2, 2), [[left, 240 - left]] * 2, rtol=1e-6)
    np.testing.assert_allclose(squash(film.T, 2, 2), [[left] * 2, [240 - left] * 2], rtol=1e-6)


SHAPES = ((64, 90), (97, 70), (256, 300), (301, 257), (129, 130), (400, 131), (1001, 999))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_whatever_the_size_the_triangle_is_the_same_part_of_the_film(
    shape: tuple[int, int], kind: type[np.generic]
) -> None:
    pixels = film(*shape).astype(kind) * kind(257 if kind is np.uint16 else 1)
    white = 65535 if kind is np.uint16 else 255
    rows, columns = (triangles(n, 32) for n in shape)
    means = rows @ pixels.astype(np.float64) @ columns.T
    inside = np.s_[2:-2, 2:-2]  # at the edges a film is reflected
    np.testing.assert_allclose(
        squash(pixels, 32, 32)[inside] / white, means[inside] / white, atol=1 / 255
    )


def triangles(n_pixels: int, n_results: int) -> NDArray[np.float64]:
    """The weight of every pixel in every result (n_results, n_pixels)."""
    distance = n_pixels / n_results
    middles = (np.arange(n_results) + 0.5) * distance - 0.5
    away = np.abs(np.arange(n_pixels) - middles[:, np.newaxis])
    weights = np.clip(1 - away / (HALF_WIDTH * distance), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_shifted(shape: tuple[int, int]) -> None:
    ramp = np.add.outer(np.linspace(0, 100, shape[0]), np.linspace(0, 100, shape[1]))
    squashed = squash(ramp.astype(np.float32), 32, 32)
    expected = [(np.arange(32) + 0.5) * n / 32 - 0.5 for n in shape]
    steps = [100 / (n - 1) for n in shape]
    rows, columns = (e * step for e, step in zip(expected, steps, strict=True))
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(
        squashed[inside], np.add.outer(rows, columns)[inside], atol=200 / min(shape) / 4
    )


@pytest.mark.parametrize("shape", [(600, 800), (601, 801)])
def test_a_squashed_film_is_never_held_as_a_whole_in_32_bits(shape: tuple[int, int]) -> None:
    pixels = film(*shape)
    squash(pixels, 32, 32)
    tracemalloc.start()
    try:
        squash(pixels, 32, 32)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * pixels.nbytes


def test_each_channel_has_its_own_mean_and_std() -> None:
    grey = np.array([[[0.0, 1.0]]], np.float32)
    inputs = normalise(grey, SPEC)
    assert inputs.shape == (1, 3, 1, 2)
    for channel, (mean, std) in enumerate(zip(SPEC.mean, SPEC.std, strict=True)):
        np.testing.assert_allclose(inputs[0, channel, 0], [-mean / std, (1 - mean) / std], 1e-6)


def jpeg_grey(data: bytes, spec: InputSpec, min_side: int) -> np.ndarray:
    return to_grey(decode_radiograph(RadiographFile(Path("film"), data, ""), min_side), spec)


@pytest.mark.parametrize("shape", [(500, 400), (503, 402), (897, 301), (301, 300), (2000, 1999)])
def test_reduced_jpeg_gives_the_same_input_as_the_whole_one(shape: tuple[int, int]) -> None:
    grain = np.random.default_rng(0).normal(0, 3, shape)
    data = encode(np.clip(film(*shape) + grain, 0, 255).astype(np.uint8), "JPEG", quality=92)
    whole, reduced = (jpeg_grey(data, SPEC, side) for side in (0, min_side_px(SPEC)))
    np.testing.assert_allclose(reduced, whole, atol=2 / 255)
    assert np.abs(reduced - whole).mean() < 0.4 / 255


@pytest.mark.parametrize(
    ("height", "width", "code"),
    [(15, 200, "too_small"), (301, 100, "odd_shape"), (1201, 400, "odd_shape")],
)
def test_size_and_shape_are_judged_by_the_whole_film(height: int, width: int, code: str) -> None:
    data = encode(film(height, width), "JPEG")
    spec = replace(SPEC, width_px=20, height_px=20) if code == "odd_shape" else SPEC
    for side in (0, min_side_px(spec)):
        with pytest.raises(RefusedError) as info:
            jpeg_grey(data, spec, side)
        assert info.value.code == code
        if code == "too_small":
            assert f"{width} x {height}" in str(info.value)
    assert jpeg_grey(encode(film(1200, 400), "JPEG"), spec, 40).shape == (
        spec.height_px,
        spec.width_px,
    )


def test_percentiles_are_numpys_own() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 50, 1001):
        values = rng.normal(0, 100, n).astype(np.float32)
        percents = (0.0, 0.5, 33.3, 50.0, 99.5, 100.0)
        np.testing.assert_allclose(
            percentiles(values, *percents), np.percentile(values, percents), rtol=1e-6
        )


def test_percentiles_keep_a_marker_from_setting_the_scale() -> None:
    dim = FILM // 2
    marked = dim.copy()
    marked[:3, :3] = 255
    np.testing.assert_allclose(
        to_grey(radiograph(marked), SPEC)[4:], to_grey(radiograph(dim), SPEC)[4:], atol=0.01
    )


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0), (0.25, 60), (200, 1000)])
def test_exposure_does_not_matter(gain: float, offset: float) -> None:
    exposed = FILM.astype(np.float32) * np.float32(gain) + np.float32(offset)
    white = 255 * max(gain, 1) + offset
    np.testing.assert_allclose(to_grey(radiograph(exposed, white), SPEC), GREY, atol=1e-4)


def test_full_size_and_its_224_px_copy_give_nearly_the_same_input() -> None:
    spec = replace(SPEC, width_px=224, height_px=224)
    full = film(1800, 1500)
    copy = cv2.resize(full, (224, 224), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(
        to_grey(radiograph(full), spec), to_grey(radiograph(copy), spec), atol=0.01
    )


def test_prepare_leaves_the_radiograph_as_it_was() -> None:
    pixels = np.ascontiguousarray(FILM[:32, :32]).astype(np.float32)  # of the input's own size
    before = pixels.copy()
    prepare(radiograph(pixels), SPEC)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(("height", "width"), [(15, 32), (32, 15), (1, 1)])
def test_less_than_half_the_input_is_too_small(height: int, width: int) -> None:
    assert code_of(film(40, 40)[:height, :width]) == "too_small"


def test_half_the_input_is_enough() -> None:
    assert prepare(radiograph(film(16, 16)), SPEC).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(("height", "width"), [(301, 100), (100, 301)])
def test_strip_is_no_chest_radiograph(height: int, width: int) -> None:
    assert code_of(film(height, width)) == "odd_shape"


def test_three_to_one_is_let_through() -> None:
    assert prepare(radiograph(film(300, 100)), SPEC).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("pixels", "white"),
    [
        pytest.param(np.zeros((64, 64), np.uint8), 255, id="black"),
        pytest.param(np.full((64, 64), 255, np.uint8), 255, id="white"),
        pytest.param(100 + FILM // 64, 255, id="four grey levels"),
        pytest.param(FILM.astype(np.uint16), 65535, id="256 of 65,536 grey levels"),
        pytest.param(np.zeros((64, 64), np.float32), 1.0, id="black, floating point"),
    ],
)
def test_film_without_contrast_is_blank(pixels: np.ndarray, white: float) -> None:
    assert code_of(pixels, white) == "blank"


def test_narrow_but_real_contrast_is_kept() -> None:
    twelve_of_sixteen = radiograph(FILM_16 * 16, 65535)
    np.testing.assert_allclose(to_grey(twelve_of_sixteen, SPEC), GREY, atol=1e-5)


@pytest.mark.parametrize("shape", [(100, 90), (500, 460), (900, 700)])
def test_a_film_is_resized_alike_with_and_without_ipp(shape: tuple[int, int]) -> None:
    """Where this build of OpenCV has no IPP, there is nothing to differ."""
    pixels = np.random.default_rng(0).integers(0, 4096, shape, np.uint16)
    found = []
    before = cv2.ipp.useIPP()
    for used in (True, False):
        cv2.ipp.setUseIPP(used)
        possible = cv2.ipp.useIPP()
        found.append(squash(pixels, 224, 224))
        assert cv2.ipp.useIPP() == possible, "the caller's setting is left as it was"
    cv2.ipp.setUseIPP(before)
    np.testing.assert_array_equal(*found)
