"""The bins that films are counted in."""

import numpy as np
from numpy.typing import NDArray

from .model_card import N_DISTANCE_BINS, N_SCORE_BINS

_Floats = NDArray[np.floating]


def binned(probability: _Floats, n_bins: int) -> NDArray[np.int64]:
    """Which bin of equal width from 0 to 1 each probability (N,) falls in; 1 is in the last."""
    return np.clip(np.asarray(probability * n_bins, np.int64), 0, n_bins - 1)


def score_counts(probability: _Floats) -> tuple[int, ...]:
    """How many probabilities (N,) lie in each of N_SCORE_BINS; see model_card.FindingScores."""
    return _counts(binned(probability, N_SCORE_BINS), N_SCORE_BINS)


def deciles(distance: _Floats) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges that part some distances (N,) into N_DISTANCE_BINS of as many each, and how many lie in
    each."""
    parts = np.arange(1, N_DISTANCE_BINS) / N_DISTANCE_BINS
    edges = np.quantile(distance, parts).round(5)
    counts = _counts(np.digitize(distance, edges), N_DISTANCE_BINS)
    return tuple(float(edge) for edge in edges), counts


def _counts(which: NDArray[np.integer], n_bins: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(which, minlength=n_bins))
