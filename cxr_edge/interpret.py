"""INTERPRET: logits become findings, judged by the card's operating points."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .model_card import SOFTMAX, ModelCard
from .result import Finding
from .terms import STANDARD_TERMS, Terms

if TYPE_CHECKING:
    from .profile import SiteProfile


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
    logits: NDArray[np.float32], card: ModelCard, terms: Terms = STANDARD_TERMS
) -> tuple[Finding, ...]:
    """The findings of one radiograph, logits (K,), the leading one first; see to_findings."""
    return to_findings(probabilities_of(logits, card), card, terms)


def probabilities_of(logits: NDArray[np.float32], card: ModelCard) -> tuple[float, ...]:
    """What the model gives each of its findings, in the card's order; logits (K,)."""
    return tuple(to_probability(logits[None], card.activation, card.temperature)[0].tolist())


def to_findings(
    probabilities: Sequence[float], card: ModelCard, terms: Terms = STANDARD_TERMS
) -> tuple[Finding, ...]:
    """The findings of one radiograph, by K probabilities of the model's own, the leading one first.

    Positive findings come first, then those that a person has to decide, then negative ones; of
    each the more probable first.
    """
    given = terms.thresholds or {}
    own = {point.finding: point.threshold for point in card.operating_points}
    bands = {band.finding: (band.low, band.high) for band in card.unsure}

    def finding(name: str, probability: float) -> Finding:
        threshold, band = own.get(name), bands.get(name, ())
        if terms.profile is not None and (point := terms.profile.of(name)) is not None:
            probability, threshold = point.probability(probability), point.threshold.value
            band = () if point.unsure is None else (point.unsure.low, point.unsure.high)
        if name in own and name in given:
            return Finding(name, probability, given[name])
        return Finding(name, probability, threshold, *band)

    findings = (
        finding(name, probability)
        for name, probability in zip(card.findings, probabilities, strict=True)
    )
    return tuple(sorted(findings, key=_precedence, reverse=True))


def _precedence(finding: Finding) -> tuple[bool, bool, float]:
    return finding.answer == "positive", finding.unsure, finding.probability


def on_models_scale(finding: Finding, profile: "SiteProfile | None") -> Finding:
    """The finding with the threshold that asks the same of the model's own probability, where it
    was judged by that profile."""
    point = None if profile is None else profile.of(finding.name)
    if point is None or finding.threshold is None:
        return finding
    return replace(finding, threshold=point.probability.inverse(finding.threshold))
