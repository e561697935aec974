"""Every picture is drawn, whatever the films leave open."""

from pathlib import Path

import numpy as np
import pytest

from train.measure.plots import (
    plot_confusion,
    plot_films,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_scores,
)

RNG = np.random.default_rng(0)
PRESENT = np.arange(40) % 2 == 0
PROBABILITY = np.clip(0.5 + 0.2 * (PRESENT * 2 - 1) + RNG.normal(0, 0.25, 40), 0, 1)
PATIENTS = [f"p{i}" for i in range(40)]
ONE_LABEL = np.ones(40, bool)


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall])
@pytest.mark.parametrize("present", [PRESENT, ONE_LABEL], ids=["both labels", "one label"])
def test_curves_are_drawn_where_the_films_determine_them(tmp_path, plot, present) -> None:
    plot({"pneumonia": (present, PROBABILITY, PATIENTS)}, tmp_path / "curves.png")
    assert is_picture(tmp_path / "curves.png")


def test_a_confusion_matrix_may_have_a_label_without_films(tmp_path) -> None:
    counts = np.array([[5, 1, 0], [0, 0, 0], [2, 0, 9]])
    plot_confusion(counts, ["no finding", "pneumonia", "tuberculosis"], tmp_path / "counts.png")
    assert is_picture(tmp_path / "counts.png")


@pytest.mark.parametrize("threshold", [0.3, None])
def test_scores_are_drawn_with_and_without_a_threshold(tmp_path, threshold) -> None:
    path = tmp_path / "scores.png"
    plot_scores(PRESENT, PROBABILITY, threshold, "pneumonia", path)
    assert is_picture(path)


def test_reliability_is_drawn_from_few_films(tmp_path) -> None:
    plot_reliability(PRESENT[:2], PROBABILITY[:2], "pneumonia", tmp_path / "reliability.png")
    assert is_picture(tmp_path / "reliability.png")


@pytest.mark.parametrize("n_films", [1, 5])
def test_a_contact_sheet_takes_any_number_of_films(tmp_path, n_films) -> None:
    films = [RNG.random((20, 16)) for _ in range(n_films)]
    plot_films(films, ["a film"] * n_films, tmp_path / "films.png")
    assert is_picture(tmp_path / "films.png")
