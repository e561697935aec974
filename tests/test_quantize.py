"""What quantization keeps, apart from how much it changes (that is compared at every export)."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from cxr_edge.model_card import InputSpec
from export.convert import INPUT_NAME, to_onnx
from export.errors import ExportError
from export.quantize import quantize
from train.config import default_input_spec
from train.networks import build

SPEC: InputSpec = replace(default_input_spec(), width_px=32, height_px=32)
FILMS = np.random.default_rng(0).normal(size=(16, 1, 1, 32, 32)).astype(np.float32)


def logits(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {INPUT_NAME: film})[0] for film in FILMS])


def kinds_reading_int8(model: onnx.ModelProto) -> list[str]:
    """The kinds of the nodes whose weights are stored in int8."""
    stored = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8}
    unpacked = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    return [node.op_type for node in model.graph.node if unpacked & set(node.input)]


@pytest.fixture(scope="module")
def fp32() -> onnx.ModelProto:
    torch.manual_seed(0)
    return to_onnx(build("mobilenet_v2", 2, 1), SPEC)


def test_int8_gives_the_same_logits_on_average(fp32: onnx.ModelProto) -> None:
    exact, rounded = logits(fp32), logits(quantize(fp32, FILMS, 0))
    assert np.abs(rounded - exact).max() > 0  # it did round
    np.testing.assert_allclose(rounded.mean(axis=0), exact.mean(axis=0), atol=1e-5)


def test_the_head_and_the_first_convolutions_can_stay_in_fp32(fp32: onnx.ModelProto) -> None:
    n_convs = sum(node.op_type == "Conv" for node in fp32.graph.node)
    for n_kept in (0, 3):
        kinds = kinds_reading_int8(quantize(fp32, FILMS, n_kept))
        assert kinds == ["Conv"] * (n_convs - n_kept)


def test_a_network_without_a_linear_head_is_refused() -> None:
    headless = to_onnx(nn.Sequential(nn.Conv2d(1, 2, 32), nn.Flatten()), SPEC)
    with pytest.raises(ExportError, match="not in a linear layer"):
        quantize(headless, FILMS, 0)


def test_a_trained_bias_is_kept(fp32: onnx.ModelProto) -> None:
    torch.manual_seed(0)
    network = build("mobilenet_v2", 2, 1)
    bias = network.get_submodule("classifier.1").bias
    assert isinstance(bias, torch.Tensor)
    with torch.no_grad():
        bias += torch.tensor([1.0, -2.0])
    shifted = to_onnx(network, SPEC)
    change = logits(quantize(shifted, FILMS, 0)) - logits(quantize(fp32, FILMS, 0))
    np.testing.assert_allclose(change, np.tile([1.0, -2.0], (len(FILMS), 1)), atol=1e-4)
