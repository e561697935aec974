"""A candidate held against fp32 on the validation films: what it changes, and how fast it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from cxr_edge.interpret import to_probability
from cxr_edge.model_card import OperatingPoint
from train.data.films import Film
from train.data.split import VALIDATION

from .choose_points import choose_points
from .compare import Comparison, Tolerance, compare, faults
from .operating_point import fit_temperature
from .quantize import logits_of
from .run import Run, prepared, present_of
from .timing import Timing, side_by_side

# int8 that is hardly faster is not worth what it changes.
MIN_TIMES_FP32 = 1.05

HEADER = (
    f"{'rung':22} {'MB':>5} {'AUROC':>7} {'change':>8} {'accuracy':>9} {'flips':>7} "
    f"{'largest':>8} {'ms':>6} {'x fp32':>7}"
)


@dataclass(frozen=True)
class Verdict:
    """What a candidate is worth. points: chosen with its own temperature; faults: see compare."""

    name: str
    model: onnx.ModelProto
    comparison: Comparison
    timing: Timing
    temperature: float
    points: tuple[OperatingPoint, ...]
    faults: tuple[str, ...]

    @property
    def size_mb(self) -> float:
        return self.model.ByteSize() / 1e6

    @property
    def passes(self) -> bool:
        return not self.faults and self.timing.times_fp32 >= MIN_TIMES_FP32

    def __str__(self) -> str:
        c = self.comparison
        return (
            f"{self.name:22} {self.size_mb:5.1f} {c.auroc:7.4f} {c.auroc_change:+8.4f} "
            f"{100 * c.accuracy_change:+8.2f}p {c.flips:7.2%} {c.probability_change:8.3f} "
            f"{self.timing.ms:6.1f} {self.timing.times_fp32:7.2f}"
        )


def compare_on_films(
    run: Run, films: Sequence[Film], fp32: onnx.ModelProto, verdict: Verdict, name: str
) -> Comparison:
    """What a chosen candidate changes on other films, with its temperature and points."""
    inputs = prepared(run, films, name)
    fp32_probability, probability = (
        to_probability(logits_of(model, inputs), run.checkpoint.activation, verdict.temperature)
        for model in (fp32, verdict.model)
    )
    findings = run.checkpoint.findings
    return compare(
        name,
        fp32_probability,
        probability,
        present_of(films, findings),
        _cuts(verdict.points, findings),
        [film.path for film in films],
    )


def _cuts(points: Sequence[OperatingPoint], findings: Sequence[str]) -> list[float]:
    own = {point.finding: point.threshold for point in points}
    return [own.get(finding, np.inf) for finding in findings]


class Judge:
    """Holds a run's validation films and what fp32 says of them.

    points: chosen already, on a sister run's films; None has them chosen on the validation films,
    anew for each candidate, with min_sensitivity.
    """

    def __init__(
        self,
        run: Run,
        fp32: onnx.ModelProto,
        points: Sequence[OperatingPoint] | None,
        min_sensitivity: float,
    ) -> None:
        self._run, self._fp32 = run, fp32
        self._points, self._min_sensitivity = points, min_sensitivity
        self.films = run.split[VALIDATION]
        self.inputs = prepared(run, self.films, "validation films")
        self.present = present_of(self.films, run.checkpoint.findings)
        self._wanted = logits_of(fp32, self.inputs)

    def judge(self, name: str, model: onnx.ModelProto, tolerance: Tolerance) -> Verdict:
        checkpoint = self._run.checkpoint
        logits = logits_of(model, self.inputs)
        temperature = fit_temperature(logits, self.present, checkpoint.activation)
        probability = to_probability(logits, checkpoint.activation, temperature)
        points = self._points or choose_points(
            checkpoint, self.present, probability, self._min_sensitivity, "validation films"
        )
        comparison = compare(
            name,
            to_probability(self._wanted, checkpoint.activation, temperature),
            probability,
            self.present,
            _cuts(points, checkpoint.findings),
            [film.path for film in self.films],
        )
        return Verdict(
            name,
            model,
            comparison,
            side_by_side(self._fp32, model, self.inputs[0]),
            temperature,
            tuple(points),
            tuple(faults(comparison, tolerance)),
        )

    def against(self, name: str, logits: NDArray[np.floating], activation: str) -> Comparison:
        """fp32 ONNX against the network's own logits (N, K) of the same films."""
        return compare(
            name,
            to_probability(logits, activation, 1.0),
            to_probability(self._wanted, activation, 1.0),
            self.present,
            [0.5] * self.present.shape[1],
            [film.path for film in self.films],
        )
