"""DenseNet-BC (Huang et al. 2016, arXiv:1608.06993) with torchvision's state-dict keys."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .heads import LINEAR, dense128
from .network import Network, draw_convolutions

_GROWTH = 32  # channels that each dense layer adds
_N_FIRST = 64


class DenseLayer(nn.Module):
    """Norm before 1x1, norm before 3x3; what it finds is put beside its input."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, 4 * _GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * _GROWTH)
        self.conv2 = nn.Conv2d(4 * _GROWTH, _GROWTH, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv1(self.relu(self.norm1(x)))
        found = self.conv2(self.relu(self.norm2(found)))
        return torch.cat((x, found), 1)


class DenseNet(Network):
    """Images (N, n_channels, H, W) to logits (N, n_outputs).

    repeats: dense layers of each of the four blocks, table 1 of the paper.
    """

    def __init__(
        self, repeats: Sequence[int], n_outputs: int, n_channels: int = 3, head: str = LINEAR
    ) -> None:
        super().__init__()
        modules: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(n_channels, _N_FIRST, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(_N_FIRST),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        n_in = _N_FIRST
        for block, n_layers in enumerate(repeats, start=1):
            if block > 1:
                modules[f"transition{block - 1}"] = _transition(n_in)
                n_in //= 2
            modules[f"denseblock{block}"] = _block(n_in, n_layers)
            n_in += n_layers * _GROWTH
        modules["norm5"] = nn.BatchNorm2d(n_in)
        modules["relu5"] = nn.ReLU(inplace=True)
        self.features = nn.Sequential(modules)
        draw_convolutions(self, mode="fan_in")
        if head == LINEAR:
            self.classifier: nn.Module = nn.Linear(n_in, n_outputs)
            nn.init.zeros_(self.classifier.bias)
        else:
            self.classifier = dense128(n_in, n_outputs)

    def stages(self) -> list[nn.Module]:
        # The stem; then each block with the transition, or the last norm, that closes it.
        return [
            self.features[:4],
            *(self.features[i : i + 2] for i in (4, 6, 8)),
            self.features[10:],
        ]

    def feature_map(self, x: Tensor) -> Tensor:
        return self.features(x)


def _block(n_in: int, n_layers: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict((f"denselayer{i + 1}", DenseLayer(n_in + i * _GROWTH)) for i in range(n_layers))
    )


def _transition(n_in: int) -> nn.Sequential:
    """Halve the channels and the size."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(n_in),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(n_in, n_in // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
