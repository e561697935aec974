"""A small network to learn from scratch: what the larger ones have to surpass."""

from itertools import pairwise

from torch import Tensor, nn

from .heads import LINEAR, dense128
from .network import Network, draw_convolutions

_WIDTHS = (16, 32, 64, 128, 256)


class SmallCNN(Network):
    """Images (N, n_channels, H, W), H and W at least 32, to logits (N, n_outputs)."""

    def __init__(self, n_outputs: int, n_channels: int = 3, head: str = LINEAR) -> None:
        super().__init__()
        widths = (n_channels, *_WIDTHS)
        self.features = nn.Sequential(*(_block(n_in, n_out) for n_in, n_out in pairwise(widths)))
        draw_convolutions(self)
        self.classifier = (
            nn.Sequential(nn.Dropout(0.25), nn.Linear(_WIDTHS[-1], n_outputs))
            if head == LINEAR
            else dense128(_WIDTHS[-1], n_outputs)
        )

    def stages(self) -> list[nn.Module]:
        return list(self.features)

    def feature_map(self, x: Tensor) -> Tensor:
        return self.features(x)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    """Find with 3x3, then halve the size."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
