"""The first convolution over blocks of pixels gives to the last bit what it gave over pixels."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.convert import INPUT_NAME, OUTPUT_NAME
from export.first_convolution import over_blocks
from export.quantize import convolutions, quantize
from export.ranges import MIN_MAX
from tests.small_onnx import FILMS, NETWORKS, answers_of, folded_of, seen_of

# Their first convolution has stride 2: 3 x 3 and 7 x 7 pixels.
STRIDED = ("mobilenet_v2", "resnet18", "resnet50", "densenet201")


def int8(name: str, *fp32_convs: str) -> onnx.ModelProto:
    return quantize(folded_of(name), seen_of(name).ranges(MIN_MAX), fp32_convs)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("name", STRIDED)
def test_every_result_is_the_same_to_the_last_bit(name: str) -> None:
    before = int8(name)
    after = over_blocks(before)
    onnx.checker.check_model(after, full_check=True)
    assert kinds(after).count("SpaceToDepth") == 1
    for found, wanted in zip(answers_of(after, FILMS), answers_of(before, FILMS), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("side", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_kernels_of_any_odd_side_and_films_of_several_channels(side: int, n_channels: int) -> None:
    before = one_convolution(side, n_channels)
    after = over_blocks(before)
    assert "SpaceToDepth" in kinds(after)
    films = np.random.default_rng(1).normal(size=(2, 1, n_channels, 12, 20)).astype(np.float32)
    for found, wanted in zip(answers_of(after, films), answers_of(before, films), strict=True):
        assert np.ptp(wanted) > 0
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "how",
    [
        {"strides": [1, 1]},
        {"pads": [0, 0, 0, 0]},
        {"pads": [0, 0, 1, 1]},
        {"dilations": [2, 2]},
        {"height_px": 13},
    ],
)
def test_what_would_not_be_the_same_is_left_as_it_is(how: dict[str, int | list[int]]) -> None:
    model = one_convolution(3, 1, **how)
    assert over_blocks(model) is model


@pytest.mark.parametrize("reads", [INPUT_NAME, "rounded", "x"])
def test_an_input_that_others_read_too_is_left_as_it_is(reads: str) -> None:
    model = one_convolution(3, 1)
    kind = "DequantizeLinear" if reads == "rounded" else "Identity"
    inputs = [reads, "step", "zero"] if reads == "rounded" else [reads]
    model.graph.node.append(helper.make_node(kind, inputs, ["as it is"]))
    model.graph.output.add().CopyFrom(
        helper.make_tensor_value_info("as it is", TensorProto.FLOAT, [None] * 4)
    )
    assert over_blocks(model) is model


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - set(STRIDED)))
def test_networks_that_begin_otherwise_are_left_as_they_are(name: str) -> None:
    model = int8(name)
    assert over_blocks(model) is model


def test_a_first_convolution_in_fp32_is_left_as_it_is() -> None:
    first = convolutions(folded_of("mobilenet_v2"))[0]
    model = int8("mobilenet_v2", first)
    assert over_blocks(model) is model
    assert over_blocks(folded_of("mobilenet_v2")) is folded_of("mobilenet_v2")


def one_convolution(
    side: int, n_channels: int, height_px: int = 12, **how: int | list[int]
) -> onnx.ModelProto:
    """Films (N, C, height_px, 20), quantized, through one convolution with stride 2."""
    rng = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {
        "step": np.float32(0.03),
        "zero": np.uint8(120),
        "whole": rng.integers(-64, 65, (5, n_channels, side, side)).astype(np.int8),
        "steps": rng.uniform(0.005, 0.02, 5).astype(np.float32),
        "zeros": np.zeros(5, np.int8),
        "out step": np.float32(0.05),
        "middle": np.uint8(128),
    }
    window: dict[str, int | list[int]] = {
        "kernel_shape": [side, side],
        "strides": [2, 2],
        "pads": [side // 2] * 4,
    }
    nodes = [
        helper.make_node("QuantizeLinear", [INPUT_NAME, "step", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["whole", "steps", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["sums"], "conv", **(window | how)),
        helper.make_node("QuantizeLinear", ["sums", "out step", "middle"], ["whole sums"]),
        helper.make_node("DequantizeLinear", ["whole sums", "out step", "middle"], [OUTPUT_NAME]),
    ]
    graph = helper.make_graph(
        nodes,
        "one convolution",
        [
            helper.make_tensor_value_info(
                INPUT_NAME, TensorProto.FLOAT, ["n", n_channels, height_px, 20]
            )
        ],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
