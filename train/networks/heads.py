"""The heads by name: what stands behind the trunk."""

from torch import Tensor, nn

LINEAR, DENSE128 = "linear", "dense128"
HEADS = (LINEAR, DENSE128)


def dense128(n_features: int, n_outputs: int) -> nn.Sequential:
    """Averaged features (N, n_features) to logits (N, n_outputs) through 128 hidden units."""
    return nn.Sequential(
        nn.Dropout(0.25),
        nn.Linear(n_features, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(0.25),
        nn.Linear(128, n_outputs),
    )


def logits_and_slopes(head: nn.Module, pooled: Tensor, n_channels: int) -> tuple[Tensor, Tensor]:
    """The head's logits (N, K), and how steeply each rises with the mean of each channel.

    pooled: (N, F), the head's input in eval mode; F is n_channels, or so many cells of each.
    Slopes: (K, C) of a linear head; (N, K, C) of a dense one, whose ReLUs let other units pass from
    film to film. They are the gradient, without autograd: weights times what the ReLUs let pass.
    """
    ways: list[Tensor] = []  # each layer's weights (out, in) and each ReLU's gate (N, 1, units)
    x = pooled
    for module in [head] if isinstance(head, nn.Linear) else head.children():
        x = module(x)
        if isinstance(module, nn.Linear):
            ways.append(module.weight)
        elif isinstance(module, nn.ReLU):
            ways.append((x > 0).to(x.dtype).unsqueeze(1))
    if pooled.shape[1] != n_channels:
        # The cells of a channel add up: each of them rises with its mean.
        ways[0] = ways[0].unflatten(1, (n_channels, -1)).sum(2)
    slopes = ways.pop()
    for way in reversed(ways):
        slopes = slopes * way if way.dim() == 3 else slopes @ way
    return x, slopes
