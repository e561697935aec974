"""Pictures of a run and of an evaluation, in colours that the colour-blind tell apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxr_edge.proportion import wilson

from ..learn.fit import EpochReport
from .metrics import Curve, curve_band, precision_recall_curve, reliability, roc_curve

# Okabe and Ito 2008, without yellow, which is faint on white.
BLUE, ORANGE = "#0072B2", "#E69F00"
plt.rcParams["axes.prop_cycle"] = cycler(
    color=[BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"]
)
N_BAND_DRAWS = 200

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.floating]
# Of N films: whether a finding is there, its probability, and the films' patients.
Judged = tuple[_Bools, _Floats, Sequence[str]]


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
    save(figure, path)


def plot_roc(curves: Mapping[str, Judged], path: Path) -> None:
    """One ROC curve per name, its band the middle 95 % of resampled patients at each point."""
    figure, axis = plt.subplots(figsize=(5, 5))
    axis.plot([0, 1], [0, 1], color="0.8")
    _draw_curves(axis, curves, roc_curve)
    axis.set_xlabel("1 - specificity")
    axis.set_ylabel("sensitivity")
    axis.legend(loc="lower right")
    save(figure, path)


def plot_precision_recall(curves: Mapping[str, Judged], path: Path) -> None:
    """One precision-recall curve per name, with a band as above; dotted: the prevalence."""
    figure, axis = plt.subplots(figsize=(5, 5))
    for line in _draw_curves(axis, curves, precision_recall_curve):
        present, _, _ = curves[str(line.get_label())]
        axis.axhline(present.mean(), color=line.get_color(), linestyle=":")
    axis.set_xlabel("sensitivity (recall)")
    axis.set_ylabel("precision (positive predictive value)")
    axis.set_ylim(0, 1.02)
    axis.legend(loc="lower left")
    save(figure, path)


def _draw_curves(axis: Axes, curves: Mapping[str, Judged], curve: Curve) -> list[Line2D]:
    """Draw the curves that the films determine; the lines that were drawn."""
    grid = np.linspace(0, 1, 201)
    lines = []
    for name, (present, probability, patients) in curves.items():
        if not present.any() or present.all():
            continue
        lines += axis.plot(*curve(present, probability, None), label=name)
        band = curve_band(curve, present, probability, patients, grid, N_BAND_DRAWS)
        axis.fill_between(grid, *band, color=lines[-1].get_color(), alpha=0.15, lw=0)
    if not lines:
        axis.plot([], [], color="none", label="not determined: the films have one label")
    return lines


def plot_confusion(counts: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Films by true label (rows) and decided label, with the part of the true label's films."""
    rows = counts.sum(1, keepdims=True)
    parts = counts / np.maximum(rows, 1)
    side = 2.2 + 1.1 * len(labels)
    figure, axis = plt.subplots(figsize=(side, side))
    axis.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        axis.text(
            j,
            i,
            f"{count}\n{100 * parts[i, j]:.0f} %" if rows[i, 0] else "0",
            ha="center",
            va="center",
            color="white" if parts[i, j] > 0.55 else "black",
        )
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("decided")
    axis.set_ylabel("labelled")
    save(figure, path)


def plot_reliability(happened: _Bools, probability: _Floats, said: str, path: Path) -> None:
    """What was stated against what happened, by bin with its 95 % interval after Wilson, above the
    number of films in each bin.

    said: what the probability is of.
    """
    figure, (axis, below) = plt.subplots(
        2, 1, figsize=(5, 6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    stated, seen, counts = reliability(happened, probability)
    edges = np.linspace(0, 1, len(counts) + 1)
    known = counts > 0
    axis.plot([0, 1], [0, 1], color="0.8")
    bounds = [
        wilson(float(part), int(n)) for part, n in zip(seen[known], counts[known], strict=True)
    ]
    reach = np.abs(np.array(bounds).T - seen[known])  # (2, B): below and above
    axis.errorbar(stated[known], seen[known], reach, fmt="C0-o", markersize=4, lw=1, capsize=2)
    axis.set_ylabel("how often it was so")
    axis.set_ylim(-0.02, 1.02)
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color="C0", edgecolor="w")
    below.set_yscale("symlog", linthresh=10)
    below.set_ylabel("films")
    below.set_xlabel(f"probability of {said}")
    save(figure, path)


def plot_scores(
    present: _Bools,
    probability: _Floats,
    threshold: float | None,
    finding: str,
    path: Path,
) -> None:
    """Histogram of the probability where the finding is present and where it is absent.

    threshold: None where the most probable label decides.
    """
    figure, axis = plt.subplots(figsize=(7, 4))
    bins = np.linspace(0, 1, 41).tolist()
    axis.hist(probability[~present], bins, alpha=0.6, label=f"no {finding}")
    axis.hist(probability[present], bins, alpha=0.6, label=finding)
    if threshold is not None:
        axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set_yscale("symlog", linthresh=10)
    axis.set_xlabel(f"probability of {finding}")
    axis.set_ylabel("films")
    axis.legend(loc="upper center")
    save(figure, path)


def plot_films(films: Sequence[_Floats], captions: Sequence[str], path: Path) -> None:
    """A contact sheet of grey films (H, W), 0 to 1. It shows patients: for its user's eyes only."""
    n_columns = 4
    n_rows = -(-len(films) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(11, 3.3 * n_rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, film, caption in zip(axes.flat, films, captions, strict=False):
        axis.imshow(film, cmap="gray", vmin=0, vmax=1)
        axis.set_title(caption, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """As a PNG, or whatever the path's suffix says."""
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
