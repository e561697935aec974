"""INTERPRET: logits become findings, judged by the card's operating points."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model_card import ModelCard


@dataclass(frozen=True)
class Finding:
    """One finding in one radiograph; positive is probability >= threshold."""

    name: str
    probability: float
    threshold: float

    @property
    def positive(self) -> bool:
        return self.probability >= self.threshold

    @property
    def score(self) -> int:
        """The probability as a whole number from 0 to 100."""
        return round(100 * self.probability)


def interpret(
    logits: NDArray[np.float32], card: ModelCard, thresholds: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """The findings of one radiograph, logits (K,), the leading one first.

    Positive findings come before negative ones, and the more probable first. thresholds: by
    finding, in place of the card's operating points.
    """
    scaled = logits.astype(np.float64) / card.temperature
    probabilities = 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))
    findings = (
        Finding(
            point.finding,
            float(probability),
            thresholds[point.finding] if thresholds else point.threshold,
        )
        for point, probability in zip(card.operating_points, probabilities, strict=True)
    )
    return tuple(sorted(findings, key=lambda f: (f.positive, f.probability), reverse=True))
