"""Whether acting on a model's probabilities does more good than acting on all films, or on none.

Vickers & Elkin 2006 (10.1177/0272989X06295361): someone who acts from a probability of t on holds
one film missed to be as bad as (1 - t) / t films acted on for nothing. Counted in films with the
finding, what is gained is their part that is acted on, less t / (1 - t) times the part of all films
that is acted on for nothing: the net benefit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics import resampled

_N_DRAWS = 500
THRESHOLDS = np.linspace(0.01, 0.99, 99)

_Floats = NDArray[np.floating]
_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit by threshold (T,): of the model with its 95 % interval over resampled patients,
    and of acting on all films; acting on none has 0.
    """

    thresholds: _Floats
    model: _Floats
    low: _Floats
    high: _Floats
    everyone: _Floats

    def at(self, threshold: float) -> int:
        """The place of the nearest threshold."""
        return int(np.abs(self.thresholds - threshold).argmin())


def decision_curve(
    present: _Bools,
    probability: _Floats,
    patients: Sequence[str],
    thresholds: _Floats = THRESHOLDS,
) -> DecisionCurve:
    """present, probability, patients: (N,); thresholds: above 0 and below 1."""
    positive = probability[:, np.newaxis] >= thresholds  # (N, T)
    draws = np.concatenate(
        [
            net_benefit(present, positive, thresholds, weights)
            for weights in resampled(patients, _N_DRAWS)
        ]
    )
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    once = np.ones((1, len(present)))
    return DecisionCurve(
        thresholds,
        net_benefit(present, positive, thresholds, once)[0],
        low,
        high,
        net_benefit(present, np.ones_like(positive), thresholds, once)[0],
    )


def net_benefit(
    present: _Bools, positive: _Bools, thresholds: _Floats, weights: _Floats
) -> _Floats:
    """Of D resamples with these weights (D, N): (D, T). positive: which films are acted on (N, T)
    by each threshold."""
    found = weights @ (positive & present[:, np.newaxis])
    for_nothing = weights @ (positive & ~present[:, np.newaxis])
    odds = thresholds / (1 - thresholds)
    return (found - odds * for_nothing) / weights.sum(1, keepdims=True)
