"""Each kind of image is what its code says, the same for a seed, and made without the network."""

import socket
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.made import film
from train.errors import TrainError
from train.negatives import (
    HELD_OUT,
    KINDS,
    READABLE,
    Kind,
    geometry,
    make,
    modalities,
    photographs,
    readable,
    tones,
)
from train.negatives.grey import stretched

CODES = {
    READABLE,
    "not_a_chest_film",
    "lateral",
    "inverted",
    "rotated_90",
    "rotated_180",
    "rotated_270",
    "lungs_cut_off",
    "overexposed",
    "underexposed",
    "photographed",
}
BY_NAME = {kind.name: kind for kind in KINDS}
N_SEEDS = 12


def some_films(n: int = 3) -> NDArray[np.uint8]:
    """Of different exposure."""
    plain = film(96, 80) / 255
    return np.stack([np.rint(255 * plain ** (1 + 0.4 * i)).astype(np.uint8) for i in range(n)])


def across(height: int = 96, width: int = 80) -> NDArray[np.uint8]:
    """Each grey says how far to the right it lies."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def down(height: int = 96, width: int = 80) -> NDArray[np.uint8]:
    """Each grey says how far down it lies."""
    return np.ascontiguousarray(across(width, height).T)


def seeds() -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(N_SEEDS)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_changes_films_keeps_their_size_and_is_the_same_for_a_seed(kind: Kind) -> None:
    films = some_films()
    before = films.copy()
    images = make(kind, films, np.random.default_rng(1))
    assert images.dtype == np.uint8
    assert images.shape == films.shape
    assert all((image != film).any() for image, film in zip(images, films, strict=True))
    assert (films == before).all()
    assert (make(kind, films, np.random.default_rng(1)) == images).all()
    assert (make(kind, films, np.random.default_rng(2)) != images).any()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_film_alone_is_enough_and_may_be_of_any_shape(kind: Kind) -> None:
    films = film(61, 130)[np.newaxis]
    assert make(kind, films, np.random.default_rng(3)).shape == films.shape


def test_every_kind_has_its_own_name_and_a_known_code() -> None:
    assert len(BY_NAME) == len(KINDS)
    assert {kind.code for kind in KINDS} == CODES


def test_what_is_held_out_is_a_kind_and_leaves_kinds_to_fit_for_each_code_and_family() -> None:
    assert BY_NAME.keys() > HELD_OUT
    fitted = [kind for kind in KINDS if kind.name not in HELD_OUT]
    assert {kind.code for kind in fitted} == CODES
    held = Counter(kind.family for kind in KINDS if kind.name in HELD_OUT)
    assert held.keys() == {kind.family for kind in fitted}


def test_held_out_photographs_are_none_of_those_that_are_fitted() -> None:
    assert not {*photographs.SEEN, *photographs.PAGES} & {*photographs.UNSEEN}
    assert not {*modalities.CT_AND_MR} & {*modalities.ULTRASOUND}


def test_an_image_is_stretched_as_a_film_is_that_is_prepared() -> None:
    flat = np.full((50, 40), 90, np.uint8)
    assert (stretched(flat) == flat).all()
    narrow = (film(96, 80) // 4 + 60).astype(np.uint8)
    assert (stretched(narrow).min(), stretched(narrow).max()) == (0, 255)


# --- What the codes mean -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("rotated_90", (0, 1)),
        ("rotated_180", (1, 0)),
        ("rotated_270", (0, -1)),
        ("upside_down_mirrored", (1, 0)),
        ("transposed", (0, -1)),
        ("as_elsewhere", (-1, 0)),
    ],
)
def test_the_upper_edge_of_a_turned_film_lies_where_a_clockwise_turn_brings_it(
    name: str, way: tuple[int, int]
) -> None:
    bright_above = 255 - down()
    for rng in seeds():
        image = make(BY_NAME[name], bright_above[np.newaxis], rng)[0].astype(float)
        y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
        towards = np.array([(image * y).mean(), (image * x).mean()])
        assert towards @ way > 2 * np.abs(towards @ np.array([way[1], way[0]]))


def test_an_inverted_film_is_dark_where_the_film_is_bright() -> None:
    for rng in seeds():
        image = tones.inverted(film(), rng)
        assert np.corrcoef(image.ravel(), film().ravel())[0, 1] < -0.9


def test_a_burnt_out_film_has_no_grey_left_in_its_lungs() -> None:
    lungs = film()[30:66, 55:65]
    assert lungs.mean() < 60
    for rng in seeds():
        assert (tones.overexposed(film(), rng)[30:66, 55:65] < 40).mean() > 0.8


def test_an_underexposed_film_is_mostly_white() -> None:
    for rng in seeds():
        assert (tones.underexposed(film(), rng) > 250).mean() > 0.5


@pytest.mark.parametrize(
    ("cut", "picture", "least_lost"),
    [
        (geometry.cut_top, 255 - down(), 0.3),
        (geometry.cut_bottom, down(), 0.4),
        (geometry.half_chest, across(), 0.3),
        (geometry.cut_side, across(), 0.25),
    ],
    ids=["top", "bottom", "half", "side"],
)
def test_a_cut_film_has_lost_much_of_its_height_or_width(cut, picture, least_lost) -> None:
    for rng in seeds():
        image = cut(picture, rng)
        lost = max(255 - int(image.max()), int(image.min())) / 255
        assert lost > least_lost


def test_a_film_that_is_cropped_but_readable_has_lost_little_at_each_side() -> None:
    most = 255 * (readable.MOST_CROP + 0.03)  # and what resizing rounds
    for rng in seeds():
        for picture in (across(), down()):
            image = readable.cropped(picture, rng)
            assert image.min() <= most
            assert image.max() >= 255 - most


def test_a_bordered_film_is_all_there_inside_its_borders() -> None:
    for rng in seeds():
        image = readable.bordered(across() // 2 + 60, rng)
        inside = image[48, round(0.13 * 80) : round(0.87 * 80)]
        assert (np.diff(inside.astype(int)) >= 0).all()
        assert inside[0] < 90
        assert inside[-1] > 155


def test_readable_films_stay_upright_and_keep_their_lungs_in_sight() -> None:
    kinds = [kind for kind in KINDS if kind.code == READABLE and kind.name != "mirrored"]
    plain = film(224, 224).astype(float)
    for kind in kinds:
        images = make(kind, np.stack([film(224, 224)] * 4), np.random.default_rng(5))
        for image in images:
            assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] > 0.25, kind.name


# --- Where they come from ------------------------------------------------------------------------


def test_photographs_and_slices_are_read_from_the_installed_packages_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    photographs.bundled.cache_clear()
    for name in (*photographs.SEEN, *photographs.UNSEEN, *photographs.PAGES):
        image = photographs.bundled(name)
        assert image.dtype == np.uint8
        assert max(image.shape) <= 512
    for name in (*modalities.CT_AND_MR, *modalities.ULTRASOUND):
        assert modalities.dicom(name).std() > 5


def test_without_scikit_image_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    photographs.bundled.cache_clear()
    with pytest.raises(TrainError, match="scikit-image") as info:
        photographs.photograph((40, 40), np.random.default_rng(0))
    assert "[train]" in info.value.next_step


def test_making_images_needs_neither_torch_nor_scikit_image_itself() -> None:
    code = (
        "import sys, numpy as np\n"
        "from train.negatives import KINDS, make\n"
        "films = np.zeros((1, 64, 64), np.uint8) + np.arange(64, dtype=np.uint8)\n"
        "[make(kind, films, np.random.default_rng(0)) for kind in KINDS]\n"
        "print(sorted({'torch', 'skimage', 'scipy', 'pooch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
