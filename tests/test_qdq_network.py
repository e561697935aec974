"""The torch twin of a QDQ model: layer by layer what onnxruntime makes of it, and written back."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from export.convert import OUTPUT_NAME
from export.errors import ExportError
from export.qdq_network import QdqNetwork
from tests.small_onnx import FILMS, NETWORKS, answers_of, folded_of, int8_of, rms

X = torch.from_numpy(FILMS[:8, 0])
# VGG's published head pools a map that is not 7 x 7 with operators that are not known here; at the
# size of its recipes, 224 px, it has none of them.
CASES = [
    *((name, "linear") for name in NETWORKS if name != "vgg16"),
    ("vgg16", "dense128"),
    ("small_cnn", "dense128"),
]


def run_float(model: onnx.ModelProto, names: list[str]) -> dict[str, NDArray[np.float32]]:
    """Tensors of X by onnxruntime, every operator as it stands in the graph."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:
        watched.graph.output.add(name=name)
    outputs = answers_of(watched, X.numpy()[:, np.newaxis], optimised=False)
    return dict(zip([output.name for output in watched.graph.output], outputs, strict=True))


@pytest.mark.parametrize(("name", "head"), CASES)
def test_every_layer_says_what_onnxruntime_says(name: str, head: str) -> None:
    # Each is given what onnxruntime gives it: what one layer rounds to the other side, a network
    # that has learned nothing blows up from layer to layer.
    model = int8_of(name, head)
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    theirs = run_float(model, convs)
    differences = {}

    def after_conv(node: onnx.NodeProto, out: Tensor) -> Tensor:
        expected = theirs[node.output[0]]
        differences[node.name] = rms(out.numpy() - expected) / rms(expected)
        return torch.from_numpy(expected)

    with torch.no_grad():
        logits = QdqNetwork(model, folded_of(name, head))(X, after_conv)
    assert len(differences) == len(convs)
    # Of DenseNet's mean of four steps every second lies halfway between two steps, and the order of
    # the arithmetic decides which it becomes.
    most = 0.05 if name == "densenet201" else 2e-3
    assert max(differences.values()) < most, differences
    # Behind the last convolution there is less to go apart in; a dense head's hidden layer rounds.
    atol = 0.1 if name == "densenet201" else 0.01
    np.testing.assert_allclose(logits.numpy(), theirs[OUTPUT_NAME], atol=atol)


@pytest.mark.parametrize(("name", "head"), CASES)
def test_of_a_plain_model_it_gives_the_logits(name: str, head: str) -> None:
    model = folded_of(name, head)
    with torch.no_grad():
        logits = QdqNetwork(model, model)(X)
    np.testing.assert_allclose(logits.numpy(), answers_of(model)[0][:8], atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v2", "small_cnn"])
def test_unchanged_it_is_written_as_it_was(name: str) -> None:
    model = int8_of(name)
    written = QdqNetwork(model, folded_of(name)).written()
    assert [node.name for node in written.graph.node] == [node.name for node in model.graph.node]
    for before, after in zip(model.graph.initializer, written.graph.initializer, strict=True):
        was, now = numpy_helper.to_array(before), numpy_helper.to_array(after)
        assert (after.name, now.dtype, now.shape) == (before.name, was.dtype, was.shape)
        # Biases of tens of thousands of steps are a step off for the last digit of their scale.
        exact = was.dtype == np.int8
        np.testing.assert_allclose(now, was, rtol=0 if exact else 1e-4, err_msg=before.name)


def test_what_was_corrected_since_the_rounding_is_kept() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(int8_of("small_cnn"))
    for tensor in model.graph.initializer:
        if tensor.name.endswith(("weight_quantized", "bias_quantized")):
            whole = numpy_helper.to_array(tensor)
            moved = np.where(whole > 5, whole - 3, whole).astype(whole.dtype)
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    written = QdqNetwork(model, folded_of("small_cnn")).written()
    for before, after in zip(model.graph.initializer, written.graph.initializer, strict=True):
        if before.name.endswith("_quantized"):
            assert np.array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before)), (
                before.name
            )


def test_a_changed_weight_is_written_in_whole_steps() -> None:
    model = int8_of("small_cnn")
    network = QdqNetwork(model, folded_of("small_cnn"))
    key, weight = next(iter(network.weights.items()))
    at = int(weight[0].abs().flatten().argmin())
    before = int8_tensor(model, key).reshape(-1)[at]
    with torch.no_grad():
        weight[0].flatten()[at] += 10 * network.log_scales[key][0].exp()
    written = network.written()
    after = int8_tensor(written, key).reshape(-1)[at]
    assert after - before == 10
    onnx.checker.check_model(written)
    assert rms(answers_of(written)[0] - answers_of(model)[0]) > 0


def test_a_weight_never_leaves_its_bits() -> None:
    model = int8_of("small_cnn")
    network = QdqNetwork(model, folded_of("small_cnn"))
    key, weight = next(iter(network.weights.items()))
    with torch.no_grad():
        weight *= 3
    written = int8_tensor(network.written(), key)
    assert written.min() >= -64
    assert written.max() <= 64


def test_gradients_reach_every_convolutions_weight_through_the_rounding() -> None:
    network = QdqNetwork(int8_of("small_cnn"), folded_of("small_cnn"))
    network(X).square().sum().backward()
    assert all(weight.grad is not None for weight in network.weights.values())
    assert all(bool(weight.grad.abs().sum() > 0) for weight in network.weights.values())


def test_an_operator_that_it_does_not_know_is_named() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(folded_of("small_cnn"))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Softplus"
    with pytest.raises(ExportError, match="uses Softplus"):
        QdqNetwork(model, model)


def test_a_layer_with_uneven_padding_is_named() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(folded_of("small_cnn"))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    kept = [a for a in conv.attribute if a.name not in ("pads", "auto_pad")]
    del conv.attribute[:]
    conv.attribute.extend([*kept, helper.make_attribute("pads", [0, 0, 2, 2])])
    with pytest.raises(ExportError, match="pads its sides differently"):
        QdqNetwork(model, model)


def int8_tensor(model: onnx.ModelProto, key: str) -> NDArray[np.int64]:
    tensors = {t.name.replace(".", "/"): t for t in model.graph.initializer}
    return numpy_helper.to_array(tensors[key]).astype(np.int64)
