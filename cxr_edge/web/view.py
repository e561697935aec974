"""What the templates show: plain facts made of ledger rows, in the words and numbers of the person.

Made while `language.speaking` says who that is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from ..commands.shown import outcome
from ..language import _, language, told
from ..ledger import Agreement, Prediction, Verdict
from ..proportion import Proportion
from ..result import Finding, Result
from ..words import ALL_LABELS, FIGURES, OUTCOMES, REASONS, VERDICTS, finding_told, reason_told

_DECIMAL_COMMA = ("es", "fr", "pt")
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def number_told(value: float, n_digits: int = 0) -> str:
    """1,234.5 as the person writes it."""
    text = f"{value:,.{n_digits}f}"
    if language() in _DECIMAL_COMMA:
        return text.translate({ord(","): _THIN_SPACE, ord("."): ","})
    return text


def percent_told(part: float, n_digits: int = 1) -> str:
    """A part of 1 in percent."""
    return f"{number_told(100 * part, n_digits)}{_THIN_SPACE}%"


def range_told(low: float, high: float) -> str:
    """From one probability to another."""
    return _("{low} to {high}").format(low=number_told(low, 3), high=number_told(high, 3))


def sentence_told(text: str) -> str:
    """A text that begins and ends as a sentence does."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def figure_told(name: str, findings: Iterable[str]) -> str:
    """A figure of a model card, such as "pneumonia auroc"."""
    subjects = {one: finding_told(one) for one in findings} | {ALL_LABELS: told(ALL_LABELS)}
    subject = max((one for one in subjects if name.startswith(f"{one} ")), key=len, default="")
    word = name.removeprefix(f"{subject} ")
    said = told(FIGURES.get(word, word))
    if not subject:
        return said
    return _("{subject}: {figure}").format(subject=subjects[subject], figure=said)


def minute_told(time: datetime, timezone: tzinfo | None = None) -> str:
    """A time as the clock on the wall has it there; None: where this machine is."""
    return time.astimezone(timezone).strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class FindingShown:
    """A finding of a film.

    name: as programs call it. outcome: Finding.answer. leaning: where it is unsure, on which side
    of the operating point it lies; a verdict is on that. asked: the score from which on it is
    positive; None where it is never. band, scores_unsure: from where to where it is unsure, in
    words and as scores; "" and None where it never is.
    """

    name: str
    said: str
    outcome: str
    outcome_said: str
    leaning: str
    probability: str
    score: int
    threshold: str
    asked: float | None
    band: str
    scores_unsure: tuple[float, float] | None

    @classmethod
    def of(cls, finding: Finding) -> "FindingShown":
        word, threshold = finding.answer, finding.threshold
        low, high = finding.unsure_from, finding.unsure_below
        band, scores_unsure = "", None
        if low is not None and high is not None and low < high:
            band = range_told(low, high)
            scores_unsure = round(100 * low, 1), round(100 * high, 1)
        leaning = ""
        if finding.unsure:
            leaning = _("rather positive") if finding.positive else _("rather negative")
        return cls(
            finding.name,
            finding_told(finding.name),
            word,
            told(OUTCOMES[word]),
            leaning,
            number_told(finding.probability, 3),
            finding.score,
            "" if threshold is None else number_told(threshold, 3),
            None if threshold is None else round(100 * threshold, 1),
            band,
            scores_unsure,
        )

    @property
    def judged(self) -> bool:
        return self.asked is not None


@dataclass(frozen=True)
class FilmShown:
    """One film with what was said of it.

    name: the last part of its path, or its pseudonym; place: what comes before that. code, reason:
    why there is no answer, as a word for programs and in plain words, or that there is one although
    the film would be refused; details: all that was found out about it, in English, where that is
    more. distance: from the films that the model learned from; profile: the site profile that it
    was judged by; "" where there is none.
    """

    number: int
    name: str
    place: str
    patient: str
    outcome: str
    outcome_said: str
    findings: tuple[FindingShown, ...]
    code: str
    reason: str
    details: str
    model: str
    model_sha256: str
    profile: str
    distance: str
    provider: str
    took: str
    at: str
    at_utc: str
    sha256: str
    version: str

    @classmethod
    def of(cls, prediction: Prediction, timezone: tzinfo | None = None) -> "FilmShown":
        result = prediction.result
        word = outcome(result)
        reason, details = _reason(result)
        place = str(result.source.parent)
        return cls(
            number=prediction.id,
            name=_printable(result.source.name),
            place="" if place == "." else _printable(place),
            patient=_printable(prediction.identifiers.patient),
            outcome=word,
            outcome_said=told(OUTCOMES[word]),
            findings=tuple(map(FindingShown.of, result.findings)),
            code=result.code,
            reason=reason,
            details=details,
            model=result.model,
            model_sha256=result.model_sha256,
            profile=result.profile,
            distance="" if result.distance is None else number_told(result.distance, 2),
            provider=result.provider,
            took=number_told(result.duration_ms),
            at=minute_told(result.processed_at, timezone),
            at_utc=result.processed_at.isoformat(timespec="seconds"),
            sha256=result.sha256,
            version=prediction.version,
        )

    @property
    def leading(self) -> FindingShown | None:
        return self.findings[0] if self.findings else None

    @property
    def judged(self) -> tuple[FindingShown, ...]:
        return tuple(one for one in self.findings if one.judged)


@dataclass(frozen=True)
class VerdictShown:
    """What a person last said of a finding of a film, or of the film as a whole (finding "")."""

    finding: str
    finding_said: str
    verdict: str
    said: str
    note: str
    by: str
    at: str

    @classmethod
    def of(cls, verdict: Verdict, timezone: tzinfo | None = None) -> "VerdictShown":
        return cls(
            verdict.finding,
            finding_told(verdict.finding),
            verdict.verdict,
            told(VERDICTS[verdict.verdict]),
            verdict.note,
            verdict.by,
            minute_told(verdict.at, timezone),
        )


def summed_up(verdicts: Sequence[Verdict]) -> str:
    """The verdicts of a film as one word, the one that needs a look first: of somebody who
    disagrees with one finding it is "disagree"."""
    said = {one.verdict for one in verdicts}
    return next((word for word in ("disagree", "unsure", "agree") if word in said), "")


@dataclass(frozen=True)
class AgreementShown:
    """How often people agreed with the model, and what that makes of it here."""

    finding: str
    said: str
    n_agree: int
    n_disagree: int
    n_unsure: int
    agreed: Proportion | None
    sensitivity: Proportion | None
    specificity: Proportion | None

    @classmethod
    def of(cls, counted: Agreement) -> "AgreementShown":
        return cls(
            counted.finding,
            finding_told(counted.finding),
            counted.n_agree,
            counted.n_disagree,
            counted.n_unsure,
            Proportion.of(counted.n_agree, counted.n_agree + counted.n_disagree),
            Proportion.of(counted.tp, counted.tp + counted.fn),
            Proportion.of(counted.tn, counted.tn + counted.fp),
        )


def grouped(settings: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Settings such as "optimisation.epochs" by the part before the point; those that say nothing
    are left out."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in settings.items():
        group, _, rest = name.rpartition(".")
        if value:
            groups.setdefault(group, []).append((rest, value))
    return groups


def distinct(texts: Iterable[str]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(filter(None, texts)))


def _reason(result: Result) -> tuple[str, str]:
    """Why there is no answer, or one all the same, in plain words, and what else is known of it."""
    if not result.reason:
        return "", ""
    if result.accepted:
        return reason_told(result), ""
    details = result.reason.partition(": ")[2] or result.reason
    meaning = REASONS.get(result.code)
    return (told(meaning), details) if meaning else (details, "")


def _printable(text: str) -> str:
    """A name need not be Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()
