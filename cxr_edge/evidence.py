"""The curves behind a model's figures: NAME.evidence.json, which lies beside NAME.onnx.

The card inside the model says what was measured; pictures of it need more numbers than a card
holds. They are shown and decide nothing. A file is bound to one model by its sha256, and nobody
signs it: what counts is the card.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from .errors import ModelError
from .model_card import N_SCORE_BINS
from .strict import from_data

SCHEMA_VERSION = 1
EVIDENCE_SUFFIX = ".evidence.json"
_MAX_BYTES = 1 << 20
_MEASURE_AGAIN = (
    "Get it again from the model's source, make it anew with `python -m train evaluate "
    "--evidence`, or delete it: the model reads without."
)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, by bootstrap over patients."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _require_parts(self.value, self.low, self.high)
        if self.low > self.high:
            raise ValueError("an interval must not end before it begins")


@dataclass(frozen=True)
class RocPoint:
    """A point of a ROC curve. false_alarms: 1 - specificity."""

    false_alarms: float
    sensitivity: float

    def __post_init__(self) -> None:
        _require_parts(self.false_alarms, self.sensitivity)


@dataclass(frozen=True)
class BandPoint:
    """Where the middle 95 % of the ROC curves of resampled patients lie: sensitivities."""

    false_alarms: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _require_parts(self.false_alarms, self.low, self.high)
        if self.low > self.high:
            raise ValueError("a band must not end before it begins")


@dataclass(frozen=True)
class OperatingFigures:
    """What the model's threshold gives on these films: a point of the ROC curve."""

    threshold: float
    sensitivity: Interval
    specificity: Interval

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError("a threshold must lie between 0 and 1")

    @property
    def on_curve(self) -> RocPoint:
        return RocPoint(1 - self.specificity.value, self.sensitivity.value)


@dataclass(frozen=True)
class ReliabilityBin:
    """Films of about the same probability, and how many of them have the finding.

    probability: their mean. observed: the part that has it, with its 95 % interval after Wilson,
    which takes each film for a witness of its own.
    """

    n_films: int
    probability: float
    observed: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _require_parts(self.probability, self.observed, self.low, self.high)
        if self.n_films < 1:
            raise ValueError("a bin of the reliability must have films")
        if not self.low <= self.observed <= self.high:
            raise ValueError("what was observed must lie in its interval")


@dataclass(frozen=True)
class FindingEvidence:
    """One finding on films of which some have it and some do not.

    roc: from (0, 0) to (1, 1). roc_band: from false alarms 0 to 1. reliability: bins that hold
    films, by rising probability. brier, ece: of the probability, 0 at best. scores_present,
    scores_absent: films by probability, in N_SCORE_BINS bins of equal width from 0 to 1, the upper
    edge of each belonging to the next.
    """

    finding: str
    n_present: int
    n_absent: int
    auroc: Interval
    roc: tuple[RocPoint, ...]
    roc_band: tuple[BandPoint, ...]
    operating_point: OperatingFigures
    reliability: tuple[ReliabilityBin, ...]
    brier: Interval
    ece: Interval
    scores_present: tuple[int, ...]
    scores_absent: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.n_present, self.n_absent) < 1:
            raise ValueError(f"{self.finding} needs films with it and without")
        ends = self.roc[:1] + self.roc[-1:]
        if ends != (RocPoint(0, 0), RocPoint(1, 1)):
            raise ValueError(f"the ROC curve of {self.finding} must lead from (0, 0) to (1, 1)")
        _require_rise([point.false_alarms for point in self.roc])
        _require_rise([point.sensitivity for point in self.roc])
        false_alarms = [point.false_alarms for point in self.roc_band]
        if false_alarms[:1] + false_alarms[-1:] != [0, 1]:
            raise ValueError(f"the band of {self.finding} must lead from 0 to 1")
        _require_rise(false_alarms)
        _require_rise([one.probability for one in self.reliability])
        n_films = self.n_present + self.n_absent
        if sum(one.n_films for one in self.reliability) != n_films:
            raise ValueError(f"the reliability of {self.finding} must be of its {n_films} films")
        for counts, n in (
            (self.scores_present, self.n_present),
            (self.scores_absent, self.n_absent),
        ):
            if len(counts) != N_SCORE_BINS or min(counts) < 0 or sum(counts) != n:
                raise ValueError(
                    f"the scores of {self.finding} must be {n} films in {N_SCORE_BINS} bins"
                )


@dataclass(frozen=True)
class Evidence:
    """What the pictures of one model are drawn from.

    measured_on: which films, in words. films_digest: a sha256 over the films' own digests and
    labels, so that others can tell whether theirs are the same. n_unanswered: films besides that
    could not be read or were refused. findings: those that the films have and lack, in the model's
    order.
    """

    schema_version: int
    model_sha256: str
    measured_on: str
    films_digest: str
    n_films: int
    n_patients: int
    n_unanswered: int
    findings: tuple[FindingEvidence, ...]

    def __post_init__(self) -> None:
        for digest in (self.model_sha256, self.films_digest):
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("a digest must be 64 hexadecimal digits")
        if not 1 <= self.n_patients <= self.n_films or self.n_unanswered < 0:
            raise ValueError("there must be films, and as many as patients at least")
        if len({one.finding for one in self.findings}) != len(self.findings):
            raise ValueError("each finding must be there once")
        if any(one.n_present + one.n_absent != self.n_films for one in self.findings):
            raise ValueError("each finding must be judged on every film")

    def of(self, finding: str) -> FindingEvidence | None:
        """None where the films do not show what the model makes of it."""
        return next((one for one in self.findings if one.finding == finding), None)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")) + "\n"


def evidence_path(model_path: Path) -> Path:
    """Where the evidence of a model lies."""
    return model_path.with_name(model_path.name.removesuffix(".onnx") + EVIDENCE_SUFFIX)


def load_evidence(model_path: Path, model_sha256: str) -> Evidence | None:
    """The evidence beside a model file; None where there is none.

    Raises ModelError: not readable, damaged, of another schema version or for another model.
    """
    path = evidence_path(model_path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ModelError(f"{path} cannot be read ({exc.strerror}).", _MEASURE_AGAIN) from exc
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MiB")
        evidence = _parsed(data)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ModelError(f"{path} is no usable evidence: {exc}.", _MEASURE_AGAIN) from exc
    if evidence.model_sha256 != model_sha256:
        raise ModelError(f"{path} was made for another model file.", _MEASURE_AGAIN)
    return evidence


def _parsed(data: bytes) -> Evidence:
    """Raises TypeError, ValueError, RecursionError."""
    parsed = json.loads(data)
    version = parsed.get("schema_version") if isinstance(parsed, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version!r}; this cxr-edge reads {SCHEMA_VERSION}")
    return from_data(Evidence, parsed)


def _require_parts(*values: float) -> None:
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in values):
        raise ValueError("figures must lie between 0 and 1")


def _require_rise(values: Sequence[float]) -> None:
    if any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError("points must be in their order")
