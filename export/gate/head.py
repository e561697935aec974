"""The gate's head: taps to conditions and to features, in PyTorch."""

from dataclasses import dataclass

from torch import Tensor, nn

N_FEATURES = 24


@dataclass(frozen=True)
class Effort:
    """n_resolutions: of the network's maps that are read, the coarsest so many. width: channels
    within the head. n_epochs: of fitting it."""

    n_resolutions: int
    width: int
    n_epochs: int


USUAL = Effort(n_resolutions=3, width=48, n_epochs=12)
# A network that never saw ImageNet has plainer maps, of which it takes more.
THOROUGH = Effort(n_resolutions=4, width=96, n_epochs=24)


class Head(nn.Module):
    """Taps (N, C, 7, 7) to conditions (N, G), as logits, and features (N, N_FEATURES).

    The taps are first brought to mean 0 and variance 1, channel by channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, n_channels: int, n_conditions: int, mean: Tensor, std: Tensor, width: int
    ) -> None:
        """mean, std: of each channel of the taps, (C,)."""
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        self.reduce = nn.Conv2d(n_channels, width, 1)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.gather = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.embed = nn.Linear(width * 16, N_FEATURES * 2)
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
