"""The operating point of a finding at a site, with what it gives there.

The threshold is an order statistic, as in split conformal prediction (Vovk, Gammerman & Shafer
2005): of n films with the finding, the k-th lowest probability, k = floor((n + 1)(1 - target)). A
further such film lies below it with a probability of k / (n + 1), which is 1 - target at most,
whatever the probabilities are like; in the mean over all the lists of labels that a site might have
made its sensitivity is the target at least. Fewer than 1 / (1 - target) - 1 films can promise
nothing.

Figures are of films that the threshold was not chosen on: each film is judged by the one that the
films of all other patients give. Films without the finding have no part in choosing it.
"""

from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from ..evidence import Interval
from ..language import Message
from ..model_card import UnsureBand
from ..profile import OWN_FILMS, ProbabilityMap, SitePoint
from ..proportion import wilson
from .films import LabelledFilms
from .probability import Calibrated, applied, calibrate_probability
from .resample import N_DRAWS, interval_of, resampled

COVERAGE = 0.95  # of the unsure band, where the model's card has none
_N_POSTERIOR = 20_000

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fitted:
    """point: what is kept. films, calibrated: what it was made from."""

    point: SitePoint
    films: LabelledFilms
    calibrated: Calibrated


def fit_point(
    films: LabelledFilms,
    target: float,
    prevalence: float | None = None,
    of_card: UnsureBand | None = None,
    seed: int = 0,
) -> Fitted:
    """The operating point of one finding for a sensitivity of `target`.

    prevalence: of the site, where the films were picked; None: theirs is the site's. of_card: the
    unsure band of the model's card, whose coverage is kept, and which stays where there are too few
    films for one of the site's own.
    Raises SettingsError: the films cannot tell.
    """
    _refuse_too_few(films, target)
    site = float(films.present.mean()) if prevalence is None else prevalence
    threshold = threshold_for(films.probability[films.present], target)
    drawn = _thresholds(films, target, seed)
    calibrated = calibrate_probability(films, site, seed)
    to_site = calibrated.chosen
    positive = judged_by_others(films, target)
    sensitivity = _part(positive, films.present, films.patient)
    specificity = _part(~positive, ~films.present, films.patient)
    if prevalence is None:
        ppv = _part_or_none(films.present, positive, films.patient)
        npv = _part_or_none(~films.present, ~positive, films.patient)
    else:
        ppv, npv = _predictive(sensitivity, specificity, prevalence, films, seed)
    point = SitePoint(
        finding=films.finding,
        threshold=interval_of(to_site(threshold), applied(to_site, drawn)),
        model_threshold=threshold,
        target_sensitivity=target,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=ppv,
        npv=npv,
        prevalence=site,
        is_given=prevalence is not None,
        n_present=int(films.present.sum()),
        n_absent=int((~films.present).sum()),
        n_patients_present=len(np.unique(films.patient[films.present])),
        n_patients_absent=len(np.unique(films.patient[~films.present])),
        unsure=unsure_band(films, threshold, to_site, of_card),
        probability=to_site,
        brier_before=calibrated.brier_before,
        brier_after=calibrated.brier_after,
    )
    return Fitted(point, films, calibrated)


def threshold_for(scores: _Floats, target: float) -> float:
    """The threshold for films with the finding, (n,), as this module's first lines tell; 0 where
    there are too few to promise anything."""
    k = rank(len(scores), 1 - target)
    return float(np.partition(scores, k - 1)[k - 1]) if k else 0.0


def rank(n: int, part: float) -> int:
    """The highest k for which k / (n + 1) is not above `part`."""
    return floor((n + 1) * part + 1e-9)  # 10 * (1 - 0.9) is a hair below 1


def n_least(target: float) -> int:
    """The fewest films with the finding that can promise it."""
    return ceil(1 / (1 - target) - 1e-9) - 1


def judged_by_others(films: LabelledFilms, target: float) -> _Bools:
    """Whether each film, (N,), is positive by the threshold of all other patients' films."""
    by_all = threshold_for(films.probability[films.present], target)
    positive = np.asarray(films.probability >= by_all)
    present = np.flatnonzero(films.present)
    for patient in np.unique(films.patient[present]):  # no others change the threshold
        own = films.patient == patient
        others = films.probability[present[films.patient[present] != patient]]
        positive[own] = films.probability[own] >= threshold_for(others, target)
    return positive


def unsure_band(
    films: LabelledFilms, threshold: float, to_site: ProbabilityMap, of_card: UnsureBand | None
) -> UnsureBand | None:
    """Where a probability says too little, as model_card.UnsureBand has it: of films with the
    finding at most 1 - coverage lie below it, of films without at most as many at or above its end.

    Where either are too few for that, the card's, carried over to the site's probability.
    """
    coverage = of_card.coverage if of_card is not None else COVERAGE
    present, absent = films.probability[films.present], films.probability[~films.present]
    k_low, k_high = rank(len(present), 1 - coverage), rank(len(absent), 1 - coverage)
    if not k_low or not k_high:
        if of_card is None:
            return None
        low, high = min(of_card.low, threshold), max(of_card.high, threshold)
        return replace(of_card, low=to_site(low), high=to_site(high))
    low = np.partition(present, k_low - 1)[k_low - 1]
    # The lowest that is above the k-th highest: of films that are alike none may be left out.
    top = np.partition(absent, -k_high)[-k_high]
    high = films.probability[films.probability > top].min(initial=1.0)
    return UnsureBand(
        films.finding,
        to_site(float(min(low, threshold))),
        to_site(float(max(high, threshold))),
        coverage,
        len(present),
        len(absent),
        OWN_FILMS,
    )


def _refuse_too_few(films: LabelledFilms, target: float) -> None:
    n_present, n_absent = int(films.present.sum()), int((~films.present).sum())
    if not n_present or not n_absent:
        raise SettingsError(
            Message(
                "All {n} films that were labelled for {finding} and read have the same label.",
                n=n_present + n_absent,
                finding=films.finding,
            ),
            Message("Label films with it and films without it."),
        )
    if n_present < n_least(target):
        raise SettingsError(
            Message(
                "{n} films with {finding} cannot promise a sensitivity of {target}: it takes "
                "{least}.",
                n=n_present,
                finding=films.finding,
                target=f"{target:g}",
                least=n_least(target),
            ),
            Message("Label more films with it, or aim lower with --target-sensitivity."),
        )
    for among, n in ((films.present, n_present), (~films.present, n_absent)):
        if n > 1 and len(np.unique(films.patient[among])) == 1:
            raise SettingsError(
                Message(
                    "All {n} films with the same label for {finding} are of one patient.",
                    n=n,
                    finding=films.finding,
                ),
                Message("Label films of more patients, or leave out the column patient."),
            )


def _thresholds(films: LabelledFilms, target: float, seed: int) -> _Floats:
    """Those that resampled patients give, (D,)."""
    present = films.present
    scores = np.sort(films.probability[present])
    order = np.argsort(films.probability[present], kind="stable")
    draws = []
    for times in resampled(films.patient, N_DRAWS, seed):
        for drawn in times[:, present][:, order]:
            k = rank(int(drawn.sum()), 1 - target)
            at = int(np.searchsorted(drawn.cumsum(), k))
            draws.append(float(scores[at]) if k else 0.0)
    return np.array(draws)


def _part(hit: _Bools, among: _Bools, patient: NDArray[np.intp]) -> Interval:
    """The part of the films `among` that is hit, with Wilson's interval for as many witnesses as
    there are patients."""
    part = float(hit[among].mean())
    return Interval(part, *wilson(part, len(np.unique(patient[among]))))


def _part_or_none(hit: _Bools, among: _Bools, patient: NDArray[np.intp]) -> Interval | None:
    return _part(hit, among, patient) if among.any() else None


def _predictive(
    sensitivity: Interval,
    specificity: Interval,
    prevalence: float,
    films: LabelledFilms,
    seed: int,
) -> tuple[Interval, Interval]:
    """PPV and NPV by Bayes' rule; intervals from draws of sensitivity and specificity as the
    patients leave them open (Jeffreys' beta distributions: Brown, Cai & DasGupta 2001)."""
    rng = np.random.default_rng(seed)

    def drawn(part: float, among: _Bools) -> _Floats:
        n = len(np.unique(films.patient[among]))
        return rng.beta(part * n + 0.5, (1 - part) * n + 0.5, _N_POSTERIOR)

    sens, spec = drawn(sensitivity.value, films.present), drawn(specificity.value, ~films.present)
    return (
        interval_of(
            _bayes(sensitivity.value, 1 - specificity.value, prevalence),
            sens * prevalence / (sens * prevalence + (1 - spec) * (1 - prevalence)),
        ),
        interval_of(
            _bayes(specificity.value, 1 - sensitivity.value, 1 - prevalence),
            spec * (1 - prevalence) / (spec * (1 - prevalence) + (1 - sens) * prevalence),
        ),
    )


def _bayes(hit: float, false: float, prevalence: float) -> float:
    hits, falses = hit * prevalence, false * (1 - prevalence)
    return hits / (hits + falses) if hits + falses else 1.0
