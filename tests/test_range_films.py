"""Films for the int8 ranges: from any folder, but of the kind that the model learned from."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.errors import ExportError
from export.range_films import MIN_FILMS, read_range_films, require_same_kind
from tests.made import SPEC, film


def write_film(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def one(rng: np.random.Generator, height: int = 96, width: int = 80) -> NDArray[np.uint8]:
    """A chest, a bit brighter or darker and noisier than the next."""
    pixels = film(height, width) * rng.uniform(0.7, 1) + rng.normal(0, 8, (height, width))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def folder_of(path: Path, n: int, height: int = 96, width: int = 80) -> Path:
    rng = np.random.default_rng(n)
    path.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        write_film(path / f"{i:03}.png", one(rng, height, width))
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Prepared films of the train split."""
    return read_range_films(folder_of(tmp_path_factory.mktemp("known"), 40), SPEC, 40)


def test_a_folder_gives_prepared_films_spread_over_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "мои снимки", 50)
    films = read_range_films(folder, SPEC, 36)
    assert films.shape == (36, 1, 3, 32, 32)
    assert films.dtype == np.float32
    whole = read_range_films(folder, SPEC, 1000)
    assert len(whole) == 50
    assert np.array_equal(films[[0, -1]], whole[[0, -1]])


@pytest.mark.parametrize(
    ("n_films", "said"),
    [(0, "holds no films"), (MIN_FILMS - 1, f"Only 31 of 31 files .* at least {MIN_FILMS}")],
)
def test_a_folder_with_too_few_films_is_refused(tmp_path: Path, n_films: int, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        read_range_films(folder_of(tmp_path / "films", n_films), SPEC, 256)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="none"):
        read_range_films(tmp_path / "none", SPEC, 256)


def test_films_that_cannot_be_read_do_not_count_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "films", MIN_FILMS)
    (folder / "broken.png").write_bytes(b"no film")
    assert len(read_range_films(folder, SPEC, 256)) == MIN_FILMS
    assert "1 of 33 range films cannot be used" in capsys.readouterr().err
    (folder / "000.png").write_bytes(b"no film either")
    with pytest.raises(ExportError, match=r"Only 31 of 33 files"):
        read_range_films(folder, SPEC, 256)


def test_films_of_another_size_are_of_the_same_kind(
    tmp_path: Path, known: NDArray[np.float32]
) -> None:
    films = read_range_films(folder_of(tmp_path / "films", MIN_FILMS, 300, 410), SPEC, 256)
    assert films.shape[1:] == known.shape[1:]
    require_same_kind(films, known)


@pytest.mark.parametrize("kind", ["noise", "on their side", "negatives"])
def test_films_of_another_kind_are_refused(
    tmp_path: Path, known: NDArray[np.float32], kind: str
) -> None:
    rng = np.random.default_rng(1)
    for i in range(MIN_FILMS):
        pixels = one(rng)
        if kind == "noise":
            pixels = rng.integers(0, 256, pixels.shape).astype(np.uint8)
        elif kind == "on their side":
            pixels = np.rot90(pixels)
        else:
            pixels = 255 - pixels
        write_film(tmp_path / f"{i}.png", pixels)
    films = read_range_films(tmp_path, SPEC, 256)
    with pytest.raises(ExportError, match=r"not of the kind .* correlation"):
        require_same_kind(films, known)


def test_real_films_are_of_one_kind_and_not_of_that_of_films_on_their_side(
    real_films: Path,
) -> None:
    children = read_range_films(real_films / "kermany-train-224", SPEC, 64)
    require_same_kind(children[::2], children[1::2])
    with pytest.raises(ExportError, match="not of the kind"):
        require_same_kind(np.rot90(children, axes=(3, 4)), children)
