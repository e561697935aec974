"""Fitting the head: which code an image of each kind deserves."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .head import Effort, Head

_BATCH = 128
_RATE = 1e-3
_DECAY = 0.05
_SMOOTHING = 0.02
# Of all that is learned from, what is readable: as much as all refusals together.
_PART_READABLE = 0.5


def train_head(
    taps: NDArray[np.float16],
    condition: NDArray[np.int64],
    kind: NDArray[np.int64],
    n_conditions: int,
    effort: Effort,
    progress: Callable[[range], Iterable[int]],
    seed: int = 0,
) -> Head:
    """The head that tells N images' conditions by their taps (N, C, 7, 7).

    condition: (N,), 0 is readable. kind: (N,), what each image was made as: each kind of a
    condition weighs the same, and so does each condition but the first.
    """
    torch.manual_seed(seed)
    every = np.arange(0, len(taps), max(1, len(taps) // 4096))
    some = torch.from_numpy(taps[every].astype(np.float32))
    mean, std = some.mean((0, 2, 3)), some.std((0, 2, 3)) + 1e-3
    head = Head(taps.shape[1], n_conditions, mean, std, effort.width)
    weight = torch.from_numpy(weights_of(condition, kind)).float()
    truth = torch.from_numpy(condition)
    parameters = [
        {"params": [p for p in head.parameters() if p.ndim > 1], "weight_decay": _DECAY},
        {"params": [p for p in head.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(parameters, _RATE)
    n_steps = -(-len(taps) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=effort.n_epochs * n_steps, pct_start=0.1
    )
    head.train()
    for _ in progress(range(effort.n_epochs)):
        for batch in torch.randperm(len(taps)).split(_BATCH):
            conditions, _ = head(tensor_of(taps, batch))
            losses = F.cross_entropy(
                conditions, truth[batch], label_smoothing=_SMOOTHING, reduction="none"
            )
            loss = (losses * weight[batch]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def tensor_of(taps: NDArray[np.float16], which: Tensor) -> Tensor:
    return torch.from_numpy(taps[which.numpy()]).float()


@torch.inference_mode()
def answers_of(
    head: Head, taps: NDArray[np.float16]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Conditions (N, G) and features (N, D) of taps."""
    parts = [
        head(tensor_of(taps, part)) for part in torch.arange(len(taps)).split(512) if len(part)
    ]
    conditions, features = zip(*parts, strict=True)
    return torch.cat(conditions).numpy(), torch.cat(features).numpy()


def weights_of(condition: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each of N images counts for in the loss; their mean is 1. See train_head."""
    weight = np.ones(len(condition))
    for code in np.unique(condition):
        of_code = condition == code
        kinds, counts = np.unique(kind[of_code], return_counts=True)
        each = dict(zip(kinds.tolist(), 1 / (counts * len(kinds)), strict=True))
        weight[of_code] = [each[one] for one in kind[of_code].tolist()]
    readable = condition == 0
    n_refusals = len(np.unique(condition[~readable]))
    weight[readable] *= _PART_READABLE
    weight[~readable] *= (1 - _PART_READABLE) / max(1, n_refusals)
    return weight * len(weight)
