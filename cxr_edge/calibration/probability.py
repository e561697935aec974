"""A site's probability: the model's, so changed that of the films with 0.3 three in ten have it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval
from ..profile import AS_IT_IS, ISOTONIC, TEMPERATURE, UNCHANGED, ProbabilityMap
from .films import LabelledFilms
from .resample import interval_of, resampled

# Below about a thousand films isotonic regression learns their accidents by heart and is worse than
# two numbers (Niculescu-Mizil & Caruana 2005, figure 8); of the rarer label it needs some, too.
N_ISOTONIC, N_ISOTONIC_EACH = 1000, 100
N_FOLDS = 10
_N_STEPS = 100

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """chosen: the map. held_out: (N,) the site's probability of each film by a map of its kind that
    was fitted without the film's patient. brier_before, brier_after: of the model's probability,
    and of held_out."""

    chosen: ProbabilityMap
    held_out: _Floats
    brier_before: Interval
    brier_after: Interval


def calibrate_probability(films: LabelledFilms, prevalence: float, seed: int = 0) -> Calibrated:
    """The map with the least log loss in N_FOLDS-fold cross-validation by patient.

    "as it is" is among them; isotonic regression only from N_ISOTONIC films on, N_ISOTONIC_EACH
    with and as many without the finding. prevalence: of the site; where it is not that of the films
    they are weighted so that it is, in the fits and the figures.
    """
    weights = weights_for(films.present, prevalence)
    n_each = np.bincount(films.present, minlength=2)
    kinds = [AS_IT_IS, TEMPERATURE]
    if len(films.present) >= N_ISOTONIC and n_each.min() >= N_ISOTONIC_EACH:
        kinds.append(ISOTONIC)
    held_out = {kind: np.empty(len(films.present)) for kind in kinds}
    for inside in folds(films, seed):
        rest = ~inside
        for kind in kinds:
            one = _fitted(kind, films.probability[rest], films.present[rest], weights[rest])
            held_out[kind][inside] = applied(one, films.probability[inside])
    losses = {kind: _log_loss(films.present, held_out[kind], weights) for kind in kinds}
    best = min(kinds, key=lambda kind: losses[kind])
    chosen = _fitted(best, films.probability, films.present, weights)
    return Calibrated(
        chosen,
        held_out[best],
        _brier(films, held_out[AS_IT_IS], weights, seed),
        _brier(films, held_out[best], weights, seed),
    )


def weights_for(present: _Bools, prevalence: float) -> _Floats:
    """Of films, (N,), so that the part `prevalence` of their weight has the finding; 1 in the
    mean."""
    part = float(present.mean())
    return np.asarray(np.where(present, prevalence / part, (1 - prevalence) / (1 - part)))


def applied(one: ProbabilityMap, probability: _Floats) -> _Floats:
    """The map of each of them, (N,)."""
    return np.array([one(value) for value in probability.tolist()])


def folds(films: LabelledFilms, seed: int, n_folds: int = N_FOLDS) -> Iterator[_Bools]:
    """Which films, (N,), are in each fold: all of a patient in one, those with the finding spread
    evenly."""
    rng = np.random.default_rng(seed)
    fold_of = np.empty(films.patient.max() + 1, int)
    having = np.isin(np.arange(len(fold_of)), films.patient[films.present])
    for some in (having, ~having):
        patients = rng.permutation(np.flatnonzero(some))
        fold_of[patients] = np.arange(len(patients)) % n_folds
    for number in range(n_folds):
        inside = fold_of[films.patient] == number
        if inside.any():
            yield inside


def fit_temperature(probability: _Floats, present: _Bools, weights: _Floats) -> ProbabilityMap:
    """Two numbers, by the least log loss (Platt 1999; Newton's steps as in Lin, Lin & Weng 2007).

    Labels are drawn towards the middle as Platt does it, so that films that the model tells apart
    without a mistake do not make it sure of everything. Where the probability does not rise with
    the finding, nothing can be calibrated, and it stays as it is.
    """
    x = np.stack([np.log(_inner(probability) / (1 - _inner(probability))), np.ones(len(present))])
    target = _drawn_in(present)
    at = np.array([1.0, 0.0])  # 1 / temperature, offset
    loss = _loss_at(at, x, target, weights)
    for _ in range(_N_STEPS):
        said = _sigmoid(at @ x)
        slope = x @ (weights * (said - target))
        bend = (x * (weights * said * (1 - said))) @ x.T + 1e-10 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        size = 1.0
        while (new := _loss_at(at - size * step, x, target, weights)) > loss and size > 1e-10:
            size /= 2
        if new > loss or np.abs(size * step).max() < 1e-10:
            break
        at, loss = at - size * step, new
    if not at[0] > 0:
        return UNCHANGED
    return ProbabilityMap(TEMPERATURE, float(1 / at[0]), float(at[1]), ())


def fit_isotonic(probability: _Floats, present: _Bools, weights: _Floats) -> ProbabilityMap:
    """The rising steps of the least squared error (Zadrozny & Elkan 2002; pool adjacent violators),
    joined by straight lines between the middles of the steps, so that no two films become alike
    (centred isotonic regression: Oron & Flournoy 2017).

    Labels are drawn towards the middle as in `fit_temperature`, so that no step is at 0 or 1.
    """
    order = np.argsort(probability, kind="stable")
    x, starts = np.unique(probability[order], return_index=True)
    w = np.add.reduceat(weights[order], starts)
    y = np.add.reduceat((weights * _drawn_in(present))[order], starts) / w
    steps: list[tuple[float, float, float]] = []  # weight, mean of x, mean of y
    for one in zip(w.tolist(), x.tolist(), y.tolist(), strict=True):
        step = one
        while steps and steps[-1][2] >= step[2]:
            step = _pooled(steps.pop(), step)
        steps.append(step)
    knots = [(0.0, 0.0)]
    for _, x_mean, y_mean in steps:
        if knots[-1][0] < x_mean < 1:  # two that are as near as rounding are one
            knots.append((x_mean, y_mean))
    return ProbabilityMap(ISOTONIC, 1.0, 0.0, (*knots, (1.0, 1.0)))


def _pooled(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float, float]:
    w = one[0] + other[0]
    return (
        w,
        (one[0] * one[1] + other[0] * other[1]) / w,
        (one[0] * one[2] + other[0] * other[2]) / w,
    )


def _fitted(kind: str, probability: _Floats, present: _Bools, weights: _Floats) -> ProbabilityMap:
    if kind == AS_IT_IS or present.all() or not present.any():
        return UNCHANGED
    fit = fit_temperature if kind == TEMPERATURE else fit_isotonic
    return fit(probability, present, weights)


def _drawn_in(present: _Bools) -> _Floats:
    """(n + 1) / (n + 2) of n films with the finding, 1 / (n + 2) of n without (Platt 1999)."""
    n_absent, n_present = np.bincount(present, minlength=2)
    return np.asarray(np.where(present, (n_present + 1) / (n_present + 2), 1 / (n_absent + 2)))


def _inner(probability: _Floats) -> _Floats:
    """Nowhere nearer to 0 or 1 than profile.logit lets it be."""
    return np.asarray(np.clip(probability, 1e-15, 1 - 1e-15))


def _sigmoid(z: _Floats) -> _Floats:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def _loss_at(at: _Floats, x: _Floats, target: _Floats, weights: _Floats) -> float:
    z = at @ x
    return float((weights * (np.logaddexp(0, z) - target * z)).sum())


def _log_loss(present: _Bools, probability: _Floats, weights: _Floats) -> float:
    said = np.where(present, probability, 1 - probability)
    return float(-(weights * np.log(np.maximum(said, 1e-15))).mean())


def _brier(films: LabelledFilms, probability: _Floats, weights: _Floats, seed: int) -> Interval:
    """The mean squared error (Brier 1950), with its interval over resampled patients."""
    error = weights * (probability - films.present) ** 2
    draws = [(times @ error) / (times @ weights) for times in resampled(films.patient, seed=seed)]
    return interval_of(float(error.mean()), np.concatenate(draws))
