"""Where the gate's head reads: a feature map of each of the network's last resolutions.

Early maps still know which way up a film hangs and how its grey values run; late ones what is on
it. All are averaged to one grid of GRID x GRID cells, so that the head knows where on the film.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, shape_inference
from onnxruntime import InferenceSession

from ..convert import INPUT_NAME
from ..errors import ExportError

GRID = 7
TAPS_NAME = "taps"
# Networks halve a film's side five times on the way to their last map.
_HALVED = 32
# What may change a map's values, and not only how they are stored or laid out.
_MAKERS = ("Conv", "Add", "Relu", "Clip", "Concat", "MaxPool", "AveragePool", "BatchNormalization")


def with_taps(model: onnx.ModelProto, n_resolutions: int) -> onnx.ModelProto:
    """The model with the output `taps` (N, C, GRID, GRID), and no other.

    Raises ExportError where the network has no maps of so many sizes that GRID divides.
    """
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    n_channels = add_taps(tapped, n_resolutions)
    del tapped.graph.output[:]
    shape: list[str | int | None] = ["batch", n_channels, GRID, GRID]
    tapped.graph.output.append(
        helper.make_tensor_value_info(TAPS_NAME, onnx.TensorProto.FLOAT, shape)
    )
    return tapped


def add_taps(model: onnx.ModelProto, n_resolutions: int) -> int:
    """Append the nodes that make `taps`; returns its channels C. Raises ExportError: with_taps."""
    graph = model.graph
    maps = _maps(model, n_resolutions)
    pooled = []
    for name, _, side in maps:
        cell = side // GRID
        if cell > 1:
            pool = helper.make_node(
                "AveragePool",
                [name],
                [f"{name}_tap"],
                f"gate_pool_{side}",
                kernel_shape=[cell, cell],
                strides=[cell, cell],
            )
            graph.node.append(pool)
            name = pool.output[0]
        pooled.append(name)
    graph.node.append(helper.make_node("Concat", pooled, [TAPS_NAME], "gate_taps", axis=1))
    return sum(n_channels for _, n_channels, _ in maps)


def _maps(model: onnx.ModelProto, n_resolutions: int) -> list[tuple[str, int, int]]:
    """Name, channels and side of each map that is read, the finest first.

    Of each resolution the last sum, where a network of residual blocks keeps its result; of others
    the last map.
    """
    graph = model.graph
    inferred = shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in inferred.value_info
    }
    stored = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    read = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    last: dict[int, tuple[bool, str, int]] = {}
    for node in graph.node:
        name = node.output[0]
        shape = shapes.get(name, [])
        if node.op_type not in _MAKERS or len(shape) != 4 or shape[2] != shape[3]:
            continue
        side = shape[2]
        is_sum = node.op_type == "Add"
        if side % GRID or (side in last and last[side][0] and not is_sum):
            continue
        # In int8 the map is read as it is stored, so that what made it stays in one piece.
        if name in stored:
            name = read[stored[name].output[0]].output[0]
        last[side] = is_sum, name, shape[1]
    if len(last) < n_resolutions:
        raise ExportError(
            f"The network has feature maps of {len(last)} sizes that {GRID} divides; a gate reads "
            f"{n_resolutions}.",
            f"Train it on films whose sides are a multiple of {GRID * _HALVED} px.",
        )
    sides = sorted(last)[:n_resolutions]
    return [(last[side][1], last[side][2], side) for side in sorted(sides, reverse=True)]


def taps_of(session: InferenceSession, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Taps (N, C, GRID, GRID) of prepared films (N, C', H, W), by a network `with_taps`."""
    taps: NDArray[np.float32] = session.run([TAPS_NAME], {INPUT_NAME: inputs})[0]
    return taps
