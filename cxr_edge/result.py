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


@dataclass(frozen=True)
class Finding:
    """One finding in one radiograph; positive is probability >= threshold.

    threshold: None for "no finding", which some models give a probability of its own and which is
    never positive.
    """

    name: str
    probability: float
    threshold: float | None

    @property
    def positive(self) -> bool:
        return self.threshold is not None and self.probability >= self.threshold

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
    the film, where they were asked for.
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

    @property
    def code(self) -> str:
        """The stable word that the reason starts with; empty for "ok"."""
        return self.reason.partition(":")[0]
