"""Temperature and thresholds: fitted last, on what the model will really say."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_edge.interpret import to_probability
from cxr_edge.model_card import NO_FINDING, SOFTMAX

from .errors import ExportError


def fit_temperature(
    logits: NDArray[np.floating], present: NDArray[np.bool_], activation: str
) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599).

    logits, present: (N, K). Searched from 0.2 to 20 on a logarithmic grid.
    """
    temperatures = np.geomspace(0.2, 20, 400)
    if activation == SOFTMAX:
        tiny = np.finfo(np.float64).tiny
        losses = [
            -np.log(np.maximum(to_probability(logits, activation, t)[present], tiny)).mean()
            for t in temperatures
        ]
    else:
        sign = np.where(present, 1.0, -1.0)
        losses = [np.logaddexp(0, -sign * logits / t).mean() for t in temperatures]
    return float(temperatures[int(np.argmin(losses))])


def fit_threshold(
    present: NDArray[np.bool_], probability: NDArray[np.floating], min_sensitivity: float
) -> float:
    """The threshold with the highest specificity among those that keep min_sensitivity.

    present, probability: (N,). Where several do as well, the middle of their range.
    Raises ExportError where one of the labels is missing.
    """
    if present.all() or not present.any():
        raise ExportError(
            "The films for the operating point have only one label.",
            "Choose films with and without the finding.",
        )
    cuts = np.unique(probability)
    candidates = np.r_[(cuts[1:] + cuts[:-1]) / 2, 0.5]
    sens = np.array([(probability[present] >= cut).mean() for cut in candidates])
    spec = np.array([(probability[~present] < cut).mean() for cut in candidates])
    spec[sens < min_sensitivity] = -1
    best = candidates[spec == spec.max()]
    return float(np.clip((best.min() + best.max()) / 2, 0.01, 0.99))


def fit_shared_threshold(
    present: NDArray[np.bool_], probability: NDArray[np.floating], findings: Sequence[str]
) -> float:
    """One threshold for findings that exclude each other: the one that names most films rightly.

    A film is called the most probable finding that reaches the threshold, else "no finding".
    present, probability: (N, K), K in the order of `findings`, "no finding" among them. Where
    several thresholds do as well, the middle of their range.
    """
    named = [k for k, name in enumerate(findings) if name != NO_FINDING]
    leading = probability[:, named].argmax(1)
    at_all = present[:, named].any(1)
    right = present[:, named][np.arange(len(present)), leading]
    highest = probability[:, named].max(1)
    candidates = np.arange(0.05, 0.951, 0.005)
    n_right = [np.where(highest >= cut, right, ~at_all).sum() for cut in candidates]
    best = candidates[np.array(n_right) == max(n_right)]
    return float((best.min() + best.max()) / 2)
