"""Figures with intervals: AUROC, sensitivity, specificity, accuracy, by bootstrap over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; NaN where the films do not determine it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def auroc(present: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Area under the ROC curve by ranks, ties counted half (Mann-Whitney); NaN with one label."""
    n_present = int(present.sum())
    n_absent = len(present) - n_present
    if not n_present or not n_absent:
        return float("nan")
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[present].sum() - n_present * (n_present + 1) / 2) / (n_present * n_absent))


def sensitivity(present: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    return float(positive[present].mean()) if present.any() else float("nan")


def specificity(present: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    return float((~positive[~present]).mean()) if (~present).any() else float("nan")


def accuracy(present: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    return float((present == positive).mean())


def measure(
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    threshold: float,
    patients: Sequence[str],
    seed: int = 0,
) -> dict[str, Interval]:
    """All figures of one finding on N films, with percentile intervals over resampled patients.

    present, probability: (N,); positive is probability >= threshold.
    """
    present = np.asarray(present, bool)
    positive = probability >= threshold

    def figures(at: NDArray[np.integer] | slice) -> tuple[float, float, float, float]:
        return (
            auroc(present[at], probability[at]),
            sensitivity(present[at], positive[at]),
            specificity(present[at], positive[at]),
            accuracy(present[at], positive[at]),
        )

    _, group = np.unique(np.asarray(patients), return_inverse=True)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group))[:-1])
    rng = np.random.default_rng(seed)
    draws = [
        figures(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(N_BOOTSTRAP)
    ]
    with np.errstate(all="ignore"):
        low, high = _percentiles(np.array(draws))
    names = ("auroc", "sensitivity", "specificity", "accuracy")
    values = figures(slice(None))
    return {
        name: Interval(value, float(low[i]), float(high[i]))
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    }


def _percentiles(draws: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    """2.5 % and 97.5 % of each column; NaN for a column that was NaN in every draw."""
    result = np.full((2, draws.shape[1]), np.nan)
    for column in range(draws.shape[1]):
        valid = draws[:, column][~np.isnan(draws[:, column])]
        if len(valid):
            result[:, column] = np.percentile(valid, (2.5, 97.5))
    return result[0], result[1]
