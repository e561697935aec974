"""Intervals by resampling patients: films of one patient are no independent witnesses."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval

N_DRAWS = 2000
_AT_ONCE = 50


def resampled(
    patient: NDArray[np.intp], n_draws: int = N_DRAWS, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often each film, (N,), is there in resamples of as many patients: (D, N) at a time,
    n_draws rows in all.

    patient: (N,), numbers from 0 on.
    """
    numbers, number_of = np.unique(patient, return_inverse=True)
    rng = np.random.default_rng(seed)
    for start in range(0, n_draws, _AT_ONCE):
        n = min(_AT_ONCE, n_draws - start)
        yield rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), n)[
            :, number_of
        ].astype(float)


def interval_of(value: float, draws: NDArray[np.float64]) -> Interval:
    """The value with the middle 95 % of what it is in resamples; of those that determine it."""
    known = draws[~np.isnan(draws)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (value, value)
    return Interval(value, float(low), float(high))
