"""The contact sheet: a panel for each film and draw, in a PNG, the same for the same seed."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from train.errors import TrainError
from train.learn.augment import NO_AUGMENTATION, Augmentation
from train.learn.contact_sheet import draw_sheet

GREYS = (60, 100, 140)


def sheet(path: Path, augmentation: Augmentation, seed: int = 0) -> NDArray[np.uint8]:
    """Of three films, each of one grey, and four draws."""
    films = torch.tensor(GREYS, dtype=torch.uint8).view(3, 1, 1, 1).repeat(1, 1, 40, 32)
    titles = ("no finding", "pneumonia", "a $ and a title that is longer than a panel")
    draw_sheet(films, titles, augmentation, seed, path, n_draws=4)
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)


def panels(picture: NDArray[np.uint8], grey: int) -> list[tuple[int, int, int, int]]:
    """left, top, width and height of each rectangle of this grey."""
    _, _, found, _ = cv2.connectedComponentsWithStats((picture == grey).astype(np.uint8))
    return [tuple(row[:4].tolist()) for row in found[1:] if row[4] > 1000]


def test_each_film_has_its_row_and_each_draw_its_column(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    picture = sheet(path, NO_AUGMENTATION)
    assert path.read_bytes().startswith(b"\x89PNG")
    tops = []
    for grey in GREYS:
        row = panels(picture, grey)
        assert len(row) == 1 + 4
        lefts, row_tops, widths, heights = zip(*sorted(row), strict=True)
        assert max(row_tops) - min(row_tops) <= 1
        assert min(np.diff(lefts)) > max(widths)  # beside each other
        assert heights[0] / widths[0] == pytest.approx(40 / 32, rel=0.05)
        tops.append(row_tops[0])
    assert tops == sorted(tops)


def test_the_first_column_is_the_film_as_it_is_and_the_others_are_drawn(tmp_path: Path) -> None:
    plain = sheet(tmp_path / "plain.png", NO_AUGMENTATION)
    drawn = sheet(tmp_path / "drawn.png", replace(NO_AUGMENTATION, brightness=0.07))
    for grey in GREYS:
        found = sorted(panels(drawn, grey))
        assert found[0] == min(panels(plain, grey))
        assert len(found) <= 2  # a draw may come to the same grey by chance


def test_the_seed_decides_the_sheet(tmp_path: Path) -> None:
    first = sheet(tmp_path / "a.png", Augmentation(), seed=1)
    assert np.array_equal(first, sheet(tmp_path / "b.png", Augmentation(), seed=1))
    assert not np.array_equal(first, sheet(tmp_path / "c.png", Augmentation(), seed=2))


def test_a_folder_that_does_not_exist_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="cannot be written"):
        sheet(tmp_path / "missing" / "sheet.png", NO_AUGMENTATION)


def test_films_and_titles_must_be_as_many(tmp_path: Path) -> None:
    films = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError):
        draw_sheet(films, ["one"], NO_AUGMENTATION, 0, tmp_path / "sheet.png")
