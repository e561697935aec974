"""The heads by name: what stands behind the trunk."""

from torch import nn

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
