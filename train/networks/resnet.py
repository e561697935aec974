"""ResNet (He et al. 2015, arXiv:1512.03385), v1.5 strides, with torchvision's state-dict keys."""

from collections.abc import Sequence

from torch import Tensor, nn

from .heads import LINEAR, dense128
from .network import Network, draw_convolutions

_WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, n_in: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut (ResNet-50 and 101); the stride sits on the 3x3 (v1.5)."""

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(Network):
    """Images (N, n_channels, H, W) to logits (N, n_outputs).

    repeats: blocks of each of the four stages, table 1 of the paper.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        repeats: Sequence[int],
        n_outputs: int,
        n_channels: int = 3,
        head: str = LINEAR,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        n_in = [64, *(width * block.expansion for width in _WIDTHS)]
        self.layer1 = _stage(block, n_in[0], _WIDTHS[0], repeats[0], stride=1)
        self.layer2 = _stage(block, n_in[1], _WIDTHS[1], repeats[1], stride=2)
        self.layer3 = _stage(block, n_in[2], _WIDTHS[2], repeats[2], stride=2)
        self.layer4 = _stage(block, n_in[3], _WIDTHS[3], repeats[3], stride=2)
        make = nn.Linear if head == LINEAR else dense128
        self.fc = make(n_in[4], n_outputs)
        draw_convolutions(self)

    def stages(self) -> list[nn.Module]:
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def feature_map(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], n_in: int, width: int, n_blocks: int, stride: int
) -> nn.Sequential:
    """Blocks in a row; the first takes the stride, and projects its shortcut where it must."""
    n_out = width * block.expansion
    downsample = None
    if stride != 1 or n_in != n_out:
        downsample = nn.Sequential(
            nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
        )
    blocks = [block(n_in, width, stride, downsample)]
    blocks += [block(n_out, width, 1, None) for _ in range(n_blocks - 1)]
    return nn.Sequential(*blocks)
