"""Cross-layer equalisation (Nagel et al. 2019, arXiv:1906.04721, section 4.1).

Where nothing between two layers of convolutions tells large from small (a ReLU, a sum, a pooling,
but no clip at 6), each channel may be scaled down in the first layer and up again in the second:
the network says the same, and no channel must share its int8 range with one that is far larger.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .quantize import is_depthwise

# f(s * x) = s * f(x) for every s > 0, channel by channel.
_HOMOGENEOUS = frozenset(
    {"Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Identity"}
)


def equalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with equalised channels. model: batch norms folded into the convolutions."""
    equal = onnx.ModelProto()
    equal.CopyFrom(model)
    graph = equal.graph
    weights = {t.name: numpy_helper.to_array(t).copy() for t in graph.initializer}
    for tensors in _spans(graph):
        layers = [node for node in graph.node if node.op_type not in _HOMOGENEOUS]
        _equalise_span(
            weights,
            [node for node in layers if node.output[0] in tensors],
            [node for node in layers if node.input[0] in tensors],
        )
    for tensor in graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return equal


def _spans(graph: onnx.GraphProto) -> list[set[str]]:
    """Sets of tensors that must be scaled alike, made by convolutions and read by layers."""
    fixed = {t.name for t in graph.initializer}
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    bad = {output.name for output in graph.output} | {i.name for i in graph.input}
    for node in graph.node:
        if node.op_type in _HOMOGENEOUS:
            # Of ReduceMean the second input names the axes.
            ends = node.input if node.op_type == "Add" else node.input[:1]
            if set(ends) & fixed:
                bad.update(node.output)
            for name in ends:
                parent[root(name)] = root(node.output[0])
        elif node.op_type == "Conv":
            bad.update(name for name in node.input[1:] if name not in fixed)
        else:
            bad.update(node.output)
            if not _reads_channels(node, fixed):
                bad.update(node.input)
    spans: dict[str, set[str]] = defaultdict(set)
    for name in {name for node in graph.node for name in (*node.input[:1], *node.output)} | bad:
        spans[root(name)].add(name)
    return [s for s in spans.values() if not s & bad and not s & fixed]


def _reads_channels(node: onnx.NodeProto, fixed: set[str]) -> bool:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return node.op_type == "Gemm" and node.input[1] in fixed and attributes.get("transB", 0) == 1


def _equalise_span(
    weights: dict[str, NDArray[np.float32]],
    first: Sequence[onnx.NodeProto],
    second: Sequence[onnx.NodeProto],
) -> None:
    """Scale each channel so that the layers that make it and those that read it range alike."""
    made = [weights[node.input[1]] for node in first]  # (C, ...) each
    read = [_by_input_channel(weights[node.input[1]], node) for node in second]
    if len({len(w) for w in (*made, *read)}) != 1:
        return  # a concatenation or a flattening lies between them
    out_range, in_range = (np.max([_ranges(w) for w in ways], axis=0) for ways in (made, read))
    used = (out_range > 0) & (in_range > 0)
    scale = np.ones_like(out_range)
    scale[used] = np.sqrt(out_range[used] / in_range[used])
    for node, way in zip(first, made, strict=True):
        way /= _along_first(scale, way)
        if len(node.input) > 2:
            weights[node.input[2]] /= scale
    for way in read:
        way *= _along_first(scale, way)


def _by_input_channel(weight: NDArray[np.float32], node: onnx.NodeProto) -> NDArray[np.float32]:
    """A view of a layer's weights with the input channels first; a depthwise one has one each."""
    return weight if is_depthwise(node, len(weight)) else np.moveaxis(weight, 1, 0)


def _ranges(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.abs(weight).reshape(len(weight), -1).max(1)


def _along_first(scale: NDArray[np.float32], like: NDArray[np.float32]) -> NDArray[np.float32]:
    return scale.reshape(-1, *[1] * (like.ndim - 1))
