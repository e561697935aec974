"""Cross-layer equalisation: the same network, with channels that range alike."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.convert import HEATMAPS_NAME, INPUT_NAME, OUTPUT_NAME
from export.equalise import equalise
from tests.small_onnx import FILMS, answers_of, folded_of

N_HIDDEN = 6


def chain(between: str, group: int = 1) -> onnx.ModelProto:
    """conv -> `between` -> conv -> mean -> Gemm, channels of wildly different ranges."""
    rng = np.random.default_rng(0)
    uneven = np.float32(10) ** np.linspace(-2, 2, N_HIDDEN, dtype=np.float32)

    def weights(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    first = weights(N_HIDDEN, 1, 3, 3) * uneven[:, None, None, None]
    made = {
        "w1": first,
        "b1": weights(N_HIDDEN) * uneven,
        "w2": weights(N_HIDDEN, N_HIDDEN // group, 3, 3),
        "b2": weights(N_HIDDEN),
        "head": weights(2, N_HIDDEN),
        "bias": weights(2),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    limits = ["low", "high"] if between == "Clip" else []
    nodes = [
        helper.make_node("Conv", [INPUT_NAME, "w1", "b1"], ["one"], "conv1", pads=[1] * 4),
        helper.make_node(between, ["one", *limits], ["between"], "between"),
        helper.make_node("Conv", ["between", "w2", "b2"], ["two"], "conv2", group=group),
        helper.make_node("Relu", ["two"], ["features"], "relu"),
        helper.make_node("GlobalAveragePool", ["features"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head", "bias"], [OUTPUT_NAME], "head", transB=1),
        helper.make_node("Softplus", ["features"], [HEATMAPS_NAME], "heatmaps"),
    ]
    shapes = {
        INPUT_NAME: ["n", 1, 64, 64],
        OUTPUT_NAME: ["n", 2],
        HEATMAPS_NAME: ["n", N_HIDDEN, 62, 62],
    }
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "chain",
        values[:1],
        values[1:],
        [numpy_helper.from_array(value, name) for name, value in made.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def ranges_of(weights: NDArray[np.float32], channel_axis: int) -> NDArray[np.float32]:
    return np.abs(np.moveaxis(weights, channel_axis, 0)).reshape(N_HIDDEN, -1).max(1)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50", "densenet201"])
def test_the_network_says_the_same(name: str) -> None:
    model = folded_of(name)
    equal = equalise(model)
    before, after = weights_of(model), weights_of(equal)
    # Of DenseNet only a bottleneck lies between two convolutions with no norm or concatenation.
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    for expected, found in zip(answers_of(model), answers_of(equal), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("group", [1, N_HIDDEN])
def test_the_channels_of_a_pair_range_alike_afterwards(group: int) -> None:
    model = chain("Relu", group)
    before, after = weights_of(model), weights_of(equalise(model))
    axis = 0 if group > 1 else 1
    assert np.ptp(np.log10(ranges_of(before["w1"], 0) / ranges_of(before["w2"], axis))) > 3
    np.testing.assert_allclose(ranges_of(after["w1"], 0), ranges_of(after["w2"], axis), rtol=1e-5)
    logits, found = answers_of(model)[0], answers_of(equalise(model))[0]
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("between", ["Clip", "Sigmoid"])
def test_what_tells_large_from_small_is_not_scaled_across(between: str) -> None:
    model = chain(between)
    before, after = weights_of(model), weights_of(equalise(model))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_what_the_heatmaps_read_is_not_scaled() -> None:
    model = chain("Relu")
    before, after = weights_of(model), weights_of(equalise(model))
    assert np.array_equal(before["head"], after["head"])
    expected, found = answers_of(model, FILMS[:4])[1], answers_of(equalise(model), FILMS[:4])[1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_the_model_given_is_not_changed() -> None:
    model = chain("Relu")
    data = model.SerializeToString()
    equalise(model)
    assert model.SerializeToString() == data
