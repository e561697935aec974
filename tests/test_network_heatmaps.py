"""Heatmaps are the gradient that autograd finds, in torch and as a second output of the ONNX."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from cxr_edge.model_file import without_heatmaps
from cxr_edge.preprocess import prepare
from cxr_edge.radiograph import read_radiograph
from export.convert import HEATMAPS_NAME, INPUT_NAME, OUTPUT_NAME, heatmap_nodes, to_onnx
from train.config import default_input_spec
from train.networks import HEADS, Network, build

SPEC = replace(default_input_spec(), width_px=96, height_px=64)
N_FINDINGS = 3
# The deepest sisters (ResNet-34 and 101, VGG-19) differ from these in the number of blocks alone.
NAMES = ("mobilenet_v2", "resnet18", "resnet50", "vgg16", "densenet201", "small_cnn")


def network_of(name: str, head: str) -> Network:
    """A network whose norms have seen a few films and whose head says something.

    VGG's published head comes with fewer hidden units: 120 million weights make no other point.
    """
    torch.manual_seed(0)
    if name == "vgg16" and head == "linear":
        network = build(name, N_FINDINGS, 1, "dense128")
        network.avgpool = nn.AdaptiveAvgPool2d(7)
        network.classifier = nn.Sequential(
            nn.Linear(512 * 49, 64),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(64, 64),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(64, N_FINDINGS),
        )
    else:
        network = build(name, N_FINDINGS, 1, head)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it sees
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.1)
    with torch.no_grad():
        network.train()(films(8))
    return network.eval()


def films(n: int) -> Tensor:
    return torch.randn(n, 1, SPEC.height_px, SPEC.width_px, generator=torch.manual_seed(1))


def grad_cam(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Selvaraju et al. 2017, equations 1 and 2 without the last ReLU, by autograd.

    Logits (N, K) and maps (N, K, h, w).
    """
    features = network.feature_map(x).detach().requires_grad_()
    logits = network.head(network.pool(features))
    maps = []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), features, retain_graph=True)
        maps.append((gradient.mean((2, 3), keepdim=True) * features).sum(1))
    return logits.detach(), torch.stack(maps, 1).detach()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_a_heatmap_is_autograds_grad_cam_times_its_cells(name: str, head: str) -> None:
    network, x = network_of(name, head), films(3)
    logits, expected = grad_cam(network, x)
    with torch.inference_mode():
        own_logits, heatmaps = network.forward_with_heatmaps(x)
        assert torch.equal(own_logits, network(x))
    assert heatmaps.shape == (3, N_FINDINGS, 2, 3)
    n_cells = heatmaps.shape[2] * heatmaps.shape[3]
    assert expected.abs().max() * n_cells > 0.01  # there is something to compare
    assert torch.allclose(own_logits, logits, atol=1e-5)
    assert torch.allclose(heatmaps, expected * n_cells, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vgg16"])
def test_behind_a_linear_head_a_heatmaps_mean_and_the_bias_are_the_logit(name: str) -> None:
    network = network_of(name, "linear")
    bias = list(network.head.modules())[-1].bias
    with torch.inference_mode():
        logits, heatmaps = network.forward_with_heatmaps(films(3))
    assert torch.allclose(heatmaps.mean((2, 3)) + bias, logits, atol=1e-4)


def test_a_heatmap_is_hot_where_the_film_speaks_for_the_finding() -> None:
    network = network_of("small_cnn", "linear")
    x = films(1)
    x[:, :, :, 64:] *= 3  # the last third of the film's columns
    with torch.inference_mode():
        _, before = network.forward_with_heatmaps(films(1))
        _, after = network.forward_with_heatmaps(x)
    changed = (after - before).abs().sum((0, 1, 2))
    assert changed.argmax() == 2


# The dense head is the same behind every trunk.
@pytest.mark.parametrize(
    ("name", "head"), [*((name, "linear") for name in NAMES), ("small_cnn", "dense128")]
)
def test_the_onnx_gives_both_answers_as_torch_does(name: str, head: str) -> None:
    network = network_of(name, head)
    model = to_onnx(network, SPEC)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [node.name for node in session.get_outputs()] == [OUTPUT_NAME, HEATMAPS_NAME]
    assert [node.op_type for node in model.graph.node if OUTPUT_NAME in node.output] == ["Gemm"]
    for n_films in (1, 3):
        x = films(n_films)
        logits, heatmaps = session.run(None, {INPUT_NAME: x.numpy()})
        with torch.inference_mode():
            expected_logits, expected = network.forward_with_heatmaps(x)
        np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-3)
        np.testing.assert_allclose(heatmaps, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_the_logits_do_without_the_heatmaps_nodes(head: str) -> None:
    network = network_of("small_cnn", head)
    model = to_onnx(network, SPEC)
    kinds = {node.name: node.op_type for node in model.graph.node}
    alone = heatmap_nodes(model.graph)
    assert kinds[alone[0]] == "Reshape"  # that which gives the heatmaps
    assert not {"Conv", "Gemm", "Relu", "ReduceMean"} & {kinds[name] for name in alone}
    # The runtime takes the same nodes out, without onnx.
    rest = onnx.load_from_string(without_heatmaps(model.SerializeToString()))
    onnx.checker.check_model(rest, full_check=True)
    assert {node.name for node in rest.graph.node} == kinds.keys() - set(alone)
    (logits,) = onnxruntime.InferenceSession(rest.SerializeToString()).run(
        None, {INPUT_NAME: films(2).numpy()}
    )
    with torch.inference_mode():
        np.testing.assert_allclose(logits, network(films(2)).numpy(), atol=1e-3)


def test_on_real_films_the_onnx_gives_what_torch_does(real_films: Path) -> None:
    spec = default_input_spec()
    paths = sorted((real_films / "kermany-original-resolution").rglob("*.jpeg"))[:4]
    x = np.concatenate([prepare(read_radiograph(path), spec) for path in paths])
    assert len(x) == 4
    network = network_of("resnet18", "linear")
    session = onnxruntime.InferenceSession(to_onnx(network, spec).SerializeToString())
    logits, heatmaps = session.run([OUTPUT_NAME, HEATMAPS_NAME], {INPUT_NAME: x})
    with torch.inference_mode():
        expected_logits, expected = network.forward_with_heatmaps(torch.from_numpy(x))
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-3)
    np.testing.assert_allclose(heatmaps, expected.numpy(), atol=1e-3)
