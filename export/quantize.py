"""fp32 ONNX to static QDQ int8.

U8S8 per channel with reduce_range: without VNNI, AVX2 adds pairs of u8 x s8 products in 16 bits,
which saturate unless the weights keep to 7 bits (onnxruntime's quantization guide). The head stays
in fp32: it costs next to nothing, and its bias takes up what rounding adds to the logits on average
(after Nagel et al. 2019, arXiv:1906.04721, section 4.2).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from .convert import INPUT_NAME, OUTPUT_NAME
from .errors import ExportError


def recipe(n_fp32_convs: int) -> dict[str, str]:
    """How `quantize` worked, for the model card."""
    first = f", and the first {n_fp32_convs} convolutions" if n_fp32_convs else ""
    return {
        "format": "QDQ",
        "activations": "uint8",
        "weights": "int8 per channel, 7 bits (reduce_range)",
        "ranges": "minimum and maximum over the range films",
        "fp32": f"the head, its bias corrected{first}",
        "onnxruntime": onnxruntime.__version__,
    }


class _Films(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the range films one by one, as onnxruntime asks for them."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        self._inputs: Iterator[NDArray[np.float32]] = iter(inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        film = next(self._inputs, None)
        return None if film is None else {INPUT_NAME: film}


def quantize(
    model: onnx.ModelProto, inputs: NDArray[np.float32], n_fp32_convs: int
) -> onnx.ModelProto:
    """The model in int8, but for its head and its first n_fp32_convs convolutions.

    inputs: the range films as prepared, float32 (N, 1, C, H, W).
    """
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder, f"{i}.onnx") for i in range(3))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        convs = [node.name for node in graph.node if node.op_type == "Conv"]
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
            nodes_to_exclude=[*convs[:n_fp32_convs], _head(graph).name],
        )
        int8 = onnx.load(target)
    _shift_logits(int8, _mean_logits(model, inputs) - _mean_logits(int8, inputs))
    return int8


def _head(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The linear layer that gives the logits."""
    (head,) = (node for node in graph.node if OUTPUT_NAME in node.output)
    if head.op_type != "Gemm":
        raise ExportError(
            f"The network ends in {head.op_type}, not in a linear layer.",
            "Give the network a linear layer as its last.",
        )
    return head


def _shift_logits(model: onnx.ModelProto, shift: NDArray[np.float32]) -> None:
    """Add shift (K,) to the head's bias."""
    head = _head(model.graph)
    if len(head.input) == 2:  # onnxruntime drops a bias that is all zeros
        head.input.append("head_bias")
        model.graph.initializer.append(onnx.numpy_helper.from_array(shift, "head_bias"))
        return
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == head.input[2])
    shifted = onnx.numpy_helper.to_array(bias) + shift
    bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))


def _mean_logits(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits = [session.run([OUTPUT_NAME], {INPUT_NAME: film})[0] for film in inputs]
    mean: NDArray[np.float32] = np.concatenate(logits).mean(axis=0)
    return mean
