"""How long two models take, side by side."""

import time
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from .convert import INPUT_NAME, OUTPUT_NAME
from .quantize import open_network

_N_TURNS = 60
# Of all turns, by their time: what a busy machine adds comes after.
_UNDISTURBED = 0.2


@dataclass(frozen=True)
class Timing:
    """Of one film on one core, undisturbed: the candidate's milliseconds, and fp32's over them."""

    ms: float
    times_fp32: float


def side_by_side(
    fp32: onnx.ModelProto, candidate: onnx.ModelProto, film: NDArray[np.float32]
) -> Timing:
    """Both networks on one film (1, C, H, W), taking turns so that noise disturbs both alike."""
    took: tuple[list[float], list[float]] = ([], [])
    sessions = [open_network(model, threads=1) for model in (fp32, candidate)]
    for _ in range(_N_TURNS):
        for session, seconds in zip(sessions, took, strict=True):
            started = time.perf_counter()
            session.run([OUTPUT_NAME], {INPUT_NAME: film})
            seconds.append(time.perf_counter() - started)
    reference, other = (float(np.quantile(seconds, _UNDISTURBED)) for seconds in took)
    return Timing(other * 1000, reference / other)
