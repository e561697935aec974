"""fp32 ONNX to static QDQ int8.

U8S8 per channel with reduce_range: without VNNI, AVX2 adds pairs of u8 x s8 products in 16 bits,
which saturate unless the weights keep to 7 bits (onnxruntime's quantization guide).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from .convert import INPUT_NAME

RECIPE = {
    "format": "QDQ",
    "activations": "uint8",
    "weights": "int8 per channel, 7 bits (reduce_range)",
    "ranges": "minimum and maximum over the range films",
}


class _Films(CalibrationDataReader):
    """Feeds the range films one by one, as onnxruntime asks for them."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        self._inputs: Iterator[NDArray[np.float32]] = iter(inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        film = next(self._inputs, None)
        return None if film is None else {INPUT_NAME: film}


def quantize(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> onnx.ModelProto:
    """The model in int8; activation ranges are taken from prepared films,
    float32 (N, 1, C, H, W)."""
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder, f"{i}.onnx") for i in range(3))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Films(inputs),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(target)
