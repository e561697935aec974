"""The pictures that only the evidence page has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from ..metrics import Interval
from ..plots import save
from .decision_curve import DecisionCurve
from .robustness import RobustnessCurve

_N_COLUMNS = 4
_FIGURES = ("auroc", "sensitivity", "specificity")


def plot_robustness(curves: Sequence[RobustnessCurve], finding: str, path: Path) -> None:
    """By disturbance: a finding's figures over its levels, each with its 95 % interval, and the
    part of the films that the gate would refuse, where there is one; dotted: films as they are.
    """
    n_rows = -(-len(curves) // _N_COLUMNS)
    figure, axes = plt.subplots(
        n_rows, _N_COLUMNS, figsize=(12, 2.9 * n_rows), sharey=True, layout="constrained"
    )
    for axis, curve in zip(axes.flat, curves, strict=True):
        levels = [one.level for one in curve.levels]
        lines = {
            name: [one.measured.findings[finding][name] for one in curve.levels]
            for name in _FIGURES
        }
        refused = [one.refused for one in curve.levels if one.refused is not None]
        if refused:
            lines["refused"] = refused
        axis.axvline(curve.disturbance.untouched, color="0.7", linestyle=":")
        for name, intervals in lines.items():
            value, low, high = _columns(intervals)
            (line,) = axis.plot(
                levels, value, "-o", markersize=3, label=name.replace("auroc", "AUROC")
            )
            axis.fill_between(levels, low, high, color=line.get_color(), alpha=0.15, lw=0)
        axis.set_title(curve.disturbance.name, fontsize=10)
        scale = [curve.disturbance.scale, curve.disturbance.unit.strip()]
        axis.set_xlabel(", ".join(filter(None, scale)), fontsize=8)
        axis.set_ylim(-0.02, 1.02)
    axes.flat[0].legend(loc="lower left", fontsize=8)
    save(figure, path)


def plot_decision_curve(
    curve: DecisionCurve, finding: str, threshold: float | None, path: Path
) -> None:
    """Net benefit over the threshold probability, against acting on all films and on none.

    threshold: the operating point; None where the most probable label decides.
    """
    figure, axis = plt.subplots(figsize=(7, 4))
    (line,) = axis.plot(curve.thresholds, curve.model, label="by the model")
    axis.fill_between(
        curve.thresholds, curve.low, curve.high, color=line.get_color(), alpha=0.15, lw=0
    )
    axis.plot(curve.thresholds, curve.everyone, label="act on all films")
    axis.axhline(0, color="black", lw=1, label="act on none")
    if threshold is not None:
        axis.axvline(threshold, color="0.4", linestyle="--", label=f"threshold {threshold:.2f}")
    top = float(max(curve.high.max(), curve.everyone[0], 0.01))
    axis.set_ylim(-0.25 * top, 1.05 * top)
    axis.set_xlabel(f"probability of {finding} from which one acts")
    axis.set_ylabel("net benefit")
    axis.legend(loc="lower left", fontsize=8)
    save(figure, path)


def _columns(intervals: Sequence[Interval]) -> np.ndarray:
    """Values, lower and upper bounds: (3, L)."""
    return np.array([(one.value, one.low, one.high) for one in intervals]).T
