"""A site's probability: to be taken at its word, and in the order of the model's."""

import numpy as np
import pytest

from cxr_edge.calibration.films import LabelledFilms
from cxr_edge.calibration.fit import fit_point
from cxr_edge.calibration.probability import (
    N_ISOTONIC,
    applied,
    calibrate_probability,
    fit_isotonic,
    fit_temperature,
    folds,
    weights_for,
)
from cxr_edge.profile import AS_IT_IS, ISOTONIC, TEMPERATURE, UNCHANGED, ProbabilityMap


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def true_probability(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Films' logits, and whether they have the finding, by just that probability."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 2, n)
    return logits, rng.random(n) < sigmoid(logits)


def films(n: int, seed: int, model=lambda logits: logits) -> LabelledFilms:
    """model: what the model makes of the true logits."""
    logits, present = true_probability(n, seed)
    return LabelledFilms("pneumonia", present, sigmoid(model(logits)), np.arange(n))


ONES = np.ones(20_000)


def test_a_model_that_is_too_sure_by_a_temperature_is_put_right():
    of = films(20_000, 0, lambda logits: 2.5 * (logits - 0.7))
    found = fit_temperature(of.probability, of.present, ONES)
    assert found.kind == TEMPERATURE
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.offset == pytest.approx(0.7, abs=0.05)


def test_films_that_are_told_apart_without_a_mistake_make_nothing_certain():
    probability = np.r_[np.linspace(0.6, 0.9, 20), np.linspace(0.1, 0.4, 20)]
    present = np.arange(40) < 20
    for fit in (fit_temperature, fit_isotonic):
        said = applied(fit(probability, present, np.ones(40)), probability)
        assert 0.95 < said.max() < 0.999 and 0.001 < said.min() < 0.05
        assert said[present].min() > 0.5 > said[~present].max()


def test_a_probability_that_falls_with_the_finding_stays_as_it_is():
    of = films(2000, 0, lambda logits: -logits)
    assert fit_temperature(of.probability, of.present, np.ones(2000)) == UNCHANGED
    assert calibrate_probability(of, 0.4).chosen.kind in (AS_IT_IS, ISOTONIC)


@pytest.mark.parametrize("n", [30, 1000])
def test_isotonic_regression_rises_everywhere(n):
    of = films(n, 1, lambda logits: logits**3)
    found = fit_isotonic(of.probability, of.present, np.ones(n))
    grid = np.linspace(0, 1, 5001)
    said = applied(found, grid)
    assert (np.diff(said) > 0).all()
    assert (said[0], said[-1]) == (0, 1)


def test_isotonic_regression_is_the_mean_of_each_step():
    """Pool adjacent violators, by hand: 0 | 1 0 | 1, drawn in to 1/4 and 3/4."""
    found = fit_isotonic(np.array([0.1, 0.2, 0.4, 0.8]), np.array([0, 1, 0, 1]) > 0, np.ones(4))
    inner = [pytest.approx(pair) for pair in ((0.1, 0.25), (0.3, 0.5), (0.8, 0.75))]
    assert list(found.knots[1:-1]) == inner


def test_films_of_the_same_probability_are_one_step():
    found = fit_isotonic(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]), np.ones(3))
    assert found.knots[1:-1] == ((0.5, pytest.approx((2 / 3 + 1 / 4 + 1 / 4) / 3)),)


def test_isotonic_regression_is_for_many_films_and_what_two_numbers_cannot_mend():
    def bent(logits: np.ndarray) -> np.ndarray:
        return np.where(logits > 0, 4 * logits, 0.2 * logits)

    assert calibrate_probability(films(3000, 2, bent), 0.4).chosen.kind == ISOTONIC
    few = films(N_ISOTONIC - 1, 2, bent)
    assert calibrate_probability(few, float(few.present.mean())).chosen.kind == TEMPERATURE


def test_what_does_not_help_is_left_undone():
    of = films(400, 0)
    found = calibrate_probability(of, float(of.present.mean()))
    assert found.chosen == UNCHANGED
    assert found.brier_after == found.brier_before


def test_calibration_lowers_the_brier_score_of_films_it_has_not_seen():
    def too_sure(logits: np.ndarray) -> np.ndarray:
        return 3 * logits + 2

    of = films(900, 4, too_sure)
    found = calibrate_probability(of, float(of.present.mean()))
    assert found.brier_after.high < found.brier_before.low
    new = films(20_000, 5, too_sure)
    brier = np.mean((applied(found.chosen, new.probability) - new.present) ** 2)
    assert found.brier_after.low <= brier <= found.brier_after.high


def test_the_score_is_of_films_that_the_map_was_not_fitted_on():
    """On its own films a map would seem better than it is."""
    said, own, true = [], [], []
    new = films(5000, 1, lambda logits: 3 * logits + 2)
    for seed in range(100, 150):
        of = films(40, seed, lambda logits: 3 * logits + 2)
        found = calibrate_probability(of, float(of.present.mean()))
        said.append(found.brier_after.value)
        for scores, some in ((own, of), (true, new)):
            scores.append(np.mean((applied(found.chosen, some.probability) - some.present) ** 2))
    assert np.mean(own) < np.mean(true) - 0.005
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.01)


def test_a_patients_films_are_in_one_fold():
    of = films(300, 0)
    of = LabelledFilms("x", of.present, of.probability, np.arange(300) // 3)
    parts = list(folds(of, 0))
    assert np.sum(parts, axis=0).tolist() == [1] * 300
    for inside in parts:
        assert not set(of.patient[inside]) & set(of.patient[~inside])
        assert 0 < of.present[inside].sum() < inside.sum()


def test_of_picked_films_the_probability_is_that_of_the_sites_prevalence():
    """One in two was picked where one in twenty has it."""
    rng = np.random.default_rng(6)
    logits, present = true_probability(400_000, 6)
    present_at, absent_at = np.flatnonzero(present), np.flatnonzero(~present)
    n_present = 3000
    picked = np.r_[present_at[:n_present], rng.choice(absent_at, n_present, replace=False)]
    of = LabelledFilms("x", present[picked], sigmoid(logits[picked]), np.arange(2 * n_present))
    site = float(present.mean())
    found = calibrate_probability(of, site).chosen
    assert applied(found, sigmoid(logits[:50_000])).mean() == pytest.approx(site, abs=0.01)
    assert applied(calibrate_probability(of, 0.5).chosen, of.probability).mean() == pytest.approx(
        0.5, abs=0.01
    )
    weights = weights_for(of.present, site)
    assert weights[of.present].sum() / weights.sum() == pytest.approx(site)


@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("seed", range(5))
def test_either_scale_divides_the_films_in_the_same_way(n, seed):
    of = films(n, seed, lambda logits: 3 * logits + 1)
    point = fit_point(of, 0.9).point
    by_model = of.probability >= point.model_threshold
    by_site = applied(point.probability, of.probability) >= point.threshold.value
    assert (by_model == by_site).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "by hand"},
        {"kind": TEMPERATURE, "temperature": 0.0},
        {"kind": ISOTONIC, "knots": ((0.0, 0.0), (0.5, 0.2))},
        {"kind": ISOTONIC, "knots": ((0.0, 0.0), (0.5, 0.2), (0.6, 0.2), (1.0, 1.0))},
    ],
)
def test_a_map_that_does_not_rise_is_none(changes):
    with pytest.raises(ValueError):
        ProbabilityMap(
            **({"kind": AS_IT_IS, "temperature": 1.0, "offset": 0.0, "knots": ()} | changes)
        )


def test_a_probability_of_0_or_1_has_a_map():
    for one in (UNCHANGED, ProbabilityMap(TEMPERATURE, 0.5, 1.0, ())):
        assert 0 <= one(0.0) < 1e-9
        assert 1 - 1e-9 < one(1.0) <= 1
