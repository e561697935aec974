"""The fitted head becomes a part of the model's own graph."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from cxr_edge.model import GATE_OUTPUTS

from .head import Head
from .taps import TAPS_NAME, add_taps

_PREFIX = "gate_"


def with_gate(
    model: onnx.ModelProto, head: Head, whitening: NDArray[np.float32], n_resolutions: int
) -> onnx.ModelProto:
    """The model with two more outputs: conditions (N, G) and features (N, D).

    whitening: (E, D), from what the head embeds to the features. n_resolutions: of the maps that
    the head was fitted on. A gate that is there already is replaced.
    """
    changed = without_gate(model)
    graph = changed.graph
    add_taps(changed, n_resolutions)

    def add(kind: str, inputs: list[str], name: str, **attributes: int | list[int]) -> None:
        names = [one if one == TAPS_NAME else _PREFIX + one for one in inputs]
        output = name if name in GATE_OUTPUTS else _PREFIX + name
        node = helper.make_node(kind, names, [output], _PREFIX + name)
        node.attribute.extend(helper.make_attribute(*one) for one in attributes.items())
        graph.node.append(node)

    def keep(array: NDArray[Any], name: str) -> None:
        graph.initializer.append(numpy_helper.from_array(array, _PREFIX + name))

    for name, array in _weights(head, whitening).items():
        if array.dtype == np.float16:
            # Half the size; onnxruntime makes fp32 of them once, when it loads the model.
            keep(array, f"{name}_fp16")
            add("Cast", [f"{name}_fp16"], name, to=onnx.TensorProto.FLOAT)
        else:
            keep(array, name)
    keep(np.array([0, -1], np.int64), "flat")
    add("Conv", [TAPS_NAME, "reduce_weight", "reduce_bias"], "reduced")
    add("Relu", ["reduced"], "reduced_on")
    add("Conv", ["reduced_on", "look_weight", "look_bias"], "looked", pads=[1] * 4)
    add("Relu", ["looked"], "looked_on")
    add("Add", ["reduced_on", "looked_on"], "seen")
    gather = ["seen", "gather_weight", "gather_bias"]
    add("Conv", gather, "gathered", pads=[1] * 4, strides=[2, 2])
    add("Relu", ["gathered"], "gathered_on")
    add("Reshape", ["gathered_on", "flat"], "flattened")
    add("Gemm", ["flattened", "embed_weight", "embed_bias"], "embedded", transB=1)
    add("Relu", ["embedded"], "embedded_on")
    add("Gemm", ["embedded_on", "judge_weight", "judge_bias"], GATE_OUTPUTS[0], transB=1)
    add("MatMul", ["embedded", "whitening"], GATE_OUTPUTS[1])
    for name, n in zip(GATE_OUTPUTS, (head.judge.out_features, whitening.shape[1]), strict=True):
        value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", n])
        graph.output.append(value)
    onnx.checker.check_model(changed)
    return changed


def without_gate(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as it was before `with_gate`."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    kept = {
        "node": [node for node in graph.node if not node.name.startswith(_PREFIX)],
        "initializer": [one for one in graph.initializer if not one.name.startswith(_PREFIX)],
        "output": [one for one in graph.output if one.name not in GATE_OUTPUTS],
    }
    for field, parts in kept.items():
        graph.ClearField(field)
        getattr(graph, field).extend(parts)
    return bare


def _weights(head: Head, whitening: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
    """Of each layer, by name: matrices in half precision, biases in full.

    The taps' mean and variance are taken into the first layer.
    """
    state = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    mean, std = state.pop("mean"), state.pop("std")
    state["reduce.weight"] = (state["reduce.weight"] / std).astype(np.float16)
    # What the rounded weights make of the mean is what has to be taken off.
    shift = (state["reduce.weight"].astype(np.float32) * mean).sum((1, 2, 3))
    state["reduce.bias"] = state["reduce.bias"] - shift
    return {
        name.replace(".", "_"): array if array.ndim == 1 else array.astype(np.float16)
        for name, array in (state | {"whitening": whitening}).items()
    }
