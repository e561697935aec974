"""What the model is, and how it does at this site."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from ..drift.comparison import Observed, compare
from ..drift.weeks import full_weeks, reference_of
from ..gate import UNLIKE_TRAINING
from ..ledger import Ledger, midnight
from ..model_card import Reference
from ..profiles import Profiles, user_profiles_folder
from ..words import REASONS, finding_told
from . import charts
from .drift_view import DriftShown
from .rendering import page
from .serving import Serving, audited, serving_of
from .view import AgreementShown, grouped

router = APIRouter()

_PERIODS_DAYS = (30, 90)
_N_WEEKS = 26
_N_COMPARED = 8


@router.get("/model")
def model(request: Request) -> Response:
    serving = serving_of(request)
    card, evidence = serving.model.card, serving.evidence
    told_apart = (*card.gate.conditions[1:], UNLIKE_TRAINING) if card.gate else ()
    audited(request, "view_model", n_films=0)
    pictures = [
        (
            one,
            [
                charts.roc(one, f"{place}"),
                charts.reliability(one, f"{place}"),
                charts.scores(one, f"{place}"),
            ],
        )
        for place, one in enumerate(evidence.findings if evidence else ())
    ]
    return page(
        request,
        "model.html",
        card=card,
        model_sha256=serving.model.sha256,
        provider=serving.model.provider,
        refuses={code: REASONS.get(code, "") for code in told_apart},
        evidence=evidence,
        pictures=pictures,
        recipe=grouped(card.recipe),
        quantization=dict(card.quantization),
    )


@router.get("/site")
def site(request: Request, days: int = 30, finding: str = "", model: str = "") -> Response:
    """Counts, scores and verdicts of this site's films, by one model."""
    serving = serving_of(request)
    card = serving.model.card
    days = days if days in _PERIODS_DAYS else _PERIODS_DAYS[0]
    today = serving.now().astimezone().date()
    until = midnight(today + timedelta(days=1))
    monday = today - timedelta(days=today.weekday())
    since_week = midnight(monday - timedelta(weeks=_N_WEEKS - 1))
    with serving.ledger() as ledger:
        known = {sha256: label for label, sha256 in ledger.models()}
        known.setdefault(serving.model.sha256, card.label)
        sha256 = model if model in known else serving.model.sha256
        is_own = sha256 == serving.model.sha256
        judged = [point.finding for point in card.operating_points]
        findings = judged if is_own else ledger.findings()
        finding = finding if finding in findings else next(iter(findings), "")
        per_day = ledger.per_day(midnight(today - timedelta(days=days - 1)), until)
        weeks = ledger.per_week(finding, sha256, since_week, until)
        agreement = [AgreementShown.of(one) for one in ledger.agreement(sha256)]
        reference, measured = reference_of(card, serving.profile)
        observed = _observed(serving, ledger, reference) if is_own else []
    audited(request, "view_site", n_films=sum(week.n_all for week in weeks))
    evidence = serving.evidence if is_own else None
    expected = charts.expected_scores(evidence.of(finding) if evidence else None)
    return page(
        request,
        "site.html",
        days=days,
        periods=_PERIODS_DAYS,
        finding=finding,
        findings=[(one, finding_told(one)) for one in findings],
        model=sha256,
        models=known,
        n_weeks=_N_WEEKS,
        per_day=charts.films_per_day(per_day),
        n_films=sum(day.n_films for day in per_day),
        scores=charts.scores_per_week(
            weeks, expected, _threshold(serving, finding) if is_own else None
        ),
        has_expected=expected is not None,
        without=charts.refused_per_week(weeks),
        drift=DriftShown.of([compare(week, reference, measured) for week in observed])
        if observed
        else None,
        distances=charts.distances_per_week(observed, reference)
        if observed and reference and reference.distances
        else None,
        agreement=agreement,
        points={one.finding: one for one in card.operating_points} if is_own else {},
    )


def _threshold(serving: Serving, finding: str) -> float | None:
    """On the probability that rows have now."""
    if serving.profile is not None and (own := serving.profile.of(finding)) is not None:
        return own.threshold.value
    points = serving.model.card.operating_points
    return next((point.threshold for point in points if point.finding == finding), None)


def _observed(serving: Serving, ledger: Ledger, reference: Reference | None) -> list[Observed]:
    """The last full weeks. Raises LedgerError."""
    profiles = Profiles(user_profiles_folder())
    sha256 = serving.model.sha256
    return full_weeks(ledger, reference, sha256, profiles, serving.now(), _N_COMPARED)
