"""What the ledger knows of the last full weeks, as comparison.py takes it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from ..errors import ProfileError
from ..ledger import Counts, midnight
from ..model_card import N_SCORE_BINS, ModelCard, Reference
from ..profile import SiteProfile
from ..profiles import Profiles
from .comparison import Comparison, Observed, compare

_EDGES = tuple(k / N_SCORE_BINS for k in range(1, N_SCORE_BINS))


def reference_of(card: ModelCard, profile: SiteProfile | None) -> tuple[Reference | None, str]:
    """What weeks are compared with, and what it is told of by: this site's own films where its
    profile was made from enough, as else a site that is unlike the card's for good would be so each
    week."""
    if profile is not None and profile.reference is not None:
        return profile.reference, profile.label
    return card.reference, card.label


def last_week(
    ledger: Counts,
    card: ModelCard,
    model_sha256: str,
    profile: SiteProfile | None,
    profiles: Profiles,
    now: datetime,
) -> Comparison:
    """The last full week against the site's profile, or the card. Raises LedgerError."""
    reference, label = reference_of(card, profile)
    (observed,) = full_weeks(ledger, reference, model_sha256, profiles, now, 1)
    return compare(observed, reference, label)


def full_weeks(
    ledger: Counts,
    reference: Reference | None,
    model_sha256: str,
    profiles: Profiles,
    now: datetime,
    n_weeks: int,
    timezone: tzinfo | None = None,
) -> list[Observed]:
    """The last weeks, Monday to Sunday of `timezone` (None: this machine's), before the running
    one; the oldest first. Raises LedgerError."""
    today = now.astimezone(timezone).date()
    monday = today - timedelta(days=today.weekday())
    return [
        _week(ledger, reference, model_sha256, profiles, monday - timedelta(weeks=ago), timezone)
        for ago in range(n_weeks, 0, -1)
    ]


def _week(
    ledger: Counts,
    reference: Reference | None,
    model_sha256: str,
    profiles: Profiles,
    monday: date,
    timezone: tzinfo | None,
) -> Observed:
    since, until = midnight(monday, timezone), midnight(monday + timedelta(weeks=1), timezone)
    edges = reference.distance_edges if reference else ()
    answers = ledger.answers(model_sha256, since, until, edges)
    findings = [of.finding for of in reference.scores] if reference else []
    scores = {finding: (0,) * N_SCORE_BINS for finding in findings}
    n_without_scores = 0
    for label, n_films in answers.by_profile.items():
        edges_of = _edges_by(label, findings, profiles)
        if edges_of is None:
            n_without_scores += n_films
            continue
        for finding, own in edges_of.items():
            counts = ledger.scores(finding, model_sha256, since, until, label, own)
            scores[finding] = tuple(map(sum, zip(scores[finding], counts, strict=True)))
    return Observed(
        monday,
        sum(answers.by_profile.values()),
        answers.n_refused,
        scores,
        n_without_scores,
        answers.distances,
    )


def _edges_by(
    label: str, findings: Sequence[str], profiles: Profiles
) -> dict[str, tuple[float, ...]] | None:
    """The inner edges of the bins of each finding, on the probability that a site profile makes of
    the model's: as it always rises, the same films lie between them. label: the profile's, or "".
    None: there is no such profile any more.
    """
    if not label:
        return dict.fromkeys(findings, _EDGES)
    try:
        profile = profiles.find(label)
    except ProfileError:
        return None
    points = {finding: profile.of(finding) for finding in findings}
    return {
        finding: _EDGES if point is None else tuple(map(point.probability, _EDGES))
        for finding, point in points.items()
    }
