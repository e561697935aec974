"""The tests that one week's films are put to. Pure: the same counts give the same answer.

Each answers: how often would films of different patients, drawn as those of the reference were, be
so different by chance? The reference is a sample itself, of some hundred films, which is taken into
account. Several films of one patient in a week make an alarm more frequent than is said.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_SEED = 0
# As often as so many draws already say that it is chance, no more are needed.
_FEW_DRAWS, _CHANCE = 199, 0.1
_N_STEPS = 60
_TINY = 1e-300
# Sums of logarithms that are equal but for their rounding.
_ROUNDING = 1e-7


class Tested(NamedTuple):
    """p: how often chance alone gives such a statistic or a larger one; never 0."""

    statistic: float
    p: float


# Weeks that are over do not change, and are asked for again and again.
@lru_cache(maxsize=256)
def mixture_test(
    week: tuple[int, ...], present: tuple[int, ...], absent: tuple[int, ...], n_draws: int
) -> Tested:
    """Whether a week's scores can be some mix of those of films with the finding and without, in
    whatever part: how frequent a finding is at a site is no drift.

    week, present, absent: counts (B,) in the same bins, none of the three empty. The statistic is
    twice the logarithm of the likelihood ratio (Wilks 1938) of three histograms of their own and
    two of which the third is a mix; its distribution is that of samples drawn from the fitted
    mix, each fitted anew (parametric bootstrap: McLachlan 1987, 10.2307/2347790), as counts as
    small as these follow no chi-squared one.
    """
    counts = np.array([present, absent, week], float)[..., np.newaxis]  # (3, B, 1)
    sizes = counts.sum(axis=1, dtype=int)[:, 0]
    fitted = _fitted_mix(counts)[..., 0]  # (3, B)
    statistic = _likelihood_ratio(counts)[0]

    def drawn(rng: np.random.Generator, n: int) -> _Floats:
        # numpy looks whether each row's sum is 1.
        rows = [
            rng.multinomial(size, row / row.sum(), n).T
            for size, row in zip(sizes, fitted, strict=True)
        ]
        return _likelihood_ratio(np.array(rows, float))

    return _by_draws(statistic, drawn, n_draws)


def larger_test(week: Sequence[int], reference: Sequence[int], n_draws: int) -> Tested:
    """Whether a week's distances are larger than the reference's, all or some of them.

    week, reference: counts (B,) in the same bins, from small to large, neither empty. A rank test
    with exponential scores (Savage 1956, 10.1214/aoms/1177728173), which sees both all distances
    grow and a part of the films lie far out; the statistic is its normal deviate. Its distribution
    is that of all ways to divide the films into the two groups (multivariate hypergeometric).
    """
    of_week, of_both = np.array(week), np.add(week, reference)
    n_week, n_both = int(of_week.sum()), int(of_both.sum())
    scores = _exponential_scores(of_both)  # (B,), their mean is 1
    spread = float(np.sqrt(np.sum(of_both * (scores - 1) ** 2) / n_both))
    scale = spread * np.sqrt(n_week * (1 - n_week / n_both)) + _TINY

    def drawn(rng: np.random.Generator, n: int) -> _Floats:
        weeks = rng.multivariate_hypergeometric(of_both, n_week, n, method="marginals")
        deviates: _Floats = (weeks @ scores - n_week) / scale
        return deviates

    return _by_draws(float(of_week @ scores - n_week) / scale, drawn, n_draws)


def more_often_test(n_hits: int, n: int, reference_hits: int, reference_n: int) -> Tested:
    """Whether something is more frequent in a week than in the reference: Fisher's exact test
    (1935), one-sided; the statistic is the difference of the two parts."""
    logs = np.concatenate(([0.0], np.log(np.arange(1, n + reference_n + 1)).cumsum()))

    def ways(of: int, k: NDArray[np.int_]) -> _Floats:
        found: _Floats = logs[of] - logs[k] - logs[of - k]
        return found

    hits = n_hits + reference_hits
    k = np.arange(n_hits, min(n, hits) + 1)
    chances = np.exp(
        ways(n, k) + ways(reference_n, hits - k) - ways(n + reference_n, np.array(hits))
    )
    part = n_hits / max(n, 1) - reference_hits / max(reference_n, 1)
    return Tested(part, float(np.clip(chances.sum(), _TINY, 1)))


def _by_draws(
    statistic: float, drawn: Callable[[np.random.Generator, int], _Floats], n_draws: int
) -> Tested:
    """The Monte-Carlo p-value (Barnard 1963; Davison & Hinkley 1997, 4.11). Drawing few first makes
    none smaller, as p is that of n_draws wherever it is _CHANCE or less."""
    rng = np.random.default_rng(_SEED)
    p = 1.0
    for n in (_FEW_DRAWS, n_draws):
        n_as_large = int(np.sum(drawn(rng, n) >= statistic - _ROUNDING))
        p = (1 + n_as_large) / (n + 1)
        if p > _CHANCE:
            break
    return Tested(statistic, p)


def _fitted_mix(counts: _Floats) -> _Floats:
    """The most likely distributions of which the third is a mix of the other two, by
    expectation-maximisation (Dempster, Laird & Rubin 1977).

    counts: (3, B, N), N times. Returns the same shape; each (B,) has the sum 1.
    """
    present, absent, week = counts
    n_present, n_absent, n_week = counts.sum(axis=1)  # (N,) each
    # From both alike, with some of what the week has where the reference has none.
    begin = counts.sum(axis=0) / counts.sum(axis=(0, 1))
    with_it = (present + begin) / (n_present + 1)
    without = (absent + begin) / (n_absent + 1)
    part = np.full_like(n_week, 0.5)
    for _ in range(_N_STEPS):
        in_part = part * with_it
        theirs = week * in_part / (in_part + (1 - part) * without + _TINY)
        n_theirs = theirs.sum(axis=0)
        with_it = (present + theirs) / (n_present + n_theirs)
        # Nothing below 0 by its rounding.
        without = (absent + np.maximum(week - theirs, 0)) / (n_absent + n_week - n_theirs)
        part = np.minimum(n_theirs / n_week, 1)
    return np.array([with_it, without, part * with_it + (1 - part) * without])


def _likelihood_ratio(counts: _Floats) -> _Floats:
    """counts: (3, B, N). Returns (N,)."""
    own = counts / counts.sum(axis=1, keepdims=True)
    terms = counts * (np.log(own + _TINY) - np.log(_fitted_mix(counts) + _TINY))
    ratio: _Floats = 2 * terms.sum(axis=(0, 1))
    return ratio


def _exponential_scores(counts: NDArray[np.int_]) -> _Floats:
    """The expected values of so many films' ranks, were they exponential; the mean over each bin.

    counts: (B,). Returns (B,).
    """
    n = int(counts.sum())
    sums = np.concatenate(([0.0], np.cumsum(np.cumsum(1 / np.arange(n, 0, -1.0)))))
    ends = counts.cumsum()
    scores: _Floats = (sums[ends] - sums[ends - counts]) / np.maximum(counts, 1)
    return scores
