"""The networks by name: `build(name, n_outputs, n_channels)`."""

from collections.abc import Callable
from functools import partial

from ..errors import TrainError
from .densenet import DenseNet
from .heads import HEADS, LINEAR
from .mobilenet_v2 import MobileNetV2
from .network import HEAD_NAMES, Network, layers, stages
from .resnet import BasicBlock, Bottleneck, ResNet
from .small_cnn import SmallCNN
from .vgg import VGG

__all__ = ["HEADS", "HEAD_NAMES", "NETWORKS", "Network", "build", "layers", "stages"]

NETWORKS: dict[str, Callable[..., Network]] = {
    "mobilenet_v2": MobileNetV2,
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "vgg16": partial(VGG, (2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, (2, 2, 4, 4, 4)),
    "densenet201": partial(DenseNet, (6, 12, 48, 32)),
    "small_cnn": SmallCNN,
}


def build(name: str, n_outputs: int, n_channels: int, head: str = LINEAR) -> Network:
    """A freshly initialised network: images (N, n_channels, H, W) to logits (N, n_outputs).

    head: "linear" is the one that the network was published with, its last layer at n_outputs;
    "dense128" averages the feature map and puts 128 hidden units between it and the logits.
    Raises TrainError where there is no such network or head.
    """
    for kind, one, known in (("network", name, NETWORKS), ("head", head, HEADS)):
        if one not in known:
            raise TrainError(f"There is no {kind} {one}.", f"Name one of {', '.join(known)}.")
    return NETWORKS[name](n_outputs, n_channels, head)
