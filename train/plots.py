"""Pictures of a run: learning curve, ROC, score distribution."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from .fit import EpochReport


def plot_learning(reports: Sequence[EpochReport], path: Path) -> None:
    """Training loss and validation AUROC by epoch; the kept epoch is marked."""
    figure, loss_axis = plt.subplots(figsize=(7, 4))
    epochs = [report.epoch for report in reports]
    loss_axis.plot(epochs, [report.loss for report in reports], "C0-o", label="training loss")
    loss_axis.set_xlabel("epoch")
    loss_axis.set_ylabel("training loss")
    auroc_axis = loss_axis.twinx()
    auroc_axis.plot(epochs, [report.validation_auroc for report in reports], "C1-o")
    auroc_axis.set_ylabel("validation AUROC", color="C1")
    if kept := [report for report in reports if report.best]:
        auroc_axis.axvline(kept[-1].epoch, color="0.7", linestyle="--")
    _save(figure, path)


def plot_roc(
    curves: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.floating]]], path: Path
) -> None:
    """One ROC curve per name, from (present, probability) of N films."""
    figure, axis = plt.subplots(figsize=(5, 5))
    for name, (present, probability) in curves.items():
        if not present.any() or present.all():
            continue
        order = np.argsort(-probability, kind="stable")
        hits = np.cumsum(present[order]) / present.sum()
        false_alarms = np.cumsum(~present[order]) / (~present).sum()
        axis.plot(np.r_[0, false_alarms], np.r_[0, hits], label=name)
    axis.plot([0, 1], [0, 1], color="0.8")
    axis.set_xlabel("1 - specificity")
    axis.set_ylabel("sensitivity")
    axis.legend(loc="lower right")
    _save(figure, path)


def plot_scores(
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    threshold: float,
    finding: str,
    path: Path,
) -> None:
    """Histogram of the probability where the finding is present and where it is absent."""
    figure, axis = plt.subplots(figsize=(7, 4))
    bins = np.linspace(0, 1, 41)
    axis.hist(probability[~present], bins, alpha=0.6, label=f"no {finding}")
    axis.hist(probability[present], bins, alpha=0.6, label=finding)
    axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set_yscale("symlog", linthresh=10)
    axis.set_xlabel(f"probability of {finding}")
    axis.set_ylabel("films")
    axis.legend(loc="upper center")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
