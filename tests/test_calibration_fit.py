"""The threshold keeps its promise, and the figures beside it do not flatter."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_edge.calibration.films import LabelledFilms
from cxr_edge.calibration.fit import (
    fit_point,
    judged_by_others,
    n_least,
    rank,
    threshold_for,
    unsure_band,
)
from cxr_edge.errors import SettingsError
from cxr_edge.model_card import UnsureBand
from cxr_edge.profile import UNCHANGED
from cxr_edge.proportion import wilson

CARD = UnsureBand("pneumonia", 0.1, 0.6, 0.9, 500, 400, "other films")


def films(n: int, seed: int, part: float = 0.4, apart: float = 3.0, each: int = 1) -> LabelledFilms:
    """n films, `each` of a patient, of whom that part has the finding."""
    rng = np.random.default_rng(seed)
    present = np.arange(n) < round(part * n)
    logits = rng.normal(np.where(present, apart / 2, -apart / 2), 1.0)
    return LabelledFilms("pneumonia", present, 1 / (1 + np.exp(-logits)), np.arange(n) // each)


def true_sensitivity(threshold: float, apart: float = 3.0) -> float:
    """Of all films there could be, as `films` makes them."""
    from math import erf, log, sqrt

    logit = log(threshold / (1 - threshold))
    return 0.5 * (1 - erf((logit - apart / 2) / sqrt(2)))


@pytest.mark.parametrize(
    ("n", "target", "k"),
    [
        (9, 0.9, 1),
        (8, 0.9, 0),
        (18, 0.9, 1),
        (19, 0.9, 2),
        (29, 0.9, 3),
        (19, 0.95, 1),
        (3, 0.5, 2),
    ],
)
def test_so_many_films_may_lie_below(n, target, k):
    assert rank(n, 1 - target) == k
    scores = np.random.default_rng(0).permutation(n) / n + 0.01
    expected = np.sort(scores)[k - 1] if k else 0.0
    assert threshold_for(scores, target) == expected


@pytest.mark.parametrize(
    ("target", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)]
)
def test_fewer_films_can_promise_nothing(target, least):
    assert n_least(target) == least
    assert threshold_for(np.linspace(0.1, 0.9, least - 1), target) == 0.0
    assert threshold_for(np.linspace(0.1, 0.9, least), target) > 0


@pytest.mark.parametrize(("n", "target"), [(9, 0.9), (29, 0.9), (30, 0.9), (60, 0.95), (19, 0.8)])
def test_in_the_mean_over_sites_the_target_is_kept_and_not_by_more_than_it_must(n, target):
    """Of probabilities that are evenly spread, the part at or above a threshold is 1 - threshold.

    Its mean is 1 - k / (n + 1); with one film more or fewer below the threshold it is off by
    1 / (n + 1), twenty times the standard error of these draws.
    """
    rng = np.random.default_rng(7)
    sensitivity = [1 - threshold_for(rng.random(n), target) for _ in range(20_000)]
    k = int((n + 1) * (1 - target) + 1e-9)
    tolerance = 4 * np.std(sensitivity) / len(sensitivity) ** 0.5
    assert tolerance < 0.2 / (n + 1)
    assert np.mean(sensitivity) == pytest.approx(1 - k / (n + 1), abs=tolerance)
    assert np.mean(sensitivity) >= target - tolerance


def test_films_that_are_alike_leave_the_promise_as_it_is():
    rng = np.random.default_rng(3)
    kept = []
    for _ in range(4000):
        scores = rng.integers(0, 6, 30) / 5  # the last one is the new film
        kept.append(scores[-1] >= threshold_for(scores[:-1], 0.9))
    assert np.mean(kept) >= 0.9


def test_the_sensitivity_that_is_said_is_that_of_films_to_come():
    """On the films that chose the threshold it would be higher."""
    said, true, flattered = [], [], []
    for seed in range(300):
        some = films(60, seed)
        threshold = threshold_for(some.probability[some.present], 0.9)
        said.append(judged_by_others(some, 0.9)[some.present].mean())
        flattered.append((some.probability[some.present] >= threshold).mean())
        true.append(true_sensitivity(threshold))
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.02)
    assert np.mean(flattered) > np.mean(true) + 0.02


def test_a_film_is_judged_without_any_of_its_patients_films():
    present = np.array([True] * 9 + [False])
    probability = np.array([0.1, 0.11, *np.linspace(0.5, 0.9, 7), 0.3])
    alone = LabelledFilms("pneumonia", present, probability, np.arange(10))
    together = LabelledFilms("pneumonia", present, probability, np.array([0, 0, *range(1, 9)]))
    assert judged_by_others(alone, 0.8).tolist() == [False, True] + [True] * 8
    # Neither vouches for the other.
    assert judged_by_others(together, 0.8)[:2].tolist() == [False, False]


def test_the_interval_narrows_as_films_are_added():
    """In the mean over sites; that of the sensitivity by the square root of their number."""

    def width(n: int) -> np.ndarray:
        points = [fit_point(films(n, seed), 0.9).point for seed in range(5)]
        return np.mean(
            [
                [one.high - one.low for one in (point.threshold, point.sensitivity)]
                for point in points
            ],
            axis=0,
        )

    few, some, many = (width(n) for n in (50, 200, 1000))
    assert (few > 1.1 * some).all() and (some > 1.5 * many).all()
    assert few[1] / some[1] == pytest.approx(2, rel=0.1)
    assert some[1] / many[1] == pytest.approx(5**0.5, rel=0.1)


def test_the_threshold_lies_in_its_interval_and_so_does_that_of_all_films():
    inside = 0
    for seed in range(30):
        point = fit_point(films(200, seed), 0.9).point
        assert point.threshold.low <= point.threshold.value <= point.threshold.high
        everywhere = point.probability(1 / (1 + np.exp(-(1.5 - 1.2816))))  # the 10 % of N(1.5, 1)
        inside += point.threshold.low <= everywhere <= point.threshold.high
    assert inside >= 26


def test_predictive_values_are_of_the_sites_own_prevalence():
    point = fit_point(films(200, 1), 0.9).point
    assert point.prevalence == 0.4 and not point.is_given
    positive = judged_by_others(films(200, 1), 0.9)
    assert point.ppv.value == pytest.approx(films(200, 1).present[positive].mean())
    assert point.npv.value == pytest.approx((~films(200, 1).present)[~positive].mean())

    rare = fit_point(films(200, 1), 0.9, prevalence=0.02).point
    assert rare.prevalence == 0.02 and rare.is_given
    hits = point.sensitivity.value * 0.02
    alarms = (1 - point.specificity.value) * 0.98
    assert rare.ppv.value == pytest.approx(hits / (hits + alarms))
    assert rare.ppv.high < point.ppv.low and rare.npv.low > point.npv.value
    for one in (rare.ppv, rare.npv):
        assert one.low < one.value < one.high


def test_the_model_decides_the_same_whatever_the_prevalence_is_said_to_be():
    assert (
        fit_point(films(200, 1), 0.9, prevalence=0.02).point.model_threshold
        == fit_point(films(200, 1), 0.9).point.model_threshold
    )


def test_by_bayes_the_films_own_prevalence_gives_the_films_own_figures():
    plain = fit_point(films(500, 4), 0.9).point
    given = fit_point(films(500, 4), 0.9, prevalence=0.4).point
    assert given.ppv.value == pytest.approx(plain.ppv.value)
    assert given.ppv.low == pytest.approx(plain.ppv.low, abs=0.02)
    assert given.npv.high == pytest.approx(plain.npv.high, abs=0.02)


def test_films_of_one_patient_are_one_witness():
    alone, fours = (fit_point(films(400, 2, each=each), 0.9).point for each in (1, 4))
    assert (alone.n_patients_present, fours.n_patients_present) == (160, 40)
    for name in ("specificity", "ppv"):
        wide, narrow = (getattr(one, name) for one in (fours, alone))
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("value", [True, False])
def test_films_of_one_label_tell_nothing(value):
    one = films(40, 0)
    with pytest.raises(SettingsError, match=r"All 40 films .* have the same label"):
        fit_point(replace(one, present=np.full(40, value)), 0.9)


def test_how_many_films_a_target_takes_is_said():
    with pytest.raises(SettingsError, match=r"8 films .* sensitivity of 0.9: it takes 9"):
        fit_point(films(20, 0), 0.9)
    assert fit_point(films(20, 0), 0.8).point.n_present == 8


def test_one_patient_is_no_site():
    one = films(40, 0)
    same = np.where(one.present, 0, np.arange(40))
    with pytest.raises(SettingsError, match=r"All 16 films with the same label .* one patient"):
        fit_point(replace(one, patient=same), 0.9)


def test_what_is_missing_makes_the_intervals_short_enough():
    point = fit_point(films(100, 0), 0.9).point
    n_present, n_absent = point.n_missing
    for part, n in ((0.9, 40 + n_present), (point.specificity.value, 60 + n_absent)):
        low, high = wilson(part, n)
        assert high - low <= 0.1
    assert fit_point(films(2000, 0), 0.9).point.n_missing == (0, 0)
    # Films of the same patients would not help.
    fours = fit_point(films(100, 0, each=4), 0.9).point
    assert fours.n_missing[0] == n_present + 30


def test_outside_the_band_at_most_the_stated_part_is_wrong():
    """As far as further films are like those that were labelled."""
    missed, alarmed = [], []
    for seed in range(300):
        some, new = films(120, seed), films(400, 10_000 + seed)
        threshold = threshold_for(some.probability[some.present], 0.9)
        band = unsure_band(some, threshold, UNCHANGED, CARD)
        missed.append((new.probability[new.present] < band.low).mean())
        alarmed.append((new.probability[~new.present] >= band.high).mean())
    assert band.coverage == CARD.coverage
    for wrong in (missed, alarmed):
        assert np.mean(wrong) <= 0.1 + 2 * np.std(wrong) / len(wrong) ** 0.5
        assert np.mean(wrong) > 0.05


def test_the_threshold_lies_in_the_band():
    for seed in range(20):
        for apart in (0.5, 8.0):
            some = films(120, seed, apart=apart)
            threshold = threshold_for(some.probability[some.present], 0.9)
            band = unsure_band(some, threshold, UNCHANGED, CARD)
            assert band.low <= threshold <= band.high


def test_where_there_are_too_few_films_the_cards_band_stays():
    point = fit_point(films(40, 0), 0.9, of_card=replace(CARD, coverage=0.97)).point
    assert point.unsure.measured_on == "other films"
    assert point.unsure.low == point.probability(min(0.1, point.model_threshold))
    assert point.unsure.high == point.probability(max(0.6, point.model_threshold))
    assert fit_point(films(30, 0), 0.9).point.unsure is None


def test_a_model_that_says_the_same_of_all_films_has_figures_too():
    alike = replace(films(60, 0), probability=np.full(60, 0.3))
    point = fit_point(alike, 0.9).point
    assert (point.model_threshold, point.sensitivity.value, point.specificity.value) == (0.3, 1, 0)
    assert point.ppv.value == 0.4
    assert point.npv is None


def test_the_same_films_give_the_same_point():
    assert fit_point(films(100, 5), 0.9).point == fit_point(films(100, 5), 0.9).point
