"""Does the candidate say the same as the reference? Figures, and the tolerance they must keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.measure.metrics import auroc

from .errors import ExportError


@dataclass(frozen=True)
class Tolerance:
    """The most that a candidate may differ; probability is the largest change of any film."""

    auroc: float
    accuracy: float
    flips: float
    probability: float


# The same arithmetic in another order.
FP32 = Tolerance(auroc=1e-6, accuracy=0.0, flips=0.0, probability=1e-3)
# 11 bits of each number in place of 24.
FP16 = Tolerance(auroc=1e-4, accuracy=0.002, flips=0.002, probability=0.01)
INT8 = Tolerance(auroc=0.001, accuracy=0.002, flips=0.005, probability=0.1)


@dataclass(frozen=True)
class Comparison:
    """How a candidate differs from its reference on N films.

    auroc, auroc_change: of the finding whose AUROC changes most, the candidate's and by how much.
    accuracy_change: of the part of the films that are called what they are: the leading positive
    finding, else "no finding". flips: part of all decisions, one per film and finding, that change
    side of the threshold. probability_change: the largest, and the film where it was seen.
    """

    name: str
    n_films: int
    auroc: float
    auroc_change: float
    accuracy_change: float
    flips: float
    probability_change: float
    worst_film: Path

    def __str__(self) -> str:
        return f"{self.figures} ({self.worst_film.name})"

    @property
    def figures(self) -> str:
        """Without the film, whose name may be a patient's: for what is handed on."""
        return (
            f"{self.name}, {self.n_films} films: AUROC {self.auroc_change:+.5f}, "
            f"accuracy {100 * self.accuracy_change:+.2f} points, flips {self.flips:.2%}, "
            f"probability up to {self.probability_change:.4f}"
        )


def compare(
    name: str,
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    present: NDArray[np.bool_],
    thresholds: Sequence[float],
    films: Sequence[Path],
) -> Comparison:
    """reference, candidate: probabilities (N, K); present: labels (N, K).

    thresholds: (K,), infinite where nothing is decided ("no finding").
    """
    changes = [
        auroc(present[:, k], candidate[:, k]) - auroc(present[:, k], reference[:, k])
        for k in range(present.shape[1])
    ]
    most = int(np.abs(changes).argmax())
    difference = np.abs(candidate - reference).max(axis=1)
    cuts = np.asarray(thresholds)
    accuracy_change = np.mean(_right(candidate, present, cuts)) - np.mean(
        _right(reference, present, cuts)
    )
    flipped = ((candidate >= cuts) != (reference >= cuts))[:, np.isfinite(cuts)]
    worst = int(difference.argmax())
    return Comparison(
        name,
        len(films),
        auroc(present[:, most], candidate[:, most]),
        changes[most],
        float(accuracy_change),
        float(flipped.mean()),
        float(difference[worst]),
        films[worst],
    )


def _right(
    probability: NDArray[np.floating], present: NDArray[np.bool_], cuts: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Of each film, whether what it is called is there (interpret's rule)."""
    leading = np.where(probability >= cuts, probability, -1).argmax(1)
    films = np.arange(len(probability))
    positive = probability[films, leading] >= cuts[leading]
    nothing = ~present[:, np.isfinite(cuts)].any(1)
    return np.where(positive, present[films, leading], nothing)


def faults(comparison: Comparison, tolerance: Tolerance) -> list[str]:
    """What the candidate says too differently, and by how much; empty where it may be written."""
    return [
        f"{what} {value:.4f} (at most {limit:g})"
        for what, value, limit in (
            ("AUROC change", abs(comparison.auroc_change), tolerance.auroc),
            ("accuracy change", abs(comparison.accuracy_change), tolerance.accuracy),
            ("flipped decisions", comparison.flips, tolerance.flips),
            ("probability change", comparison.probability_change, tolerance.probability),
        )
        if not value <= limit
    ]


def require(comparison: Comparison, tolerance: Tolerance) -> None:
    """Raises ExportError that says by how much and where the candidate differs too much."""
    if found := faults(comparison, tolerance):
        raise ExportError(
            f"{comparison.name} differs too much on {comparison.n_films} films: "
            f"{'; '.join(found)}; the worst film is {comparison.worst_film}. Nothing was written.",
            "Report this with the checkpoint's config.json.",
        )
