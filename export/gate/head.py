"""The gate's head: taps to conditions and to features, in PyTorch."""

from torch import Tensor, nn

WIDTH = 48
N_FEATURES = 24


class Head(nn.Module):
    """Taps (N, C, 7, 7) to conditions (N, G), as logits, and features (N, N_FEATURES).

    The taps are first brought to mean 0 and variance 1, channel by channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, n_conditions: int, mean: Tensor, std: Tensor) -> None:
        """mean, std: of each channel of the taps, (C,)."""
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        self.reduce = nn.Conv2d(n_channels, WIDTH, 1)
        self.look = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.gather = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.embed = nn.Linear(WIDTH * 16, N_FEATURES * 2)
        self.judge = nn.Linear(N_FEATURES * 2, n_conditions)
        self.drop = nn.Dropout(0.2)

    def embedded(self, taps: Tensor) -> Tensor:
        """(N, 2 N_FEATURES)"""
        x = (taps - self.mean) / self.std
        x = self.reduce(self.drop(x)).relu()
        x = x + self.look(x).relu()
        x = self.gather(x).relu()
        return self.embed(self.drop(x.flatten(1)))

    def forward(self, taps: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.embedded(taps)
        return self.judge(embedded.relu()), embedded
