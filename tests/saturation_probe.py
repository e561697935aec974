"""How far onnxruntime's int8 convolutions are from the exact sums; run here or on another CPU.

Prints JSON: by kind of convolution, the largest error in steps of its output.
"""

import json

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
_ZERO = 128


def error(weights: NDArray[np.int8], group: int, zero_point: int = 0) -> float:
    """Of one convolution of a film of nothing but 255, weights (C_out, C_in / group, k, k)."""
    n_out, n_in, side = len(weights), weights.shape[1] * group, weights.shape[2]
    pad = side // 2
    # The sums fill the output's 8 bits.
    scale = float(weights[0].size * 255)
    constants = {
        "one": np.float32(1),
        "zero_in": np.uint8(zero_point),
        "weights": weights,
        "ones": np.ones(n_out, np.float32),
        "zeros": np.zeros(n_out, np.int8),
        "scale": np.float32(scale),
        "zero": np.uint8(_ZERO),
    }
    names = ["x", "one", "zero_in", "weights", "ones", "zeros", "scale", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", names, ["y"], group=group, pads=[pad] * 4)],
        "one convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, n_in, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, n_out, SIDE, SIDE])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.full((1, n_in, SIDE, SIDE), 255, np.uint8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": x})[0][0].astype(int) - _ZERO
    inside = np.pad(np.full((SIDE, SIDE), 255 - zero_point), pad)
    n_shown = np.array(
        [[inside[i : i + side, j : j + side] for j in range(SIDE)] for i in range(SIDE)]
    )  # (H, W, k, k)
    exact = np.einsum("hwkl,ockl->ohw", n_shown, weights.astype(int))
    return float(np.abs(found - np.clip(np.rint(exact / scale), -_ZERO, 127)).max())


def errors() -> dict[str, float]:
    def worst(group_of_all: bool, side: int, largest: int) -> float:
        found = []
        for n_channels in (16, 33):
            shape = (n_channels, 1 if group_of_all else n_channels, side, side)
            for value in (largest, -largest):
                for zero_point in (0, 3):
                    weights = np.full(shape, value, np.int8)
                    group = n_channels if group_of_all else 1
                    found.append(error(weights, group, zero_point))
        return max(found)

    return {
        "depthwise, 8 bits": worst(True, 3, 127),
        "dense 1x1, 7 bits": worst(False, 1, 64),
        "dense 3x3, 7 bits": worst(False, 3, 64),
        "dense 1x1, 8 bits": worst(False, 1, 127),
    }


if __name__ == "__main__":
    print(json.dumps(errors()))
