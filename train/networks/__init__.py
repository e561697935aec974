"""The networks by name: `build(name, n_outputs, n_channels)`."""

from collections.abc import Callable
from functools import partial

from torch import nn

from .mobilenet_v2 import MobileNetV2
from .resnet import BasicBlock, Bottleneck, ResNet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v2": MobileNetV2,
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
}


def build(name: str, n_outputs: int, n_channels: int) -> nn.Module:
    """A freshly initialised network: images (N, n_channels, H, W) to logits (N, n_outputs)."""
    return NETWORKS[name](n_outputs, n_channels=n_channels)
