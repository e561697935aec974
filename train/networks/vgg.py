"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556), no batch norm, with torchvision's keys."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .heads import LINEAR, dense128
from .network import Network, draw_convolutions, draw_linear

_WIDTHS = (64, 128, 256, 512, 512)
_GRID = 7  # the published head reads a feature map of 7 x 7, that of 224 px


class VGG(Network):
    """Images (N, n_channels, H, W) to logits (N, n_outputs).

    repeats: convolutions of each of the five stages, table 1 of the paper.
    """

    def __init__(
        self, repeats: Sequence[int], n_outputs: int, n_channels: int = 3, head: str = LINEAR
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        n_in = n_channels
        for width, n_convs in zip(_WIDTHS, repeats, strict=True):
            for _ in range(n_convs):
                modules += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True)]
                n_in = width
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        draw_convolutions(self)
        if head == LINEAR:
            self.avgpool = nn.AdaptiveAvgPool2d(_GRID)
            self.classifier = _published_head(n_in * _GRID**2, n_outputs)
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = dense128(n_in, n_outputs)

    def stages(self) -> list[nn.Module]:
        ends = [i + 1 for i, m in enumerate(self.features) if isinstance(m, nn.MaxPool2d)]
        return [self.features[a:b] for a, b in pairwise([0, *ends])]

    def feature_map(self, x: Tensor) -> Tensor:
        return self.features(x)

    def pool(self, features: Tensor) -> Tensor:
        return self.avgpool(features).flatten(1)


def _published_head(n_features: int, n_outputs: int) -> nn.Sequential:
    head = nn.Sequential(
        nn.Linear(n_features, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, n_outputs),
    )
    draw_linear(head)
    return head
