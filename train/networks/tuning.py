"""Which of a network's layers learn in an epoch, and how fast."""

from torch import nn

from ..config import Tuning
from .network import Network, layers, stages


def freeze(network: Network, tuning: Tuning, epoch: int) -> list[nn.Module]:
    """Let exactly the weights that learn in this epoch take gradients.

    epoch: from 1. The head always learns. A stage or layer learns where none of the tuning's three
    rules keeps it; what `stages` and `layers` are stands there.
    Returns the modules that are kept, for the caller to put into eval mode after `.train()`: their
    batch norms must keep their statistics too.
    """
    kept = _kept(network, tuning, epoch)
    network.requires_grad_(True)
    for module in kept:
        module.requires_grad_(False)
    return kept


def rates(network: Network, tuning: Tuning) -> dict[str, float]:
    """Parameter name to its part of the learning rate: 1 for the head, less from stage to stage.

    With a decay d the topmost stage learns at d, the next below at d^2 ... (discriminative
    fine-tuning: Howard & Ruder 2018, arXiv:1801.06146). Every parameter is named, frozen or not.
    """
    height = {
        parameter: i
        for i, stage in enumerate(reversed(stages(network)), start=1)
        for parameter in stage.parameters()
    }
    return {
        name: tuning.rate_decay ** height.get(parameter, 0)
        for name, parameter in network.named_parameters()
    }


def _kept(network: Network, tuning: Tuning, epoch: int) -> list[nn.Module]:
    trunk = stages(network)
    n_kept = tuning.frozen_stages
    if tuning.unfreeze_epochs:
        n_kept = max(n_kept, len(trunk) - (epoch - 1) // tuning.unfreeze_epochs)
    kept = trunk[:n_kept]
    if tuning.last_layers >= 0:
        own = layers(network)
        below = own[: max(0, len(own) - tuning.last_layers)]
        kept += [module for layer in below for module in layer]
    return kept
