"""The ranges of the activations, from what the fp32 model does with the range films."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from .convert import INPUT_NAME

MIN_MAX, PERCENTILE, ENTROPY, MSE = METHODS = ("min-max", "percentile", "entropy", "MSE")
_PERCENTILE = 99.99
_N_BINS = 1024
_N_LEVELS = 256
Range = tuple[float, float]


@dataclass(frozen=True)
class Activations:
    """What was seen of each activation: by tensor name, onnxruntime's histogram of its values."""

    collector: HistogramCollector

    def ranges(self, method: str) -> dict[str, Range]:
        """Lowest and highest value of each tensor that int8 is to hold, by one of METHODS.

        "percentile" leaves out a hundredth of a percent; "entropy" is the range whose int8 values
        are distributed most like the real ones (onnxruntime's); "MSE" the one with the least
        squared error.
        """
        histograms = self.collector.get_histogram_dict()
        if method == MIN_MAX:
            return {name: (float(h[2]), float(h[3])) for name, h in histograms.items()}
        if method == MSE:
            return {
                name: _least_error(h[0], h[1], (float(h[2]), float(h[3])))
                for name, h in histograms.items()
            }
        with contextlib.redirect_stdout(io.StringIO()):
            found = (
                self.collector.compute_percentile()
                if method == PERCENTILE
                else self.collector.compute_entropy()
            )
        return {name: (float(values[0]), float(values[1])) for name, values in found.items()}


def observe(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> Activations:
    """Run the range films, float32 (N, 1, C, H, W), and keep a histogram of every activation."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    names = [INPUT_NAME, *(name for node in model.graph.node for name in node.output)]
    for name in names:
        if name not in known:
            watched.graph.output.add(name=name)
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    collector = HistogramCollector("percentile", False, _N_BINS, _N_BINS, _PERCENTILE, "same")
    for film in inputs:
        values = session.run(names, {INPUT_NAME: film})
        found = {n: v for n, v in zip(names, values, strict=True) if v.dtype == np.float32}
        with contextlib.redirect_stdout(io.StringIO()):
            collector.collect(found)
    return Activations(collector)


def _least_error(counts: NDArray[np.integer], edges: NDArray[np.floating], ends: Range) -> Range:
    """The range with the least squared error of rounding to 256 levels and of clipping.

    Either end is drawn in by itself, to 30 % of the way to zero at most.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    parts = np.linspace(1, 0.3, 36)
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    lows, highs = low * parts, high * parts
    below = [float((counts * np.clip(end - centres, 0, None) ** 2).sum()) for end in lows]
    above = [float((counts * np.clip(centres - end, 0, None) ** 2).sum()) for end in highs]
    steps = (highs[np.newaxis] - lows[:, np.newaxis]) / (_N_LEVELS - 1)
    errors = np.add.outer(below, above) + counts.sum() * steps**2 / 12
    i, j = np.unravel_index(int(errors.argmin()), errors.shape)
    return float(lows[i]), float(highs[j])
