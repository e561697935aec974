"""Checkpoints: weights to start from, and the weights a run gives to export."""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxr_edge.model_card import SIGMOID, SOFTMAX

from ..errors import TrainError
from ..networks import HEAD_NAMES, HEADS, NETWORKS, Network, build, layers

# ImageNet, as torchvision's weights expect their input.
_RGB_MEAN = torch.tensor((0.485, 0.456, 0.406))
_RGB_STD = torch.tensor((0.229, 0.224, 0.225))

# torchvision's DenseNet files spell denselayer1.norm1 as denselayer1.norm.1.
_OLD_DENSE_LAYER = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)")


@dataclass(frozen=True)
class Checkpoint:
    """What `python -m export` needs: how to build the network, what it tells, and its weights.

    network, head: see networks.build. activation: what turns logits into probabilities.
    """

    network: str
    head: str
    findings: tuple[str, ...]
    channels: int
    activation: str
    state: dict[str, Tensor]

    def build(self) -> Network:
        """The network with these weights, ready for inference."""
        network = build(self.network, len(self.findings), self.channels, self.head)
        network.load_state_dict(self.state)
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    data = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    write_atomically(data | {"findings": list(checkpoint.findings)}, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises TrainError where the file is not a checkpoint of this project."""
    data = load_file(path)
    names = [field.name for field in fields(Checkpoint)]
    if not isinstance(data, dict) or not set(names) <= data.keys():
        raise TrainError(f"{path} is not a checkpoint of a run.", "Name a run's checkpoint.pt.")
    for name, known in (
        ("network", NETWORKS),
        ("head", HEADS),
        ("activation", (SIGMOID, SOFTMAX)),
    ):
        if data[name] not in known:
            raise TrainError(
                f"{path} holds an unknown {name}, {data[name]}.",
                f"This version knows {', '.join(known)}.",
            )
    values = {name: data[name] for name in names}
    return Checkpoint(**values | {"findings": tuple(data["findings"])})


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
    network: Network,
    path: Path,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    head_of: Sequence[str] = (),
) -> None:
    """Load the trunk of a torchvision state dict or of a run's checkpoint; the head stays new.

    head_of: the network's findings; with them the head is taken too, of a checkpoint with the same.
    Where the file's first convolution has 3 channels and the network's has 1, it is folded.

    mean, std: of the network's own input, one per channel; the folded stem then answers to a grey
    film as the original answers to that film repeated in red, green and blue (but for the
    zero-padded border).
    Raises TrainError where the file holds another network, or not the head that is wanted.
    """
    data = load_file(path)
    state = data.get("state", data) if isinstance(data, dict) else data
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise TrainError(f"{path} holds no state dict.", "Name a .pth file of a network's weights.")
    if head_of and tuple(data.get("findings", ())) != tuple(head_of):
        raise TrainError(
            f"{path} has no head for {', '.join(head_of)}.",
            "Name the checkpoint.pt of a run with these findings, or leave --keep-head away.",
        )
    keeps_head = bool(head_of)
    state = {
        _new_name(name): tensor for name, tensor in state.items() if _must_fit(name, keeps_head)
    }
    shapes = {
        name: value.shape
        for name, value in network.state_dict().items()
        if _must_fit(name, keeps_head)
    }
    stem, takes = _stem_of(network)
    n_out, n_channels, *kernel = shapes[stem]
    folds = n_channels == 1 and stem in state and state[stem].shape == (n_out, 3, *kernel)
    if folds:
        shapes[stem] = state[stem].shape
    wrong = sorted(
        name
        for name in shapes.keys() | state.keys()
        if name not in state or name not in shapes or state[name].shape != shapes[name]
    )
    if wrong:
        raise TrainError(
            f"{path} is a checkpoint of another network: {len(wrong)} of its tensors do not fit, "
            f"the first is {wrong[0]}.",
            "Name the weights of the network that is to be trained.",
        )
    if folds:
        _fold_stem(state, stem, takes, mean[0], std[0])
    network.load_state_dict(state, strict=False)


def _must_fit(name: str, with_head: bool) -> bool:
    # torchvision's older files have no counter of batch norm's, which plays no part here.
    is_wanted = with_head or name.split(".")[0] not in HEAD_NAMES
    return is_wanted and not name.endswith("num_batches_tracked")


def _new_name(name: str) -> str:
    return _OLD_DENSE_LAYER.sub(r"\1\2", name)


def _stem_of(network: Network) -> tuple[str, str]:
    """The names of the first convolution's weight and of the tensor that can take a constant."""
    names = {module: name for name, module in network.named_modules()}
    conv, *norms = layers(network)[0]
    takes = f"{names[norms[0]]}.running_mean" if norms else f"{names[conv]}.bias"
    return f"{names[conv]}.weight", takes


def _fold_stem(state: dict[str, Tensor], stem: str, takes: str, mean: float, std: float) -> None:
    # RGB input of a grey g: (g - m_c) / s_c = x * std / s_c + (mean - m_c) / s_c, x = (g-mean)/std.
    weight = state[stem]  # (n_out, 3, k, k)
    state[stem] = (weight * (std / _RGB_STD)[None, :, None, None]).sum(1, keepdim=True)
    constant = (weight.sum((2, 3)) * ((mean - _RGB_MEAN) / _RGB_STD)).sum(1)
    # A bias is added, a running mean subtracted.
    state[takes] = state[takes] + (constant if takes.endswith(".bias") else -constant)
