"""What the API takes and gives, for its OpenAPI document."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..ledger import Prediction, Verdict
from ..record import to_json
from ..result import Result
from ..words import NOT_FOR_DIAGNOSIS

# Midnight of these, and of the days beside them, is a time in every time zone.
_FIRST_DAY, _LAST_DAY = date(1971, 1, 1), date(2999, 12, 31)
_SHA256 = "9cb4be589f520bb5c552518201557d5ada5cd90e3d64b366353d577245b15bf4"
_FILM: dict[str, Any] = {
    "id": 17,
    "page": "/films/17",
    "file": "film.jpg",
    "status": "ok",
    "reason": "",
    "finding": "pneumonia",
    "probability": 0.931,
    "score": 93,
    "positive": True,
    "answer": "positive",
    "all_findings": [
        {
            "finding": "pneumonia",
            "probability": 0.931,
            "threshold": 0.208,
            "positive": True,
            "unsure_from": 0.12,
            "unsure_below": 0.35,
            "answer": "positive",
        }
    ],
    "distance": 0.97,
    "accepted": [],
    "model": "pneumonia-children 1.0",
    "model_sha256": _SHA256,
    "site_profile": "",
    "provider": "CPUExecutionProvider",
    "duration_ms": 24.5,
    "processed_at": "2026-11-22T09:15:02+00:00",
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
}


class Status(StrEnum):
    """Which films are wanted."""

    ok = "ok"
    positive = "positive"
    negative = "negative"
    unsure = "unsure"
    refused = "refused"
    failed = "failed"


class Order(StrEnum):
    newest = "newest"
    score = "score"


class Answer(StrEnum):
    """What is said of a finding; "unsure": a person has to decide."""

    positive = "positive"
    negative = "negative"
    unsure = "unsure"


class VerdictWord(StrEnum):
    """What a clinician says of the model's answer; of one that is unsure, of the side that it leans
    to, which `positive` tells."""

    agree = "agree"
    disagree = "disagree"
    unsure = "unsure"


class JudgedFinding(BaseModel):
    finding: str
    probability: float = Field(ge=0, le=1)
    threshold: float | None = Field(
        description="Positive from this probability on: the operating point. null: of "
        '"no finding", which is never positive.'
    )
    positive: bool = Field(description="Whether the probability reaches the operating point.")
    unsure_from: float | None = Field(
        description="The answer is unsure from this probability on and below unsure_below, around "
        "the operating point; null: there is no such band."
    )
    unsure_below: float | None
    answer: Answer


class Film(BaseModel):
    """One film and what became of it, as `cxr-edge predict --json` tells it. Not for diagnostic
    use."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FILM]})

    id: int = Field(description="Its number in the ledger.")
    page: str = Field(description="Where a person can look at it.")
    file: str = Field(description="What the film is called.")
    status: str = Field(
        description="ok, refused (it may not be judged) or failed (it is not read)."
    )
    reason: str = Field(
        description="Why there is no answer: a stable code, a colon, words. Of an answer that is "
        'given although the film would be refused: "accepted", a colon, the codes.'
    )
    finding: str | None = Field(description="The leading finding.")
    probability: float | None
    score: int | None = Field(description="The probability as a whole number from 0 to 100.")
    positive: bool | None = Field(
        description="Whether the leading finding reaches its operating point, unsure or not."
    )
    answer: Answer | None = Field(description="Of the leading finding; null: there is none.")
    all_findings: list[JudgedFinding]
    distance: float | None = Field(
        description="From the films that the model learned from, which lie around 1; null: the "
        "model does not tell."
    )
    accepted: list[str] = Field(description="Codes of the refusals that this site overrules here.")
    model: str
    model_sha256: str
    site_profile: str = Field(description='That the film was judged by; "": the model card alone.')
    provider: str = Field(description="The execution provider that really ran.")
    duration_ms: float
    processed_at: datetime
    sha256: str = Field(description="Of the film's bytes.")

    @classmethod
    def of(cls, prediction: Prediction) -> "Film":
        return cls.told(prediction.id, prediction.result)

    @classmethod
    def told(cls, number: int, result: Result) -> "Film":
        return cls(id=number, page=f"/films/{number}", **to_json(result))


class Predicted(BaseModel):
    """What became of each film, in their order."""

    films: list[Film]
    note: str = str(NOT_FOR_DIAGNOSIS)


class Results(BaseModel):
    """Films of the ledger, each with its last result."""

    films: list[Film]
    next: str | None = Field(description="The `cursor` of the next page; null on the last one.")
    note: str = str(NOT_FOR_DIAGNOSIS)


class GivenVerdict(BaseModel):
    """What a clinician says of a finding of a film."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"finding": "pneumonia", "verdict": "disagree", "note": "rotated film"}]
        },
    )

    finding: str = Field(
        "", max_length=200, description='One that was judged; "": the film as a whole.'
    )
    verdict: VerdictWord
    note: str = Field("", max_length=2000)


class SaidVerdict(BaseModel):
    finding: str
    verdict: VerdictWord
    note: str
    by: str = Field(description='Who said it; "" where nobody has to log in.')
    at: datetime

    @classmethod
    def of(cls, verdict: Verdict) -> "SaidVerdict":
        return cls(
            finding=verdict.finding,
            verdict=VerdictWord(verdict.verdict),
            note=verdict.note,
            by=verdict.by,
            at=verdict.at,
        )


class FilmDetails(Film):
    """A film with all that is known of it."""

    verdicts: list[SaidVerdict] = Field(description="The last one of each finding.")
    heatmaps: dict[str, str] = Field(description="By finding: where its heatmap is.")
    earlier_films: list[int] = Field(description="Of the same patient, where that is known.")
    note: str = str(NOT_FOR_DIAGNOSIS)


class LoadedModel(BaseModel):
    """The model that reads the films here."""

    model: str
    model_sha256: str
    provider: str
    card: dict[str, Any] = Field(description="What the model file says of itself.")
    note: str = str(NOT_FOR_DIAGNOSIS)


class Health(BaseModel):
    status: str = Field(
        description='"ok", or what keeps the server from its work.', examples=["ok"]
    )
    version: str
    n_waiting: int = Field(description="Films that wait or are read now.")


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    code: str | None = Field(None, description="A stable word for programs.")
    next_step: str | None = None


class ResultsQuery(BaseModel):
    """Which films are wanted: those that fit everything that is given."""

    model_config = ConfigDict(extra="forbid")

    finding: str = Field("", max_length=200, description="Films that reach its operating point.")
    status: Status | None = None
    since: date | None = Field(
        None, ge=_FIRST_DAY, le=_LAST_DAY, description="Read on this day or after it."
    )
    until: date | None = Field(
        None, ge=_FIRST_DAY, le=_LAST_DAY, description="Read on this day or before it."
    )
    verdict: VerdictWord | None = None
    order: Order = Order.newest
    limit: int = Field(50, ge=1, le=500)
    cursor: str = Field("", max_length=200, description="`next` of the page before.")
