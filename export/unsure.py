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


def fit_band(
    finding: str,
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    threshold: float,
    measured_on: str,
    coverage: float = COVERAGE,
) -> UnsureBand:
    """present, probability: (N,), of films of patients held out of training.

    Raises ExportError where there are too few films of one label for the coverage.
    """
    with_it, without = np.sort(probability[present]), np.sort(probability[~present])
    bounds = threshold, _rank(with_it, coverage, finding), -_rank(-without[::-1], coverage, finding)
    return UnsureBand(
        finding,
        float(min(bounds)),
        # Just above, since the band ends before its upper bound.
        float(min(1.0, np.nextafter(max(bounds), 2))),
        coverage,
        len(with_it),
        len(without),
        measured_on,
    )


def _rank(values: NDArray[np.floating], coverage: float, finding: str) -> float:
    """What a new value lies below with a probability of at most 1 - coverage; values: rising."""
    k = math.floor((1 - coverage) * (len(values) + 1) + 1e-9)
    if k < 1:
        needed = math.ceil(1 / (1 - coverage)) - 1
        raise ExportError(
            f"{len(values)} films of a label of {finding} are too few for a coverage of "
            f"{coverage:g}.",
            f"Give {needed} or more of each label.",
        )
    return float(values[k - 1])
