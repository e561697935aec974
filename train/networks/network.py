"""What every network has in common: a trunk of convolutions in stages, then a head."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

HEAD_NAMES = ("classifier", "fc")


class Network(nn.Module, ABC):
    """Images (N, n_channels, H, W) to logits (N, n_outputs).

    The trunk gives a feature map; the head, under torchvision's name for it (see HEAD_NAMES), is
    averaged features to logits and ends in an nn.Linear.
    """

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The trunk's stages from the input on: see `stages`."""

    @abstractmethod
    def feature_map(self, x: Tensor) -> Tensor:
        """What the trunk gives: (N, n_channels, H, W) to (N, C, h, w)."""


def stages(network: Network) -> list[nn.Module]:
    """The trunk's stages from the input on, without the head.

    Each holds its convolutions and batch norms, and all together hold the trunk's: once each.
    """
    return network.stages()


def layers(network: Network) -> list[list[nn.Module]]:
    """The trunk's layers from the input on, without the head.

    A layer is a convolution, with the batch norms from it up to the next one: they keep the
    statistics of what it gives. A shortcut's projection is a layer of its own, behind the
    convolutions that it bridges. Where norms stand before their convolutions (DenseNet), the norm
    behind a convolution is that of the next.
    """
    found: list[list[nn.Module]] = []
    for stage in stages(network):
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                found.append([module])
            elif isinstance(module, nn.BatchNorm2d):
                found[-1].append(module)
    return found


def draw_convolutions(network: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw the convolutions' weights anew (He et al. 2015, arXiv:1502.01852); biases become 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def draw_linear(head: nn.Module) -> None:
    """Draw the linear layers' weights anew, small, as VGG and MobileNet-V2 start."""
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
