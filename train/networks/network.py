"""What every network has in common: a trunk of convolutions in stages, then a head."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from .heads import logits_and_slopes

HEAD_NAMES = ("classifier", "fc")


class Network(nn.Module, ABC):
    """Images (N, n_channels, H, W) to logits (N, n_outputs).

    The trunk gives a feature map; the head, under torchvision's name for it (see HEAD_NAMES), is
    averaged features to logits, in linear layers with ReLU and dropout between them.
    """

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The trunk's stages from the input on: see `stages`."""

    @abstractmethod
    def feature_map(self, x: Tensor) -> Tensor:
        """What the trunk gives: (N, n_channels, H, W) to (N, C, h, w)."""

    @property
    def head(self) -> nn.Module:
        return next(module for name, module in self.named_children() if name in HEAD_NAMES)

    def pool(self, features: Tensor) -> Tensor:
        """What the head reads of a feature map: (N, C, h, w) to (N, F), its mean over the film."""
        return features.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.feature_map(x)))

    def forward_with_heatmaps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, n_outputs), and where on the film each comes from (N, n_outputs, h, w).

        A heatmap is the feature map's channels summed, each times its slope: how steeply the logit
        rises with that channel's mean. It has the logit's unit. Behind a mean and a linear head
        that is the class activation map (Zhou et al. 2016, arXiv:1512.04150), exact: its mean is
        the logit less its bias. Behind a dense head it is Grad-CAM (Selvaraju et al. 2017,
        arXiv:1610.02391) times the map's h * w cells, the gradient worked out by forward steps
        alone, so that it can be exported. Grad-CAM's last ReLU is left to who shows it: what is
        below 0 speaks against the finding. In eval mode only.
        """
        features = self.feature_map(x)
        n_channels = features.shape[1]
        logits, slopes = logits_and_slopes(self.head, self.pool(features), n_channels)
        return logits, (slopes @ features.flatten(2)).unflatten(2, features.shape[2:])


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
