"""READ: what each file format holds, and what becomes of a file that is no radiograph."""

import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import damaged, decode, dicom, display, encode, error_of, film, rgb, tiff
from PIL import Image, ImageOps

from cxr_edge.errors import RadiographError, RefusedError, UnreadableError
from cxr_edge.preprocess import prepare
from cxr_edge.radiograph import (
    MAX_FILE_BYTES,
    RadiographFile,
    decode_radiograph,
    halve,
    in_bands,
    looks_like_dicom,
    n_halvings,
    open_radiograph,
    quiet,
    read_radiograph,
)
from tests.conftest import ROOT

FILM = film()
FILM_16 = FILM.astype(np.uint16) * 257 + np.arange(80, dtype=np.uint16)[np.newaxis] * (FILM < 255)


def palette(pixels: np.ndarray) -> Image.Image:
    """The image with its grey levels shuffled, and a palette that puts them back."""
    order = np.random.default_rng(0).permutation(256)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[pixels], "L")
    image.putpalette(bytes(np.repeat(order, 3).astype(np.uint8)))
    return image


def with_alpha(mode: str) -> Image.Image:
    image = Image.fromarray(FILM).convert(mode)
    image.putalpha(200)
    return image


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(FILM, "PNG"), id="PNG"),
        pytest.param(encode(FILM, "BMP"), id="BMP"),
        pytest.param(encode(rgb(FILM), "BMP"), id="BMP in RGB"),
        pytest.param(encode(rgb(FILM), "PNG"), id="PNG in RGB"),
        pytest.param(encode(palette(FILM), "PNG"), id="PNG with a palette"),
        pytest.param(encode(with_alpha("L"), "PNG"), id="PNG with alpha"),
        pytest.param(encode(with_alpha("RGB"), "PNG"), id="PNG in RGBA"),
        pytest.param(encode(FILM, "TIFF", compression="tiff_lzw"), id="TIFF with LZW"),
        pytest.param(encode(FILM, "TIFF", compression="tiff_deflate"), id="TIFF with Deflate"),
        pytest.param(tiff(FILM), id="TIFF"),
        pytest.param(tiff(FILM, byte_order=">"), id="TIFF, big-endian"),
        pytest.param(tiff(255 - FILM, white_is_zero=True), id="TIFF, white is zero"),
    ],
)
def test_8_bit_pixels_are_read_as_they_are(data: bytes) -> None:
    radiograph = decode(data)
    assert radiograph.pixels.dtype == np.uint8
    assert (radiograph.white, radiograph.bits_stored) == (255, 8)
    np.testing.assert_array_equal(radiograph.pixels, FILM)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(FILM_16, "PNG"), id="PNG"),
        pytest.param(encode(FILM_16, "TIFF", compression="tiff_lzw"), id="TIFF with LZW"),
        pytest.param(tiff(FILM_16), id="TIFF"),
        pytest.param(tiff(FILM_16, byte_order=">"), id="TIFF, big-endian"),
        pytest.param(tiff(65535 - FILM_16, white_is_zero=True), id="TIFF, white is zero"),
        pytest.param(tiff(FILM_16.astype(np.int32)), id="TIFF of 32-bit integers"),
    ],
)
def test_16_bit_pixels_keep_every_level(data: bytes) -> None:
    radiograph = decode(data)
    assert radiograph.pixels.dtype == np.dtype(np.uint16)
    assert (radiograph.white, radiograph.bits_stored) == (65535, 16)
    np.testing.assert_array_equal(radiograph.pixels, FILM_16)


def test_16_bit_images_are_halved_where_so_many_pixels_are_not_needed() -> None:
    data = encode(FILM_16, "PNG")
    file = RadiographFile(Path("film"), data, "")
    for side, n in ((0, 1), (41, 1), (40, 2), (21, 2), (20, 4), (10, 8)):
        radiograph = decode_radiograph(file, side)
        means = FILM_16.reshape(96 // n, n, 80 // n, n).mean((1, 3))
        np.testing.assert_allclose(radiograph.pixels, means, atol=0.5 * np.log2(n))
        assert radiograph.pixels.dtype == np.uint16
        assert radiograph.full_shape == (96, 80)
    # An odd side is never halved, nor one that would be odd after a halving.
    odd = RadiographFile(Path("film"), encode(FILM_16[:-1], "PNG"), "")
    np.testing.assert_array_equal(decode_radiograph(odd, 1).pixels, FILM_16[:-1])
    odd_half = RadiographFile(Path("film"), encode(FILM_16[:-2], "PNG"), "")
    assert decode_radiograph(odd_half, 1).pixels.shape == (47, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_16_bit_image_is_upright_and_keeps_its_full_shape(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = RadiographFile(Path("film"), encode(FILM_16, "PNG", exif=exif), "")
    whole, reduced = decode_radiograph(file), decode_radiograph(file, 20)
    assert reduced.full_shape == whole.full_shape == whole.pixels.shape
    rows, columns = reduced.pixels.shape
    means = whole.pixels.reshape(rows, 4, columns, 4).mean((1, 3))
    np.testing.assert_allclose(reduced.pixels, means, atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (96, 80), (127, 131), (129, 3), (300, 77), (513, 260)])
def test_film_made_in_bands_is_halved_as_the_whole_film(
    shape: tuple[int, int], dtype: type
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    expected = pixels
    for n_times in range(5):
        banded = in_bands(len(pixels), n_times, lambda top, end: pixels[top:end])
        np.testing.assert_array_equal(banded, expected)
        assert banded.dtype == expected.dtype
        expected = halve(expected)


def test_odd_sides_are_halved_with_their_last_pixels_counted_twice() -> None:
    pixels = np.array([[0, 2, 10], [4, 6, 20], [8, 12, 40]], np.uint16)
    assert halve(pixels).tolist() == [[3, 15], [10, 40]]


@pytest.mark.parametrize(
    ("shape", "min_side_px", "n_times"),
    [
        ((2000, 2500), 448, 2),
        ((2500, 1792), 448, 2),
        ((2500, 1790), 448, 1),
        ((895, 2500), 448, 0),
        ((896, 2500), 448, 1),
        ((2000, 2500), 0, 0),
        ((3, 3), 1, 2),  # 3, 2, 1
    ],
)
def test_film_is_halved_while_its_shorter_side_keeps_enough(
    shape: tuple[int, int], min_side_px: int, n_times: int
) -> None:
    assert n_halvings(shape, min_side_px) == n_times


def test_rare_tiff_that_pillow_cannot_read_is_an_error() -> None:
    rare = tiff(65535 - FILM_16, white_is_zero=True, byte_order=">")
    assert error_of(rare).code == "corrupt"


def test_white_is_zero_is_declared_as_monochrome1() -> None:
    assert decode(tiff(FILM, white_is_zero=True)).photometric == "MONOCHROME1"
    assert decode(tiff(FILM)).photometric == "MONOCHROME2"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_1_bit_images_are_black_and_white(kind: str) -> None:
    bits = FILM > 127
    radiograph = decode(encode(bits, kind))
    np.testing.assert_array_equal(radiograph.pixels / radiograph.white, bits)


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_floating_point_tiff_spans_its_own_range(white_is_zero: bool) -> None:
    values = FILM.astype(np.float32) * 0.01 - 1.5
    shown = display(tiff(values, white_is_zero=white_is_zero))
    expected = (255 - FILM if white_is_zero else FILM) / 255
    np.testing.assert_allclose(shown, expected, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_refused(value: float) -> None:
    values = FILM.astype(np.float32)
    values[5, 5] = value
    error = error_of(tiff(values))
    assert isinstance(error, RefusedError)
    assert error.code == "invalid_pixels"


def test_grey_jpeg_is_near_its_pixels() -> None:
    np.testing.assert_allclose(decode(encode(FILM, "JPEG", quality=95)).pixels, FILM, atol=6)


def test_grey_jpeg_stored_in_colour_equals_its_luminance() -> None:
    grey = decode(encode(FILM, "JPEG", quality=85))
    colour = decode(encode(rgb(FILM), "JPEG", quality=85))
    np.testing.assert_array_equal(colour.pixels, grey.pixels)


def test_grey_cmyk_jpeg_is_read() -> None:
    data = encode(Image.fromarray(FILM).convert("CMYK"), "JPEG", quality=95)
    np.testing.assert_allclose(decode(data).pixels, FILM, atol=8)


def jpeg_file(data: bytes) -> RadiographFile:
    return RadiographFile(Path("film.jpg"), data, "0" * 64)


@pytest.mark.parametrize(
    ("min_side_px", "reduced"),
    [(0, 1), (161, 1), (160, 2), (81, 2), (80, 4), (41, 4), (40, 8), (1, 8)],
)
def test_jpeg_is_reduced_as_far_as_the_shorter_side_allows(min_side_px: int, reduced: int) -> None:
    data = encode(film(400, 320), "JPEG", quality=95)
    radiograph = decode_radiograph(jpeg_file(data), min_side_px)
    assert radiograph.pixels.shape == (400 // reduced, 320 // reduced)
    assert radiograph.full_shape == (400, 320)
    means = cv2.resize(
        film(400, 320), (320 // reduced, 400 // reduced), interpolation=cv2.INTER_AREA
    )
    np.testing.assert_allclose(radiograph.pixels, means, atol=4)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_reduced_jpeg_stored_in_colour_equals_its_luminance(
    subsampling: int, progressive: bool
) -> None:
    full = film(200, 160)
    colour = encode(rgb(full), "JPEG", quality=85, subsampling=subsampling, progressive=progressive)
    grey = encode(full, "JPEG", quality=85)
    for min_side_px in (0, 80, 40, 20):
        np.testing.assert_array_equal(
            decode_radiograph(jpeg_file(colour), min_side_px).pixels,
            decode_radiograph(jpeg_file(grey), min_side_px).pixels,
        )


@pytest.mark.parametrize("min_side_px", [0, 80, 40, 20])
def test_colour_is_seen_in_a_reduced_jpeg(min_side_px: int) -> None:
    full = film(200, 160)
    photo = encode(np.dstack([full, full[::-1], 255 - full]), "JPEG")
    with pytest.raises(RefusedError) as info:
        decode_radiograph(jpeg_file(photo), min_side_px)
    assert info.value.code == "colour"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_jpeg_is_upright_and_keeps_its_full_shape(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(film(402, 322), "JPEG", quality=95, exif=exif)
    whole = decode_radiograph(jpeg_file(data))
    reduced = decode_radiograph(jpeg_file(data), 80)
    assert reduced.full_shape == whole.full_shape == whole.pixels.shape
    small = cv2.resize(whole.pixels, reduced.pixels.shape[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(reduced.pixels, small, atol=8)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (9, 200), (7, 8)])
def test_tiny_jpeg_is_read(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 90, np.uint8)
    for image in (pixels, rgb(pixels)):
        np.testing.assert_allclose(decode(encode(image, "JPEG")).pixels, pixels, atol=2)


def test_orientation_that_photoshop_alone_wrote_is_honoured() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encode(FILM, "JPEG", quality=95, xmp=xmp)
    np.testing.assert_allclose(decode(data).pixels, np.rot90(FILM, 3), atol=12)


def test_jpeg_without_its_last_mark_is_whole_or_corrupt_but_never_half_a_film() -> None:
    whole = encode(FILM, "JPEG")
    assert whole.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(decode(whole[:-2]).pixels, decode(whole).pixels)
    assert error_of(whole[:-40]).code == "corrupt"


def test_reading_a_jpeg_loads_neither_pillow_nor_pydicom() -> None:
    code = (
        "import sys; from pathlib import Path; from cxr_edge.radiograph import read_radiograph\n"
        "print(read_radiograph(Path(sys.argv[1])).pixels.ndim)\n"
        "print({'PIL', 'pydicom', 'gdcm', 'numpy.ma'} & set(sys.modules))"
    )
    film_path = ROOT / "samples" / "normal-1.jpg"
    outcome = subprocess.run(
        [sys.executable, "-c", code, film_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout.split() == ["2", "set()"]


def test_warnings_are_kept_back_in_several_threads_at_once(
    recwarn: pytest.WarningsRecorder,
) -> None:
    before = list(warnings.filters)
    inside, left = threading.Barrier(2, timeout=20), threading.Event()

    def first() -> None:
        with quiet:
            inside.wait()
        left.set()

    thread = threading.Thread(target=first)
    thread.start()
    with quiet:
        inside.wait()
        assert left.wait(20)
        warnings.warn("of the one that stays longer", stacklevel=1)
    thread.join()
    assert not recwarn
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_colour_photo_is_refused(kind: str) -> None:
    photo = np.dstack([FILM, FILM[::-1], 255 - FILM])
    assert error_of(encode(photo, kind)).code == "colour"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_small_coloured_marker_on_a_grey_film_is_read(kind: str) -> None:
    marked = rgb(FILM)
    marked[4:12, 60:70] = (255, 220, 0)
    shown = decode(encode(marked, kind)).pixels
    assert shown.shape == FILM.shape
    np.testing.assert_allclose(shown[40:], FILM[40:], atol=12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    image = Image.fromarray(FILM)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(image, kind, exif=exif)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    radiograph = decode(data)
    assert radiograph.pixels.flags.c_contiguous
    np.testing.assert_allclose(radiograph.pixels, upright, atol=12 if kind == "JPEG" else 0)


def test_suffix_does_not_decide_the_format(tmp_path: Path) -> None:
    for name, data in {"a.png": encode(FILM, "BMP"), "b.jpg": dicom(FILM)}.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_radiograph(tmp_path / name).pixels, FILM)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "DICOM"])
def test_path_may_hold_any_letters(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "Ärztin — 胸部 X線" / "röntgen bild №1 .dat"
    path.parent.mkdir()
    path.write_bytes(dicom(FILM) if kind == "DICOM" else encode(FILM, kind))
    radiograph = read_radiograph(path)
    assert radiograph.source == path
    assert radiograph.pixels.shape == FILM.shape


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert open_radiograph(path).sha256 == expected


def open_error(path: Path) -> UnreadableError:
    with pytest.raises(UnreadableError) as info:
        open_radiograph(path)
    assert info.value.next_step
    return info.value


def test_missing_file(tmp_path: Path) -> None:
    assert open_error(tmp_path / "none.png").code == "missing"


def test_folder_is_no_file(tmp_path: Path) -> None:
    assert open_error(tmp_path).code == "not_a_file"


def test_device_is_no_file() -> None:
    device = Path("/dev/zero")
    if not device.exists():
        pytest.skip("this system has no /dev/zero")
    assert open_error(device).code == "not_a_file"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "film.jpg").touch()
    assert open_error(tmp_path / "film.jpg").code == "empty"


def test_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.dcm"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: takes no room
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    assert open_error(path).code == "file_too_large"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied"), "no_permission"),
        (FileNotFoundError(2, "No such file"), "missing"),
        (OSError(5, "Input/output error"), "io_error"),
        (OSError("the share went away"), "io_error"),
    ],
)
def test_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, code: str
) -> None:
    def read_bytes(_: Path) -> bytes:
        raise error

    (tmp_path / "film.png").write_bytes(b"film")
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = open_error(tmp_path / "film.png")
    assert found.code == code
    assert "None" not in str(found)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(FILM, "JPEG"), id="JPEG"),
        pytest.param(encode(rgb(FILM), "JPEG"), id="JPEG in RGB"),
        pytest.param(encode(FILM, "JPEG", progressive=True), id="JPEG, progressive"),
        pytest.param(encode(FILM_16, "PNG"), id="PNG"),
        pytest.param(encode(FILM, "TIFF"), id="TIFF"),
        pytest.param(encode(FILM, "TIFF", compression="tiff_lzw"), id="TIFF with LZW"),
        pytest.param(tiff(FILM), id="TIFF, directory last"),
        pytest.param(encode(FILM, "BMP"), id="BMP"),
    ],
)
def test_file_cut_short_is_corrupt(data: bytes, part: float) -> None:
    error = error_of(data[: int(part * len(data))])
    assert isinstance(error, UnreadableError)
    assert error.code == "corrupt"
    assert "\n" not in str(error)


def test_flipped_byte_in_png_is_corrupt() -> None:
    data = bytearray(encode(FILM, "PNG"))
    data[len(data) // 2] ^= 0x10
    assert error_of(bytes(data)).code == "corrupt"


@pytest.mark.parametrize(
    "data",
    [
        b"Dear colleague, the film is attached.",
        b"%PDF-1.7\n" + bytes(200),
        b"\xff",
        bytes(1000),
        encode(FILM, "GIF"),
        encode(FILM, "WEBP"),
    ],
    ids=["text", "PDF", "one byte", "zeros", "GIF", "WebP"],
)
def test_other_formats_are_named_as_such(data: bytes) -> None:
    error = error_of(data)
    assert isinstance(error, UnreadableError)
    assert error.code == "unsupported_format"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "MPO"])
def test_several_images_in_one_file_are_refused(kind: str) -> None:
    others = [Image.fromarray(FILM[::-1]), Image.fromarray(255 - FILM)]
    error = error_of(encode(FILM, kind, save_all=True, append_images=others))
    assert isinstance(error, RefusedError)
    assert error.code == "several_frames"
    assert "3 images" in error.message


def png_that_claims(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = encode(FILM, "PNG")
    return data[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize(
    "side", [9_000, 12_000, 60_000], ids=["over the limit", "Pillow warns", "Pillow raises"]
)
def test_header_that_claims_too_many_pixels_costs_nothing(side: int) -> None:
    started = time.process_time()
    error = error_of(png_that_claims(side, side))
    assert error.code == "too_many_pixels"
    assert "80 megapixels" in error.message
    assert time.process_time() - started < 0.2


def test_nonsense_header_in_a_bare_dicom_is_no_image_format() -> None:
    assert looks_like_dicom(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")
    assert not looks_like_dicom(encode(FILM, "PNG"))
    assert not looks_like_dicom(b"")


SEEDS = {
    "JPEG": encode(film(24, 20), "JPEG"),
    "JPEG in RGB": encode(rgb(film(24, 20)), "JPEG"),
    "PNG": encode(film(24, 20), "PNG"),
    "TIFF": encode(film(24, 20), "TIFF", compression="tiff_lzw"),
    "plain TIFF": tiff(film(24, 20).astype(np.float32)),
    "BMP": encode(film(24, 20), "BMP"),
    "DICOM": dicom(film(24, 20).astype(np.uint16) * 16, 12, WindowCenter=2048, WindowWidth=4096),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_damage_raises_nothing_but_radiograph_errors(kind: str) -> None:
    rng = np.random.default_rng(20)
    for number in range(150):
        data = damaged(SEEDS[kind], rng)
        try:
            radiograph = decode_radiograph(RadiographFile(Path(f"{number}"), data, ""))
        except RadiographError as exc:
            assert exc.code
            continue
        assert radiograph.pixels.ndim == 2
        assert radiograph.white > 0
        assert radiograph.pixels.min() >= 0
        assert radiograph.pixels.max() <= radiograph.white * (1 + 1e-6)


def test_real_films_are_read(real_films: Path) -> None:
    from made import SPEC

    paths = sorted(real_films.glob("kermany-original-resolution/**/*.jpeg"))[:4]
    paths += sorted(real_films.glob("dicom/*.dcm"))
    assert len(paths) == 7
    for path in paths:
        assert prepare(read_radiograph(path), SPEC).shape == (1, 3, 32, 32)
