"""A picture saved anew is found again; another patient's is not taken for it."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made import film
from train.data.duplicates import (
    MIN_CORRELATION,
    NearDuplicate,
    find_near_duplicates,
    same_bytes,
    write_near_duplicates,
)
from train.errors import TrainError

_BLOBS = 8


def picture(seed: int, side: int = 160) -> NDArray[np.uint8]:
    """Soft blobs from 40 to 200; each seed its own."""
    coarse = np.random.default_rng(seed).integers(40, 200, (_BLOBS, _BLOBS), np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


def save(path: Path, pixels: NDArray[np.uint8], quality: int = 95) -> Path:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    path.write_bytes(cv2.imencode(path.suffix, pixels, options)[1].tobytes())
    return path


def pairs_of(*paths: Path) -> list[tuple[str, str]]:
    return [(pair.first.name, pair.second.name) for pair in find_near_duplicates(paths)]


@pytest.mark.parametrize(
    "copy",
    [
        lambda p: cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA),
        lambda p: cv2.resize(p, (300, 200), interpolation=cv2.INTER_LINEAR),
        lambda p: np.rint(0.6 * p + 20).astype(np.uint8),
        lambda p: np.repeat(p[..., np.newaxis], 3, axis=2),
    ],
    ids=["smaller", "larger and squashed", "darker and flatter", "as colour"],
)
def test_a_picture_saved_anew_is_found(tmp_path: Path, copy) -> None:
    original = save(tmp_path / "a.png", picture(1))
    saved = save(tmp_path / "b.jpg", np.ascontiguousarray(copy(picture(1))), quality=60)
    assert pairs_of(saved, original) == [("a.png", "b.jpg")]


@pytest.mark.parametrize(
    "other",
    [picture(2), picture(1)[:, ::-1], 255 - picture(1), np.full((160, 160), 90, np.uint8)],
    ids=["another", "mirrored", "inverted", "blank"],
)
def test_another_picture_is_not_taken_for_a_copy(tmp_path: Path, other: NDArray[np.uint8]) -> None:
    paths = [save(tmp_path / "a.png", picture(1)), save(tmp_path / "b.png", other)]
    assert pairs_of(*paths) == []


def test_two_blank_films_are_no_copies_of_each_other(tmp_path: Path) -> None:
    blank = np.zeros((64, 64), np.uint8)
    assert pairs_of(save(tmp_path / "a.png", blank), save(tmp_path / "b.png", blank)) == []


def test_pairs_are_found_across_the_blocks_of_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.data.duplicates._BLOCK", 3)
    paths = [save(tmp_path / f"{i}.png", picture(i % 5)) for i in range(10)]
    assert sorted(pairs_of(*paths)) == [(f"{i}.png", f"{i + 5}.png") for i in range(5)]


def test_the_surest_pair_comes_first(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (160, 160))
    noisy = np.clip(cv2.GaussianBlur(noise, (0, 0), 6) * 8 + picture(1), 0, 255).astype(np.uint8)
    paths = [
        save(tmp_path / "a.png", picture(1)),
        save(tmp_path / "b.png", noisy),
        save(tmp_path / "c.png", picture(1) + np.uint8(9)),
    ]
    first, *others = find_near_duplicates(paths)
    assert (first.first.name, first.second.name) == ("a.png", "c.png")
    assert all(MIN_CORRELATION < pair.correlation <= first.correlation <= 1 for pair in others)


def test_each_film_is_shown_to_the_progress_bar(tmp_path: Path) -> None:
    shown: list[Path] = []

    def progress(paths, title):
        for path in paths:
            shown.append(path)
            yield path

    paths = [save(tmp_path / f"{i}.png", picture(i)) for i in range(4)]
    find_near_duplicates(paths, progress)
    assert shown == paths


def test_damaged_films_are_all_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", film())
    broken = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in broken:
        path.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(TrainError) as raised:
        find_near_duplicates([whole, *broken])
    assert all(str(path) in str(raised.value) for path in broken)
    assert str(whole) not in str(raised.value)


def test_files_with_the_same_bytes_stand_together(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", picture(i % 2)) for i in (3, 1, 2)]
    groups = [[path.name for path in same] for same in same_bytes(paths).values()]
    assert sorted(groups) == [["1.png", "3.png"], ["2.png"]]


def test_pairs_are_written_with_their_sources(tmp_path: Path) -> None:
    a, b = Path("films/ä.png"), Path("films/b.png")
    write_near_duplicates(
        [NearDuplicate(a, b, 0.98765)], {a: "kermany", b: "rsna"}, tmp_path / "pairs.csv"
    )
    text = (tmp_path / "pairs.csv").read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(text.splitlines())
    assert row == {
        "correlation": "0.9877",
        "first source": "kermany",
        "first": str(a),
        "second source": "rsna",
        "second": str(b),
    }
