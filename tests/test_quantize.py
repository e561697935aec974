"""What quantization keeps, apart from how much it changes (that is compared at every export)."""

from collections.abc import Collection

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.convert import HEATMAPS_NAME, INPUT_NAME, OUTPUT_NAME, heatmap_nodes
from export.errors import ExportError
from export.quantize import convolutions, fold, has_depthwise, head, quantize
from export.ranges import MIN_MAX
from tests.small_onnx import answers_of, folded_of, fp32_of, rms, seen_of


def int8(name: str, fp32_convs: Collection[str] = (), **how: bool) -> onnx.ModelProto:
    return quantize(folded_of(name), seen_of(name).ranges(MIN_MAX), fp32_convs, **how)


def int8_layers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The whole weights of each node that reads some, by the node's name."""
    stored = {
        t.name: numpy_helper.to_array(t)
        for t in model.graph.initializer
        if t.data_type == TensorProto.INT8
    }
    unpacked = {
        node.output[0]: stored[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    return {
        node.name: unpacked[name]
        for node in model.graph.node
        for name in node.input
        if name in unpacked
    }


def reads(model: onnx.ModelProto, node: onnx.NodeProto) -> set[str]:
    """The kinds of the nodes that make what a node reads."""
    makers = {name: other.op_type for other in model.graph.node for name in other.output}
    return {makers.get(name, "") for name in node.input}


def test_weights_keep_to_7_bits_but_for_depthwise_ones() -> None:
    layers = int8_layers(int8("mobilenet_v2"))
    depthwise = [w for w in layers.values() if w.shape[1:] == (1, 3, 3) and len(w) > 1]
    stem = next(iter(layers.values()))
    assert stem.shape == (32, 1, 3, 3)  # one grey channel in one group is no depthwise layer
    dense = [stem, *(w for w in layers.values() if w.shape[2:] == (1, 1))]
    depthwise = [w for w in depthwise if w is not stem]
    assert (len(depthwise), len(dense)) == (3, 6)
    for weights in dense:
        # Each channel on its own has its largest weight at the end of the 7 bits.
        assert set(np.abs(weights.astype(int)).reshape(len(weights), -1).max(1)) <= {63, 64}
    for weights in depthwise:
        assert set(np.abs(weights.astype(int)).reshape(len(weights), -1).max(1)) <= {126, 127, 128}


def test_without_its_own_rule_a_depthwise_layer_has_7_bits_too() -> None:
    layers = int8_layers(int8("mobilenet_v2", depthwise_8_bits=False))
    assert max(np.abs(w.astype(int)).max() for w in layers.values()) == 64


def test_only_mobilenet_has_depthwise_layers() -> None:
    assert has_depthwise(fp32_of("mobilenet_v2"))
    assert not has_depthwise(fp32_of("small_cnn"))  # its first layer reads one channel


def test_per_tensor_weights_have_one_scale() -> None:
    model = int8("small_cnn", per_channel=False, reduce_range=False)
    scales = {t.name: t for t in model.graph.initializer if t.name.endswith("weight_scale")}
    assert scales
    assert all(numpy_helper.to_array(t).size == 1 for t in scales.values())


def test_the_head_and_what_serves_the_heatmaps_stay_in_fp32() -> None:
    model = int8("small_cnn")
    assert list(int8_layers(model)) == convolutions(folded_of("small_cnn"))
    # What they read may come from int8; their weights and their answers do not go through it.
    floats = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert set(head(model.graph).input[1:]) <= floats
    alone = set(heatmap_nodes(model.graph))
    kinds = [node.op_type for node in model.graph.node if node.name in alone]
    assert kinds.count("MatMul") == 1
    assert "QuantizeLinear" not in kinds


def test_named_convolutions_stay_in_fp32() -> None:
    names = convolutions(folded_of("small_cnn"))
    kept = [names[0], names[3]]
    assert list(int8_layers(int8("small_cnn", kept))) == [n for n in names if n not in kept]


def test_an_int8_model_gives_both_answers_near_those_of_fp32() -> None:
    model = int8("small_cnn")
    assert [output.name for output in model.graph.output] == [OUTPUT_NAME, HEATMAPS_NAME]
    logits, heatmaps = answers_of(fp32_of("small_cnn"))
    rounded_logits, rounded_heatmaps = answers_of(model)
    for exact, rounded in ((logits, rounded_logits), (heatmaps, rounded_heatmaps)):
        assert exact.shape == rounded.shape
        assert 0 < rms(rounded - exact) < 0.2 * exact.std()  # it did round, and not much


def test_a_batch_norm_that_cannot_be_folded_stays_in_fp32() -> None:
    model = int8("densenet201")  # its norms stand before their convolutions
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert norms
    floats = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert all(set(norm.input[1:]) <= floats for norm in norms)


def test_folding_changes_nothing_but_the_batch_norms() -> None:
    kinds = {node.op_type for node in folded_of("resnet18").graph.node}
    assert "BatchNormalization" not in kinds
    for exact, folded in zip(
        answers_of(fp32_of("resnet18")), answers_of(folded_of("resnet18")), strict=True
    ):
        np.testing.assert_allclose(folded, exact, atol=1e-4)


def test_a_network_without_a_linear_head_is_refused() -> None:
    weight = numpy_helper.from_array(np.ones((2, 1, 64, 64), np.float32), "weight")
    nodes = [
        helper.make_node("Conv", [INPUT_NAME, "weight"], ["map"], "conv"),
        helper.make_node("Flatten", ["map"], [OUTPUT_NAME], "flatten"),
        helper.make_node("Identity", ["map"], [HEATMAPS_NAME], "heatmaps"),
    ]
    shapes = ((INPUT_NAME, 1, 64), (OUTPUT_NAME, 2, 0), (HEATMAPS_NAME, 2, 1))
    values = [
        helper.make_tensor_value_info(name, 1, ["n", c, side, side] if side else ["n", c])
        for name, c, side in shapes
    ]
    graph = helper.make_graph(nodes, "headless", values[:1], values[1:], [weight])
    headless = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(ExportError, match="not in a linear layer"):
        quantize(fold(headless), {})
