"""The unsure band of a finding: split conformal prediction, for each label by itself.

Of n films with the finding, of patients held out of training, the k-th lowest probability is such
that a new one lies below it with a probability of at most k / (n + 1), as long as it is drawn like
them (Vovk, Gammerman, Shafer 2005; for each label by itself: Vovk 2012, arXiv:1209.2673). The same
from above for films without it. A film between the two bounds fits both labels, or neither: it is
unsure. The band also holds the threshold, so that it lies around the operating point.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cxr_edge.model_card import UnsureBand

from .errors import ExportError

COVERAGE = 0.98
_EPSILON = 1e-9  # 1 - 0.9 is a little less than 0.1


def fit_band(
    finding: str,
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    threshold: float,
    measured_on: str,
    coverage: float = COVERAGE,
) -> UnsureBand:
    """present, probability: (N,), of films of patients held out of training.

    Raises ExportError: see check_enough.
    """
    with_it, without = np.sort(probability[present]), np.sort(probability[~present])
    check_enough(finding, len(with_it), len(without), coverage)
    lowest = float(with_it[_rank(len(with_it), coverage) - 1])
    highest = float(without[-_rank(len(without), coverage)])
    return UnsureBand(
        finding,
        min(threshold, lowest, highest),
        # Just above, since the band ends before its upper bound.
        min(1.0, math.nextafter(max(threshold, lowest, highest), 2)),
        coverage,
        len(with_it),
        len(without),
        measured_on,
    )


def check_enough(finding: str, n_present: int, n_absent: int, coverage: float) -> None:
    """Raises ExportError where there are too few films with the finding, or without it, for any
    band to have that coverage."""
    for n_films, what in ((n_present, "with"), (n_absent, "without")):
        if _rank(n_films, coverage) < 1:
            needed = math.ceil(1 / (1 - coverage) - _EPSILON) - 1
            raise ExportError(
                f"{n_films} validation films {what} {finding} are too few for a coverage of "
                f"{coverage:g}.",
                f"Give {needed} or more, or ask for less with --coverage.",
            )


def _rank(n_films: int, coverage: float) -> int:
    """k, such that the k-th of n_films from the end is passed by too few; 0: there is none."""
    return math.floor((1 - coverage) * (n_films + 1) + _EPSILON)
