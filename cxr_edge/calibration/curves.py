"""What the pictures of a site's films are drawn from, as web.charts takes it."""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..bins import binned, score_counts
from ..evidence import (
    BandPoint,
    FindingEvidence,
    OperatingFigures,
    ReliabilityBin,
    RocPoint,
)
from ..proportion import wilson
from .fit import Fitted
from .probability import applied
from .resample import interval_of, resampled

_N_DRAWS = 500
_N_BINS = 10
_GRID = np.linspace(0, 1, 101)

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]


def evidence_of(fitted: Fitted) -> FindingEvidence:
    """Of the site's probability; its reliability is that of films that the map was not fitted on.

    The band and the intervals are of resampled patients.
    """
    films, point = fitted.films, fitted.point
    probability = applied(point.probability, films.probability)
    held_out = fitted.calibrated.held_out
    bands, areas, errors = [], [], []
    for times in chain.from_iterable(resampled(films.patient, _N_DRAWS)):
        errors.append(_calibration_error(films.present, held_out, times))
        if 0 < times @ films.present < times.sum():
            drawn = _roc(films.present, probability, times)
            bands.append(np.interp(_GRID, *drawn))
            areas.append(_area(*drawn))
    low, high = np.percentile(bands, (2.5, 97.5), axis=0)
    once = np.ones(len(probability))
    curve = _roc(films.present, probability, once)
    return FindingEvidence(
        finding=films.finding,
        n_present=point.n_present,
        n_absent=point.n_absent,
        auroc=interval_of(_area(*curve), np.array(areas)),
        roc=tuple(RocPoint(*one) for one in np.stack(curve, 1).tolist()),
        roc_band=tuple(BandPoint(*one) for one in np.stack([_GRID, low, high], 1).tolist()),
        operating_point=OperatingFigures(
            point.threshold.value, point.sensitivity, point.specificity
        ),
        reliability=reliability_bins(films.present, held_out),
        brier=point.brier_after,
        ece=interval_of(_calibration_error(films.present, held_out, once), np.array(errors)),
        scores_present=score_counts(probability[films.present]),
        scores_absent=score_counts(probability[~films.present]),
    )


def reliability_bins(present: _Bools, probability: _Floats) -> tuple[ReliabilityBin, ...]:
    """In bins of equal width: how often the finding is there, of films with about that
    probability."""
    at = binned(probability, _N_BINS)
    bins = []
    for number in np.unique(at):
        inside = at == number
        seen, n = float(present[inside].mean()), int(inside.sum())
        bins.append(ReliabilityBin(n, float(probability[inside].mean()), seen, *wilson(seen, n)))
    return tuple(bins)


def _roc(present: _Bools, probability: _Floats, times: _Floats) -> tuple[_Floats, _Floats]:
    """False alarms and sensitivity at each threshold, from (0, 0) to (1, 1); films of the same
    probability are one step. times: (N,), how often each film counts."""
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=np.inf))
    hits, alarms = (
        np.add.reduceat((times * among)[order], starts).cumsum() for among in (present, ~present)
    )
    return np.r_[0, alarms / alarms[-1]], np.r_[0, hits / hits[-1]]


def _area(x: _Floats, y: _Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _calibration_error(present: _Bools, probability: _Floats, times: _Floats) -> float:
    """How far stated probabilities are from what is there, the mean over films (Naeini et al.
    2015)."""
    excess = times * (probability - present)
    sums = np.bincount(binned(probability, _N_BINS), excess, _N_BINS)
    return float(np.abs(sums).sum() / times.sum())
