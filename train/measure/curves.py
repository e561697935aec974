"""The evidence beside a model file: the curves behind its figures (cxr_edge/evidence.py)."""

import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_edge import evidence
from cxr_edge.bins import score_counts
from cxr_edge.evidence import (
    BandPoint,
    Evidence,
    FindingEvidence,
    OperatingFigures,
    ReliabilityBin,
    RocPoint,
)
from cxr_edge.proportion import wilson

from ..data.films import digest_of
from .answers import Answers, Measured
from .metrics import N_BOOTSTRAP, Interval, curve_band, reliability, roc_curve

N_POINTS = 100
# A quarter of a pixel of a picture 500 pixels wide.
_INVISIBLE = 0.0005
_DECIMALS = 5  # of what is only drawn

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.floating]


def evidence_of(
    answers: Answers, measured: Measured, model_sha256: str, measured_on: str
) -> Evidence:
    """What the pictures of a model are drawn from.

    answers: of the model file with this sha256, by its operating points. measured: their figures.
    measured_on: which films these are, in words. Findings of which all films or none have one, or
    so few that resampling leaves a figure open, are left out.
    """
    return Evidence(
        schema_version=evidence.SCHEMA_VERSION,
        model_sha256=model_sha256,
        measured_on=measured_on,
        films_digest=digest_of(answers.films),
        n_films=measured.n_films,
        n_patients=measured.n_patients,
        n_unanswered=len(answers.unanswered),
        findings=tuple(
            _of_finding(answers, measured, name)
            for name in answers.judged
            if _determined(measured, name)
        ),
    )


def _determined(measured: Measured, finding: str) -> bool:
    shown = ("auroc", "sensitivity", "specificity", "brier", "ece")
    intervals = (measured.findings[finding][name] for name in shown)
    return not any(np.isnan([one.value, one.low, one.high]).any() for one in intervals)


def _of_finding(answers: Answers, measured: Measured, finding: str) -> FindingEvidence:
    present, probability = answers.of(finding)
    figures = {name: _interval(one) for name, one in measured.findings[finding].items()}
    operating_point = OperatingFigures(
        answers.thresholds[finding], figures["sensitivity"], figures["specificity"]
    )
    return FindingEvidence(
        finding=finding,
        n_present=int(present.sum()),
        n_absent=int((~present).sum()),
        auroc=figures["auroc"],
        roc=roc_points(present, probability, operating_point.on_curve),
        roc_band=band_points(present, probability, answers.patients),
        operating_point=operating_point,
        reliability=reliability_bins(present, probability),
        brier=figures["brier"],
        ece=figures["ece"],
        scores_present=score_counts(probability[present]),
        scores_absent=score_counts(probability[~present]),
    )


def roc_points(
    present: _Bools, probability: _Floats, through: RocPoint, n_points: int = N_POINTS
) -> tuple[RocPoint, ...]:
    """The ROC curve in few points, one of them as near to `through` as the curve comes."""
    curve = np.stack(roc_curve(present, probability), 1)  # (P, 2)
    aim = (through.false_alarms, through.sensitivity)
    nearest = int(np.hypot(*(curve - aim).T).argmin())
    chosen = curve[thinned(curve, n_points, (nearest,))].round(_DECIMALS)
    return tuple(RocPoint(*point) for point in chosen.tolist())


def band_points(
    present: _Bools, probability: _Floats, patients: Sequence[str], n_points: int = N_POINTS
) -> tuple[BandPoint, ...]:
    """The ROC curve's band over resampled patients, in few points."""
    curve = np.stack(roc_curve(present, probability), 1)
    # The curve's own steps too: a good model's lie close together near 0.
    steps = curve[thinned(curve, n_points), 0]
    grid = np.unique(np.concatenate([np.linspace(0, 1, 201), steps]))
    low, high = curve_band(roc_curve, present, probability, patients, grid, N_BOOTSTRAP)
    band = np.stack([grid, low, high], 1)
    chosen = band[thinned(band, n_points)].round(_DECIMALS)
    return tuple(BandPoint(*point) for point in chosen.tolist())


def thinned(points: _Floats, n_points: int, kept: Sequence[int] = ()) -> NDArray[np.int64]:
    """Which points of a line (P, D) draw it: both ends, those kept, and whichever lies farthest off
    what is drawn so far, until none does visibly or there are n_points.
    """
    taken = sorted({0, len(points) - 1, *kept})
    while len(taken) < n_points:
        off = _off_the_line(points, taken)
        if off.max() <= _INVISIBLE:
            break
        bisect.insort(taken, int(off.argmax()))
    return np.array(taken)


def _off_the_line(points: _Floats, taken: Sequence[int]) -> _Floats:
    """How far each point is from the line through those taken, between its own neighbours: (P,)."""
    corners = np.array(taken)
    after = np.searchsorted(corners, np.arange(len(points)), "right").clip(1, len(corners) - 1)
    start, end = points[corners[after - 1]], points[corners[after]]
    along = end - start
    length = np.maximum((along**2).sum(1), 1e-12)
    at = (((points - start) * along).sum(1) / length).clip(0, 1)
    return np.sqrt(((start + at[:, np.newaxis] * along - points) ** 2).sum(1))


def reliability_bins(present: _Bools, probability: _Floats) -> tuple[ReliabilityBin, ...]:
    """The bins of the expected calibration error that hold films."""
    rows = zip(*reliability(present, probability), strict=True)
    return tuple(
        ReliabilityBin(
            int(n),
            *(round(float(x), _DECIMALS) for x in (stated, seen, *wilson(float(seen), int(n)))),
        )
        for stated, seen, n in rows
        if n
    )


def _interval(one: Interval) -> evidence.Interval:
    return evidence.Interval(one.value, one.low, one.high)
