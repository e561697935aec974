"""What is said of one radiograph; it takes no library to read it back."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .heatmap import Overlay

# Reasons that may be gone the next time: a lock, a share that dropped, memory that others used, a
# reading process that was ended from outside.
HEALING_CODES = frozenset(
    {"missing", "no_permission", "io_error", "stalled", "out_of_memory", "no_reader", "stopped"}
)

# What becomes of a film: of one with an answer, Finding.answer of its leading finding; else its
# status.
OUTCOMES = ("positive", "negative", "unsure", "refused", "failed")
# How the reason of an answer begins that would be a refusal, did the site not overrule it.
ACCEPTED = "accepted"


@dataclass(frozen=True)
class Finding:
    """One finding in one radiograph; positive is probability >= threshold.

    threshold: None for "no finding", which some models give a probability of its own and which is
    never positive. unsure_from, unsure_below: the band around the threshold in which the answer is
    "unsure" (model_card.UnsureBand); None where there is none.
    """

    name: str
    probability: float
    threshold: float | None
    unsure_from: float | None = None
    unsure_below: float | None = None

    @property
    def positive(self) -> bool:
        return self.threshold is not None and self.probability >= self.threshold

    @property
    def unsure(self) -> bool:
        """Whether a person has to decide."""
        if self.unsure_from is None or self.unsure_below is None:
            return False
        return self.unsure_from <= self.probability < self.unsure_below

    @property
    def answer(self) -> str:
        """ "positive", "negative" or "unsure"."""
        if self.unsure:
            return "unsure"
        return "positive" if self.positive else "negative"

    @property
    def score(self) -> int:
        """The probability as a whole number from 0 to 100."""
        return round(100 * self.probability)


@dataclass(frozen=True)
class Identifiers:
    """DICOM's PatientID, StudyInstanceUID and SOPInstanceUID; "" for what is absent."""

    patient: str = ""
    study: str = ""
    instance: str = ""


@dataclass(frozen=True)
class Result:
    """What became of one radiograph: findings (leading one first), or the reason for none.

    status: "ok", "refused" (it was read, and may not be judged) or "failed" (it was not read).
    sha256 is empty where not even the file's bytes could be had. overlays: the findings drawn over
    the film, where they were asked for. distance: how far the film lies from those that the model
    learned from (gate.distance); None where the model does not tell, or nothing was read. profile:
    the site profile that it was judged by; "" for none.
    """

    source: Path
    status: str
    reason: str
    findings: tuple[Finding, ...]
    model: str
    model_sha256: str
    provider: str
    duration_ms: float
    processed_at: datetime
    sha256: str
    overlays: "tuple[Overlay, ...]" = ()
    distance: float | None = None
    profile: str = ""

    @property
    def code(self) -> str:
        """The stable word that the reason starts with: why there is no answer, or "accepted" where
        the site overrules a refusal; else empty."""
        return self.reason.partition(":")[0]

    @property
    def accepted(self) -> tuple[str, ...]:
        """The codes of the refusals that the site overrules for this film."""
        code, _, codes = self.reason.partition(": ")
        return tuple(codes.split(", ")) if code == ACCEPTED else ()


def reason_for(accepted: tuple[str, ...]) -> str:
    """The reason of an answer that is given although these codes would refuse the film."""
    return f"{ACCEPTED}: {', '.join(accepted)}" if accepted else ""
