"""MobileNet-V2 (Sandler et al. 2018, arXiv:1801.04381) with torchvision's state-dict keys."""

from torch import Tensor, nn

from .heads import LINEAR, dense128
from .network import Network, draw_convolutions, draw_linear

# expansion t, channels c, repeats n, stride s: table 2 of the paper.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST_CHANNELS = 1280


def _conv_bn_relu6(
    n_in: int, n_out: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter each channel with 3x3, project with 1x1; add the input if it fits."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_hidden = n_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(n_in, n_hidden, kernel_size=1))
        layers += [
            _conv_bn_relu6(n_hidden, n_hidden, stride=stride, groups=n_hidden),
            nn.Conv2d(n_hidden, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        self.conv = nn.Sequential(*layers)
        self.adds_input = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds_input else self.conv(x)


class MobileNetV2(Network):
    """Images (N, n_channels, H, W) to logits (N, n_outputs)."""

    def __init__(self, n_outputs: int, n_channels: int = 3, head: str = LINEAR) -> None:
        super().__init__()
        n_in = 32
        modules: list[nn.Module] = [_conv_bn_relu6(n_channels, n_in, stride=2)]
        for expansion, n_out, repeats, first_stride in _BLOCKS:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                modules.append(InvertedResidual(n_in, n_out, stride, expansion))
                n_in = n_out
        modules.append(_conv_bn_relu6(n_in, _LAST_CHANNELS, kernel_size=1))
        self.features = nn.Sequential(*modules)
        if head == LINEAR:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST_CHANNELS, n_outputs))
        else:
            self.classifier = dense128(_LAST_CHANNELS, n_outputs)
        draw_convolutions(self)
        if head == LINEAR:
            draw_linear(self.classifier)

    def stages(self) -> list[nn.Module]:
        return list(self.features)

    def feature_map(self, x: Tensor) -> Tensor:
        return self.features(x)
