"""Temperature and threshold: fitted last, on what the model will really say."""

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError


def fit_temperature(logits: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599).

    logits, present: (N, K). Searched from 0.2 to 20 on a logarithmic grid.
    """
    sign = np.where(present, 1.0, -1.0)
    temperatures = np.geomspace(0.2, 20, 400)
    losses = [np.logaddexp(0, -sign * logits / t).mean() for t in temperatures]
    return float(temperatures[int(np.argmin(losses))])


def to_probability(logits: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    return 1 / (1 + np.exp(-np.clip(logits / temperature, -60, 60)))


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
