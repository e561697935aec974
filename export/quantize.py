"""fp32 ONNX to static QDQ int8, with onnxruntime's quantizer.

U8S8 with reduce_range: without VNNI, AVX2 adds pairs of u8 x s8 products in 16 bits, which saturate
unless the weights keep to 7 bits (onnxruntime's quantization guide). Depthwise convolutions add no
such pairs and may have all 8 bits (tests/test_saturation.py holds that). The head and what serves
the heatmaps alone stay in fp32: they cost next to nothing.
"""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from cxr_edge.session import CPU, UNWANTED_OPTIMIZERS

from .convert import INPUT_NAME, OUTPUT_NAME, heatmap_nodes
from .errors import ExportError
from .ranges import Range


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network as the quantizer wants it: batch norms folded into their convolutions."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.onnx"), Path(folder, "target.onnx")
        onnx.save(model, source)
        quant_pre_process(source, target, skip_symbolic_shape=True)
        return onnx.load(target)


def quantize(
    folded: onnx.ModelProto,
    ranges: Mapping[str, Range],
    fp32_convs: Collection[str] = (),
    *,
    per_channel: bool = True,
    reduce_range: bool = True,
    depthwise_8_bits: bool = True,
) -> onnx.ModelProto:
    """The model in int8, but for its head and the convolutions of these names.

    folded: as `fold` gives it. ranges: of every activation, by tensor name.
    """
    model = onnx.ModelProto()
    model.CopyFrom(folded)
    quantizer = QDQQuantizer(
        model,
        per_channel=per_channel,
        reduce_range=reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()},
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=[*fp32_convs, head(model.graph).name, *heatmap_nodes(model.graph)],
        # onnxruntime has no int8 batch norm: one that could not be folded would only lose bits.
        op_types_to_quantize=[kind for kind in QDQRegistry if kind != "BatchNormalization"],
        extra_options={"TensorQuantOverrides": _eight_bits(folded) if depthwise_8_bits else {}},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    int8: onnx.ModelProto = quantizer.model.model
    int8.producer_name, int8.producer_version = "onnx.quantize", onnxruntime.__version__
    return int8


def _eight_bits(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """The quantizer's overrides that give depthwise weights all 8 bits, channel by channel."""
    channels = {t.name: t.dims[0] for t in model.graph.initializer if t.dims}
    how = {"quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": False}
    return {
        node.input[1]: [{"axis": 0, **how}] * channels[node.input[1]]
        for node in model.graph.node
        if node.op_type == "Conv" and is_depthwise(node, channels[node.input[1]])
    }


def has_depthwise(model: onnx.ModelProto) -> bool:
    return bool(_eight_bits(model))


def is_depthwise(conv: onnx.NodeProto, n_channels: int) -> bool:
    """Whether each output channel reads one input channel of its own."""
    groups = next((a.i for a in conv.attribute if a.name == "group"), 1)
    return 1 < groups == n_channels


def convolutions(model: onnx.ModelProto) -> list[str]:
    """The names of the convolutions, from the input on."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


def head(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The linear layer that gives the logits."""
    (last,) = (node for node in graph.node if OUTPUT_NAME in node.output)
    if last.op_type != "Gemm":
        raise ExportError(
            f"The network ends in {last.op_type}, not in a linear layer.",
            "Give the network a linear layer as its last.",
        )
    return last


def open_network(model: onnx.ModelProto, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU that optimizes as the runtime's does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=[CPU],
        disabled_optimizers=list(UNWANTED_OPTIMIZERS),
    )


def logits_of(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (N, K) of prepared films (N, 1, C, H, W), by onnxruntime on the CPU."""
    session = open_network(model)
    return np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: film})[0] for film in inputs])
