"""INTERPRET: logits become findings, judged by the card's operating points."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .model_card import SOFTMAX, ModelCard
from .result import Finding


def to_probability(
    logits: NDArray[Any], activation: str, temperature: float
) -> NDArray[np.float64]:
    """Logits (N, K) to probabilities (N, K), by a card's activation and temperature.

    "sigmoid": each finding by itself. "softmax": the findings, "no finding" among them, exclude
    each other, and a film's probabilities add up to 1.
    """
    scaled = logits.astype(np.float64) / temperature
    if activation == SOFTMAX:
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-np.clip(scaled, -60, 60))))


def interpret(
    logits: NDArray[np.float32], card: ModelCard, thresholds: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """The findings of one radiograph, logits (K,), the leading one first; see to_findings."""
    probabilities = to_probability(logits[None], card.activation, card.temperature)[0]
    return to_findings(probabilities.tolist(), card, thresholds)


def to_findings(
    probabilities: Sequence[float], card: ModelCard, thresholds: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """The findings of one radiograph, by K probabilities, the leading one first.

    Positive findings come before negative ones, and the more probable first. thresholds: by
    finding, in place of the card's operating points.
    """
    own = {point.finding: point.threshold for point in card.operating_points}
    own |= {name: value for name, value in (thresholds or {}).items() if name in own}
    findings = (
        Finding(name, probability, own.get(name))
        for name, probability in zip(card.findings, probabilities, strict=True)
    )
    return tuple(sorted(findings, key=lambda f: (f.positive, f.probability), reverse=True))
