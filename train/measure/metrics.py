"""Figures with intervals, by bootstrap over patients.

Every figure is written for weighted films, so that a thousand resamples of the patients are one
array of weights, and a figure of the films themselves is the one where each weighs 1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_edge.bins import binned

N_BOOTSTRAP = 1000
N_BINS = 15  # of the expected calibration error, as in Guo et al. 2017
_DRAWS_AT_ONCE = 50  # keeps the weights of 6,000 films within the processor's cache

_Floats = NDArray[np.floating]
_Bools = NDArray[np.bool_]
# Weights (D, N) of D resamples to D values.
_Figure = Callable[[_Floats], _Floats]
# Whether a finding is there, its probability and the films' weights (None: 1) to a curve's x and y.
Curve = Callable[[_Bools, _Floats, _Floats | None], tuple[_Floats, _Floats]]

FINDING_FIGURES = (
    "auroc",
    "sensitivity",
    "specificity",
    "accuracy",
    "auprc",
    "balanced accuracy",
    "brier",
    "ece",
)
LABEL_FIGURES = ("accuracy", "balanced accuracy", "macro auroc", "brier", "ece")


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; NaN where the films do not determine it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "not determined"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def auroc(present: _Bools, probability: _Floats) -> float:
    """Area under the ROC curve by ranks, ties counted half (Mann-Whitney); NaN with one label.

    present, probability: (N,), as in all that follow.
    """
    return _once(_auroc(present, probability), len(present))


def average_precision(present: _Bools, probability: _Floats) -> float:
    """Area under the precision-recall curve in steps: precision, weighted by the gain in recall.

    Films of the same probability are one step. An answer that says nothing has the prevalence.
    NaN where the finding is in no film.
    """
    return _once(_average_precision(present, probability), len(present))


def sensitivity(present: _Bools, positive: _Bools) -> float:
    return _once(_part(positive, present), len(present))


def specificity(present: _Bools, positive: _Bools) -> float:
    return _once(_part(~positive, ~present), len(present))


def accuracy(present: _Bools, positive: _Bools) -> float:
    return _once(_mean(present == positive), len(present))


def balanced_accuracy(present: _Bools, positive: _Bools) -> float:
    """The mean of sensitivity and specificity: 0.5 for an answer that says nothing."""
    return (sensitivity(present, positive) + specificity(present, positive)) / 2


def brier(present: _Bools, probability: _Floats) -> float:
    """The mean squared error of the probability (Brier 1950): 0 at best, 1 at worst."""
    return _once(_mean((probability - present) ** 2), len(present))


def expected_calibration_error(happened: _Bools, probability: _Floats) -> float:
    """How far stated probabilities are from what happens, the mean over films.

    In 15 bins of equal width: |mean probability - frequency| (Naeini et al. 2015; Guo et al. 2017,
    arXiv:1706.04599).
    """
    return _once(_calibration_error(happened, probability), len(happened))


def measure(
    present: _Bools,
    probability: _Floats,
    threshold: float,
    patients: Sequence[str],
    seed: int = 0,
) -> dict[str, Interval]:
    """All figures of one finding (FINDING_FIGURES) on N films, with 95 % percentile intervals over
    resampled patients.

    present, probability, patients: (N,); positive is probability >= threshold.
    """
    return measure_decisions(present, probability, probability >= threshold, patients, seed)


def measure_decisions(
    present: _Bools,
    probability: _Floats,
    positive: _Bools,
    patients: Sequence[str],
    seed: int = 0,
) -> dict[str, Interval]:
    """As `measure`, for films that were judged by another rule than one threshold."""
    present, positive = np.asarray(present, bool), np.asarray(positive, bool)
    found, passed = _part(positive, present), _part(~positive, ~present)
    figures: tuple[_Figure, ...] = (
        _auroc(present, probability),
        found,
        passed,
        _mean(present == positive),
        _average_precision(present, probability),
        lambda weights: (found(weights) + passed(weights)) / 2,
        _mean((probability - present) ** 2),
        _calibration_error(present, probability),
    )
    return _intervals(FINDING_FIGURES, figures, patients, seed)


def measure_labels(
    true: NDArray[np.integer],
    decided: NDArray[np.integer],
    probability: _Floats,
    patients: Sequence[str],
    seed: int = 0,
) -> dict[str, Interval]:
    """Figures over labels of which each film has one (LABEL_FIGURES), with intervals as above.

    true, decided: (N,), columns of probability (N, K).
    "balanced accuracy" is the mean over labels of the part of their films that is recognised, and
    "macro auroc" the mean of each label's AUROC against all others, both over labels that some film
    has. "brier" is the squared error summed over the labels (Brier 1950), from 0 to 2. "ece" is
    that of the decided label's probability.
    """
    n_labels = probability.shape[1]
    is_true = true[:, np.newaxis] == np.arange(n_labels)  # (N, K)
    right = true == decided
    of_label = [_part(right, is_true[:, k]) for k in range(n_labels)]
    areas = [_auroc(is_true[:, k], probability[:, k]) for k in range(n_labels)]
    figures: tuple[_Figure, ...] = (
        _mean(right),
        lambda weights: _mean_where_known([figure(weights) for figure in of_label]),
        lambda weights: _mean_where_known([figure(weights) for figure in areas]),
        _mean(((probability - is_true) ** 2).sum(1)),
        _calibration_error(right, probability[np.arange(len(true)), decided]),
    )
    return _intervals(LABEL_FIGURES, figures, patients, seed)


def measure_part(
    hit: _Bools, patients: Sequence[str], among: _Bools | None = None, seed: int = 0
) -> Interval:
    """The part of N films, or of those `among` them, that is hit; with an interval as above.

    hit, patients, among: (N,).
    """
    films = np.ones(len(hit), bool) if among is None else among
    return _intervals(("part",), (_part(hit, films),), patients, seed)["part"]


def confusion(
    true: Sequence[str], decided: Sequence[str], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Films by true label (rows) and decided label (columns): (L, L)."""
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for t, d in zip(true, decided, strict=True):
        counts[place[t], place[d]] += 1
    return counts


def roc_curve(
    present: _Bools, probability: _Floats, weights: _Floats | None = None
) -> tuple[_Floats, _Floats]:
    """The part of false alarms and the sensitivity at each threshold, from (0, 0) to (1, 1)."""
    with_finding, without = _cumulated(present, probability, weights)
    return without / without[-1], with_finding / with_finding[-1]


def precision_recall_curve(
    present: _Bools, probability: _Floats, weights: _Floats | None = None
) -> tuple[_Floats, _Floats]:
    """The sensitivity (recall), rising from 0 to 1, and the precision there."""
    with_finding, without = _cumulated(present, probability, weights)
    precision = with_finding[1:] / (with_finding[1:] + without[1:])
    return with_finding / with_finding[-1], np.r_[precision[:1], precision]


def reliability(
    happened: _Bools, probability: _Floats, n_bins: int = N_BINS
) -> tuple[_Floats, _Floats, NDArray[np.int64]]:
    """By bin of equal width: the mean probability, how often it happened (NaN where there is no
    film), and the number of films.
    """
    at = binned(probability, n_bins)
    counts = np.bincount(at, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        stated = np.bincount(at, probability, n_bins) / counts
        seen = np.bincount(at, np.asarray(happened, float), n_bins) / counts
    return stated, seen, counts


def resampled(
    patients: Sequence[str], n_draws: int = N_BOOTSTRAP, seed: int = 0
) -> Iterator[_Floats]:
    """Weights (D, N) of the films in resamples of the patients, n_draws rows in all.

    A film counts as often as its patient was drawn: films of one patient are no independent
    witnesses.
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    n_patients = int(patient.max()) + 1
    rng = np.random.default_rng(seed)
    for start in range(0, n_draws, _DRAWS_AT_ONCE):
        drawn = [
            np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
            for _ in range(min(_DRAWS_AT_ONCE, n_draws - start))
        ]
        yield np.array(drawn, float)[:, patient]


def curve_band(
    curve: Curve,
    present: _Bools,
    probability: _Floats,
    patients: Sequence[str],
    grid: _Floats,
    n_draws: int,
) -> tuple[_Floats, _Floats]:
    """Where the middle 95 % of a curve lies, over resampled patients: low and high at each point of
    the grid (G,). Only resamples with both labels count; NaN where there are none.
    """
    drawn = [
        np.interp(grid, *curve(present, probability, one))
        for weights in resampled(patients, n_draws)
        for one in weights
        if 0 < one @ present < one.sum()
    ]
    if not drawn:
        return np.full(len(grid), np.nan), np.full(len(grid), np.nan)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return low, high


def _intervals(
    names: Sequence[str], figures: Sequence[_Figure], patients: Sequence[str], seed: int
) -> dict[str, Interval]:
    values = [_once(figure, len(patients)) for figure in figures]
    draws = np.concatenate(
        [
            np.stack([figure(weights) for figure in figures], 1)
            for weights in resampled(patients, seed=seed)
        ]
    )
    return {
        name: _interval(value, draws[:, i], name == "ece")
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    }


def _interval(value: float, draws: _Floats, swells: bool) -> Interval:
    """2.5 % and 97.5 % of the draws that determine the figure; NaN where none does.

    swells: the figure is a sum of distances, which grows by the noise that resampling adds. Its
    draws lie around a higher value than the films' own and are moved back by as much.
    """
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Interval(value, float("nan"), float("nan"))
    if swells:
        known = np.maximum(known - (known.mean() - value), 0)
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def _once(figure: _Figure, n_films: int) -> float:
    return float(figure(np.ones((1, n_films)))[0])


def _ratio(part: _Floats, whole: _Floats) -> _Floats:
    """part / whole, NaN where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _mean(values: NDArray[np.generic]) -> _Figure:
    numbers = np.asarray(values, float)
    return lambda weights: _ratio(weights @ numbers, weights.sum(1))


def _part(hit: _Bools, among: _Bools) -> _Figure:
    """The part of the films `among` that is hit."""
    hits, all_of_them = np.asarray(hit & among, float), np.asarray(among, float)
    return lambda weights: _ratio(weights @ hits, weights @ all_of_them)


def _mean_where_known(values: Sequence[_Floats]) -> _Floats:
    table = np.stack(values)  # (K, D)
    known = ~np.isnan(table)
    return _ratio(np.where(known, table, 0).sum(0), known.sum(0))


def _by_level(present: _Bools, probability: _Floats) -> _Figure:
    """Weights to those with and without the finding (2, D, L), by rising level of probability."""
    order = np.argsort(probability, kind="stable")
    ranked, here = probability[order], np.asarray(present, bool)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])

    def sums(weights: _Floats) -> _Floats:
        ordered = weights[:, order]
        return np.stack([np.add.reduceat(ordered * part, starts, axis=1) for part in (here, ~here)])

    return sums


def _auroc(present: _Bools, probability: _Floats) -> _Figure:
    levels = _by_level(present, probability)

    def figure(weights: _Floats) -> _Floats:
        with_finding, without = levels(weights)
        below = without.cumsum(1) - without / 2  # its own level counts half
        return _ratio((with_finding * below).sum(1), with_finding.sum(1) * without.sum(1))

    return figure


def _average_precision(present: _Bools, probability: _Floats) -> _Figure:
    levels = _by_level(present, -np.asarray(probability))

    def figure(weights: _Floats) -> _Floats:
        with_finding, without = levels(weights)
        found = with_finding.cumsum(1)
        # Levels that a resample leaves empty gain no recall, whatever their precision.
        precision = found / np.maximum(found + without.cumsum(1), 1e-9)
        return _ratio((with_finding * precision).sum(1), found[:, -1])

    return figure


def _calibration_error(happened: _Bools, probability: _Floats) -> _Figure:
    excess = np.asarray(probability, float) - happened
    in_bin = np.zeros((len(excess), N_BINS))
    in_bin[np.arange(len(excess)), binned(probability, N_BINS)] = excess
    return lambda weights: _ratio(np.abs(weights @ in_bin).sum(1), weights.sum(1))


def _cumulated(
    present: _Bools, probability: _Floats, weights: _Floats | None
) -> tuple[_Floats, _Floats]:
    """Films with and without the finding from the highest probability down, each from 0 on."""
    weights = np.ones(len(present)) if weights is None else weights
    some = weights > 0
    sums = _by_level(np.asarray(present)[some], -np.asarray(probability)[some])
    with_finding, without = sums(weights[np.newaxis, some])[:, 0]
    return np.r_[0, with_finding.cumsum()], np.r_[0, without.cumsum()]
