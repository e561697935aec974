"""The unsure band keeps its promise: on average over such hospitals, and whatever the scores."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_edge.model_card import UnsureBand
from cxr_edge.result import Finding
from export.errors import ExportError
from export.unsure import check_enough, fit_band

THRESHOLD = 0.5


def answer(probability: float, band: UnsureBand, threshold: float = THRESHOLD) -> str:
    return Finding(band.finding, probability, threshold, band.low, band.high).answer


def fit(
    present: NDArray[np.float64], absent: NDArray[np.float64], coverage: float, threshold=THRESHOLD
) -> UnsureBand:
    """present, absent: probabilities of films with and without the finding, in any order."""
    label = np.repeat([True, False], [len(present), len(absent)])
    mixed = np.random.default_rng(0).permutation(len(label))
    probability = np.concatenate([present, absent])
    return fit_band("pneumonia", label[mixed], probability[mixed], threshold, "made", coverage)


@pytest.mark.parametrize("n_films", [19, 20, 58, 59])
def test_of_new_films_at_least_the_promised_part_is_right_or_unsure(n_films: int) -> None:
    """On average over draws of the films that it is fitted on, for each label by itself.

    Films are drawn anew 4000 times, so that one rank too few or too many is seen: a rank is worth
    1 / (n_films + 1), and the mean is known to a tenth of that.
    """
    coverage, rng = 0.95, np.random.default_rng(n_films)
    # Of two labels that lie on the wrong sides, so that no bound is the threshold's.
    kept = {"positive": [], "negative": []}
    for _ in range(4000):
        present, absent = rng.uniform(0, 0.5, n_films), rng.uniform(0.5, 1, n_films)
        band = fit(present, absent, coverage)
        # Of uniform ones the part below, and above, is known.
        kept["negative"].append(1 - band.low / 0.5)
        kept["positive"].append((band.high - 0.5) / 0.5)
    k = int((1 - coverage) * (n_films + 1) + 1e-9)
    for covered in kept.values():
        assert np.mean(covered) == pytest.approx(1 - k / (n_films + 1), abs=0.1 / (n_films + 1))
        assert np.mean(covered) > coverage - 0.1 / (n_films + 1)


def test_new_films_are_covered_by_the_answers_that_a_site_gets() -> None:
    """Labels that overlap as they do, film by film; as many of both in calibration as is rare."""
    coverage, rng = 0.9, np.random.default_rng(0)

    def scores(middle: float, n: int) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-rng.normal(middle, 1.5, n)))

    wrong = {"present": 0, "absent": 0}
    n_draws, n_new = 300, 20
    for _ in range(n_draws):
        band = fit(scores(1.5, 39), scores(-1.5, 79), coverage)
        wrong["present"] += sum(answer(p, band) == "negative" for p in scores(1.5, n_new))
        wrong["absent"] += sum(answer(p, band) == "positive" for p in scores(-1.5, n_new))
    for count in wrong.values():
        assert 0.08 < count / (n_draws * n_new) < 0.11


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.99])
def test_the_band_holds_the_threshold_whatever_the_scores(threshold: float) -> None:
    rng = np.random.default_rng(1)
    for low, high in itertools.combinations([0.0, 0.2, 0.6, 1.0], 2):
        for present, absent in itertools.permutations(
            [rng.uniform(low, high, 50), rng.uniform(0, 1, 50)]
        ):
            band = fit(present, absent, 0.9, threshold)
            assert band.low <= threshold < band.high
            assert answer(threshold, band, threshold) == "unsure"


def test_labels_that_are_far_apart_are_unsure_between_them() -> None:
    present, absent = np.linspace(0.8, 0.9, 49), np.linspace(0.1, 0.2, 49)
    band = fit(present, absent, 0.98)
    assert (band.low, band.high) == (0.2, pytest.approx(0.8))
    assert [answer(p, band) for p in (0.19, 0.2, 0.5, 0.8, 0.81)] == [
        *("negative", "unsure", "unsure", "unsure", "positive"),
    ]


def test_labels_that_overlap_are_unsure_where_they_do() -> None:
    present, absent = np.linspace(0.3, 0.9, 49), np.linspace(0.1, 0.7, 49)
    band = fit(present, absent, 0.98)
    assert (band.low, band.high) == (0.3, pytest.approx(0.7))
    assert (band.n_present, band.n_absent, band.coverage) == (49, 49, 0.98)


def test_bounds_on_one_side_of_the_threshold_reach_to_it() -> None:
    low = fit(np.linspace(0.3, 0.4, 49), np.linspace(0.1, 0.2, 49), 0.98)
    assert (low.low, low.high) == (0.2, pytest.approx(0.5))
    high = fit(np.linspace(0.8, 0.9, 49), np.linspace(0.6, 0.7, 49), 0.98)
    assert (high.low, high.high) == (0.5, pytest.approx(0.8))


def test_the_film_at_a_bound_is_unsure_as_are_all_that_tie_with_it() -> None:
    present = np.array([0.1] + [0.3] * 30 + [0.9] * 18)
    absent = np.array([0.05] * 20 + [0.7] * 29)
    band = fit(present, absent, 0.96)  # the second of 49 from either end
    assert (band.low, band.high) == (0.3, pytest.approx(0.7))
    assert [answer(p, band) for p in (0.1, 0.3, 0.7, 0.9)] == [
        *("negative", "unsure", "unsure", "positive"),
    ]


def test_scores_at_the_ends_make_a_band_that_a_card_can_hold() -> None:
    band = fit(np.zeros(49), np.ones(49), 0.98)
    assert (band.low, band.high) == (0.0, 1.0)


def test_scores_in_single_precision_are_kept_as_they_are() -> None:
    """float32 0.1 is not 0.1: the film at the bound must stay inside."""
    present = np.linspace(0.1, 0.9, 49).astype(np.float32)
    band = fit(present, np.linspace(0.1, 0.7, 49).astype(np.float32), 0.98)
    assert answer(float(present[0]), band) == "unsure"
    assert answer(float(np.float32(0.7)), band) == "unsure"


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.98, 49), (0.999, 999)]
)
def test_too_few_films_of_a_label_are_named_with_how_many_are_needed(
    coverage: float, needed: int
) -> None:
    check_enough("pneumonia", needed, needed, coverage)
    for n_present, n_absent, what in (
        (needed - 1, 5000, f"{needed - 1} validation films with pneumonia"),
        (5000, needed - 1, f"{needed - 1} validation films without pneumonia"),
    ):
        with pytest.raises(ExportError, match=what) as info:
            check_enough("pneumonia", n_present, n_absent, coverage)
        assert f"Give {needed} or more" in info.value.next_step
    with pytest.raises(ExportError, match="too few"):
        fit(np.linspace(0.5, 1, needed - 1), np.linspace(0, 0.5, 5000), coverage)
