"""Small networks as ONNX, for what export makes of them, and made films to run through them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from cxr_edge.model_card import InputSpec
from export.convert import INPUT_NAME, to_onnx
from export.quantize import fold, open_network, quantize
from export.ranges import MIN_MAX, Activations, observe
from train.config import default_input_spec
from train.networks import Network
from train.networks.densenet import DenseNet
from train.networks.heads import LINEAR
from train.networks.mobilenet_v2 import MobileNetV2
from train.networks.resnet import BasicBlock, Bottleneck, ResNet
from train.networks.small_cnn import SmallCNN
from train.networks.vgg import VGG

SPEC: InputSpec = replace(default_input_spec(), width_px=64, height_px=64)
N_FINDINGS = 2


def short_mobilenet(n_outputs: int, n_channels: int, head: str) -> Network:
    """The first blocks of three kinds: without expansion, with a stride, with a sum."""
    network = MobileNetV2(n_outputs, n_channels, head)
    network.features = network.features[:4]
    network.classifier = nn.Linear(24, n_outputs)
    return network


# Every network's class with every operator that it uses; the real ones have more of the blocks.
NETWORKS: dict[str, Callable[..., Network]] = {
    "mobilenet_v2": short_mobilenet,
    "resnet18": partial(ResNet, BasicBlock, (1, 1, 1, 1)),
    "resnet50": partial(ResNet, Bottleneck, (1, 1, 1, 1)),
    "vgg16": partial(VGG, (1, 1, 1, 1, 1)),
    "densenet201": partial(DenseNet, (1, 1, 1, 1)),
    "small_cnn": SmallCNN,
}


def made_films(n: int, seed: int = 0, side_px: int = 64) -> NDArray[np.float32]:
    """Prepared films (N, 1, 1, H, W): blots of all sizes, so that no two say the same."""
    rng = np.random.default_rng(seed)
    films = np.zeros((n, 1, 1, side_px, side_px), np.float32)
    for cell_px in (1, 4, 16):
        shape = (n, 1, 1, side_px // cell_px, side_px // cell_px)
        blots = rng.normal(size=shape).astype(np.float32)
        films += blots.repeat(cell_px, 3).repeat(cell_px, 4) * rng.uniform(0.3, 1, (n, 1, 1, 1, 1))
    return films


FILMS = made_films(24)


def _once(make: Callable[[str, str], Any]) -> Callable[..., Any]:
    """Made once for each name and head, however the head is given."""
    made = cache(make)
    return lambda name, head=LINEAR: made(name, head)


@_once
def fp32_of(name: str, head: str = LINEAR) -> onnx.ModelProto:
    """A network whose norms have seen the films and whose head says something, as to_onnx gives it.

    Everyone's: copy it before changing it.
    """
    torch.manual_seed(0)
    network = NETWORKS[name](N_FINDINGS, 1, head)
    if name == "vgg16" and head == LINEAR:
        # The published head has 120 million weights.
        network.classifier = nn.Sequential(
            nn.Linear(512 * 49, 32), nn.ReLU(), nn.Linear(32, N_FINDINGS)
        )
    return to_onnx(grown_up(network, FILMS), SPEC)


def grown_up(network: Network, films: NDArray[np.float32]) -> Network:
    """The network, its norms having seen the films (N, 1, C, H, W), its head saying something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it sees
            # Channels of one layer differ, as they do in a network that has learned.
            nn.init.uniform_(module.weight, 0.3, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.1)
    with torch.no_grad():
        network.train()(torch.from_numpy(films[:, 0]))
    return network.eval()


@_once
def folded_of(name: str, head: str = LINEAR) -> onnx.ModelProto:
    return fold(fp32_of(name, head))


@_once
def seen_of(name: str, head: str = LINEAR) -> Activations:
    return observe(folded_of(name, head), FILMS)


@_once
def int8_of(name: str, head: str = LINEAR) -> onnx.ModelProto:
    """By the plainest recipe that may be shipped."""
    ranges = seen_of(name, head).ranges(MIN_MAX)
    return quantize(folded_of(name, head), ranges, depthwise_8_bits=False)


def answers_of(
    model: onnx.ModelProto, films: NDArray[np.float32] = FILMS, optimised: bool = True
) -> list[NDArray[np.float32]]:
    """Logits (N, K) and heatmaps (N, K, h, w) of films (N, 1, C, H, W), by onnxruntime.

    optimised: False has every operator run as it stands in the graph, in float.
    """
    session = open_network(model)
    if not optimised:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    outputs = [output.name for output in model.graph.output]
    return session.run(outputs, {INPUT_NAME: films[:, 0]})


def rms(difference: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(difference).mean()))
