"""Checkpoints: weights to start from, and the weights a run gives to export."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import TrainError
from .networks import NETWORKS, build

# ImageNet, as torchvision's weights expect their input.
_RGB_MEAN = torch.tensor((0.485, 0.456, 0.406))
_RGB_STD = torch.tensor((0.229, 0.224, 0.225))

_HEADS = ("classifier.", "fc.")


@dataclass(frozen=True)
class Checkpoint:
    """What `python -m export` needs: the network's name, its findings and its weights."""

    network: str
    findings: tuple[str, ...]
    channels: int
    state: dict[str, Tensor]

    def build(self) -> nn.Module:
        """The network with these weights, ready for inference."""
        network = build(self.network, len(self.findings), self.channels)
        network.load_state_dict(self.state)
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    write_atomically(
        {
            "network": checkpoint.network,
            "findings": list(checkpoint.findings),
            "channels": checkpoint.channels,
            "state": checkpoint.state,
        },
        path,
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises TrainError where the file is not a checkpoint of this project."""
    data = load_file(path)
    if not isinstance(data, dict) or not {"network", "findings", "channels", "state"} <= set(data):
        raise TrainError(f"{path} is not a checkpoint of a run.", "Name a run's checkpoint.pt.")
    if data["network"] not in NETWORKS:
        raise TrainError(
            f"{path} holds an unknown network, {data['network']}.",
            f"This version knows {', '.join(NETWORKS)}.",
        )
    return Checkpoint(data["network"], tuple(data["findings"]), data["channels"], data["state"])


def write_atomically(data: Any, path: Path) -> None:
    """Save beside the target, then replace it: a cut-off write leaves the last good file."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(data, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as exc:
        partial.unlink(missing_ok=True)
        raise TrainError(
            f"{path} could not be saved ({exc}).", "Free some space and run again with --resume."
        ) from exc


def load_file(path: Path) -> Any:
    """A tensor file, read without running any code in it. Raises TrainError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was saved; the user did not
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise TrainError(f"There is no file {path}.", "Check the path.") from exc
    # torch's unpickler raises whatever the damaged byte led to (UnpicklingError, RuntimeError,
    # EOFError, KeyError, IndexError, struct.error ...); all of them mean the same to the user.
    except Exception as exc:
        raise TrainError(
            f"{path} is not a PyTorch checkpoint.", "Name a .pth file saved with torch.save."
        ) from exc


def initialise(
    network: nn.Module, path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Load a torchvision state dict; the head stays new, a 3-channel stem folds into 1 channel.

    mean, std: of the network's own input, one per channel; the folded stem then answers to a grey
    film as the original answers to that film repeated in red, green and blue (but for the
    zero-padded border).
    Raises TrainError where the file holds another network.
    """
    state = load_file(path)
    state = state.get("state", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise TrainError(f"{path} holds no state dict.", "Name a .pth file of a network's weights.")
    own = network.state_dict()
    stem, stem_norm = _stem_of(own)
    shapes = {name: tensor.shape for name, tensor in own.items() if _must_fit(name)}
    n_out, n_channels, *kernel = shapes[stem]
    folds = n_channels == 1 and stem in state and state[stem].shape == (n_out, 3, *kernel)
    if folds:
        shapes[stem] = state[stem].shape
    state = {name: tensor for name, tensor in state.items() if _must_fit(name)}
    wrong = sorted(
        name
        for name in shapes.keys() | state.keys()
        if name not in state or name not in shapes or state[name].shape != shapes[name]
    )
    if wrong:
        raise TrainError(
            f"{path} is a checkpoint of another network: {len(wrong)} of its tensors do not fit, "
            f"the first is {wrong[0]}.",
            "Give the checkpoint of the network named by --network.",
        )
    if folds:
        _fold_stem(state, stem, stem_norm, mean[0], std[0])
    network.load_state_dict(state, strict=False)


def _must_fit(name: str) -> bool:
    # torchvision's ResNet files are older than batch norm's counter, which plays no part here.
    return not name.startswith(_HEADS) and not name.endswith("num_batches_tracked")


def _stem_of(state: dict[str, Tensor]) -> tuple[str, str]:
    """The names of the first convolution and of the batch norm behind it."""
    if "conv1.weight" in state:
        return "conv1.weight", "bn1.running_mean"
    return "features.0.0.weight", "features.0.1.running_mean"


def _fold_stem(
    state: dict[str, Tensor], stem: str, stem_norm: str, mean: float, std: float
) -> None:
    # RGB input of a grey g: (g - m_c) / s_c = x * std / s_c + (mean - m_c) / s_c, x = (g-mean)/std.
    weight = state[stem]  # (n_out, 3, k, k)
    state[stem] = (weight * (std / _RGB_STD)[None, :, None, None]).sum(1, keepdim=True)
    constant = (weight.sum((2, 3)) * ((mean - _RGB_MEAN) / _RGB_STD)).sum(1)
    state[stem_norm] = state[stem_norm] - constant
