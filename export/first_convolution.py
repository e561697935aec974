"""The first convolution of an int8 network, in the form that onnxruntime runs fastest.

With stride 2 over a film's single channel it has to gather single bytes. SpaceToDepth makes four
channels of every 2 x 2 pixels; over those, with the same weights in other places and zeros between
them, stride 1 does, and every result is the same to the last bit.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .convert import INPUT_NAME

_BLOCK = 2


def over_blocks(model: onnx.ModelProto) -> onnx.ModelProto:
    """The QDQ model with its first convolution over blocks of 2 x 2 pixels.

    The same model where that is not in int8, or has another stride, padding or size than would do.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    conv = _first_convolution(graph)
    if conv is None:
        return model
    weights = next(node for node in graph.node if node.output[0] == conv.input[1])
    tensor = next(each for each in graph.initializer if each.name == weights.input[0])
    moved, n_before, n_after = _moved(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    del conv.attribute[:]
    conv.attribute.extend(
        [
            helper.make_attribute("kernel_shape", moved.shape[2:]),
            helper.make_attribute("strides", (1, 1)),
            helper.make_attribute("pads", (n_before, n_before, n_after, n_after)),
        ]
    )
    blocks = f"{INPUT_NAME}_blocks"
    reader = next(node for node in graph.node if INPUT_NAME in node.input)
    reader.input[0] = blocks
    graph.node.insert(
        0,
        helper.make_node(
            "SpaceToDepth", [INPUT_NAME], [blocks], "radiographs_to_blocks", blocksize=_BLOCK
        ),
    )
    return changed


def _first_convolution(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """The quantized convolution that alone reads the input, where it can be written so."""
    name = INPUT_NAME
    for kind in ("QuantizeLinear", "DequantizeLinear", "Conv"):
        readers = [node for node in graph.node if name in node.input]
        if [node.op_type for node in readers] != [kind]:
            return None
        conv, name = readers[0], readers[0].output[0]
    makers = {node.output[0]: node.op_type for node in graph.node}
    in_int8 = makers.get(conv.input[1]) == "DequantizeLinear"
    return conv if in_int8 and _fits(conv, graph.input[0]) else None


def _fits(conv: onnx.NodeProto, source: onnx.ValueInfoProto) -> bool:
    """Whether its results stand at every second pixel of an even number, and nothing is special."""
    a = {each.name: helper.get_attribute_value(each) for each in conv.attribute}
    kernel = a.get("kernel_shape", [])
    return (
        len(kernel) == 2
        and all(side % 2 for side in kernel)
        and a.get("strides") == [_BLOCK, _BLOCK]
        and a.get("pads") == 2 * [side // 2 for side in kernel]
        and kernel[0] == kernel[1]
        and a.get("dilations", [1, 1]) == [1, 1]
        and a.get("group", 1) == 1
        and a.get("auto_pad", b"NOTSET") == b"NOTSET"
        and all(d.dim_value % _BLOCK == 0 for d in source.type.tensor_type.shape.dim[2:])
    )


def _moved(weights: NDArray[np.int8]) -> tuple[NDArray[np.int8], int, int]:
    """Weights (M, C, k, k) as (M, 4 C, n, n), and by how many blocks to pad before and after.

    Pixel 2 i + r - k // 2, which weight r meets at result i, lies in block i + (r - k // 2) // 2.
    The channels of SpaceToDepth: row in the block, column in it, channel (ONNX operators).
    """
    n_results, n_channels, side, _ = weights.shape
    places = [divmod(r - side // 2, _BLOCK) for r in range(side)]
    n_before, n_after = -places[0][0], places[-1][0]
    n = n_before + 1 + n_after
    moved = np.zeros((n_results, _BLOCK, _BLOCK, n_channels, n, n), weights.dtype)
    for r, (block_row, row) in enumerate(places):
        for c, (block_column, column) in enumerate(places):
            moved[:, row, column, :, n_before + block_row, n_before + block_column] = weights[
                :, :, r, c
            ]
    return moved.reshape(n_results, -1, n, n), n_before, n_after
