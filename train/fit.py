"""The training loop: cached films in, the running mean of the weights out."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import InputSpec
from cxr_edge.preprocess import normalise, to_grey
from cxr_edge.radiograph import read_radiograph

from .augment import augment
from .checkpoint import load_file, write_atomically
from .config import TrainConfig
from .errors import TrainError
from .films import Film, raise_unreadable
from .metrics import auroc

Progress = Callable[[Sequence[Film], str], Iterator[Film]]


@dataclass(frozen=True)
class Films:
    """Films in memory. pixels: uint8 (N, 1, H, W) as prepared; labels: float32 (N, K)."""

    pixels: Tensor
    labels: Tensor
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave.

    validation_auroc: of the films as they are; it saturates where train and validation films come
    from one place. augmented_auroc: of the same films under one fixed draw of the augmentation,
    which stands in for other places. The mean of both decides which epoch is kept.
    """

    epoch: int
    loss: float
    validation_auroc: float
    augmented_auroc: float
    best: bool
    duration_s: float


def cache_films(
    films: Sequence[Film], findings: Sequence[str], spec: InputSpec, progress: Progress, title: str
) -> Films:
    """Read and prepare every film once, through the runtime's own code.

    Raises TrainError that names each film which cannot be read or is refused.
    """
    pixels = np.empty((len(films), 1, spec.height_px, spec.width_px), np.uint8)
    unreadable = []
    for i, film in enumerate(progress(films, title)):
        try:
            pixels[i, 0] = np.rint(to_grey(read_radiograph(film.path), spec) * 255)
        except RadiographError as exc:
            unreadable.append(f"{film.path}: {exc}")
    raise_unreadable(unreadable)
    labels = torch.tensor([[film.label == name for name in findings] for film in films]).float()
    return Films(torch.from_numpy(pixels), labels, tuple(film.group for film in films))


def fit(
    network: nn.Module,
    train: Films,
    validation: Films,
    config: TrainConfig,
    snapshot_path: Path,
    resume: bool,
    report: Callable[[EpochReport], None],
    batches: Callable[[list[Tensor], int], Iterator[Tensor]],
) -> dict[str, Tensor]:
    """Train and return the averaged weights of the epoch that was best on validation films.

    A snapshot is written after every epoch; with `resume` the run goes on from it, to the same
    result as if it had not been interrupted.
    Raises TrainError: no snapshot to resume, or one of another configuration; a loss that is no
    longer a number.
    """
    _freeze(network, config.frozen_stages)
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
    )
    optimizer = _optimizer(network, config)
    steps_per_epoch = math.ceil(len(train) / config.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(config, steps_per_epoch))
    pos_weight = _pos_weight(train.labels) if config.class_weights else None

    harder = _augmented(validation, config)

    state: dict[str, Any] = {"epoch": 0, "best_auroc": -1.0, "best_epoch": 0, "best": {}}
    parts = {
        "network": network,
        "average": average,
        "optimizer": optimizer,
        "scheduler": scheduler,
    }
    if resume:
        saved = _load_snapshot(snapshot_path, config)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        state = saved["state"]

    while state["epoch"] < config.epochs:
        epoch = state["epoch"] + 1
        if state["epoch"] - state["best_epoch"] >= config.patience:
            break
        started = time.perf_counter()
        # Each epoch draws from its own seed, so that a resumed run draws the same.
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        torch.manual_seed(config.seed * 100_003 + epoch)  # dropout
        losses = []
        _train_mode(network, config.frozen_stages)
        order = torch.randperm(len(train), generator=generator).split(config.batch_size)
        for chosen in batches(list(order), epoch):
            if len(chosen) < 2:  # batch norm needs two
                continue
            loss = _loss(network, train, chosen, config, pos_weight, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            average.update_parameters(network)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainError(
                    f"The loss of epoch {epoch} is no longer a number.",
                    "Train with a lower --learning-rate.",
                )
        present = validation.labels.numpy() > 0.5
        plain = mean_auroc(present, infer(average.module, validation, config.input))
        augmented = mean_auroc(present, infer(average.module, harder, config.input))
        value = (plain + augmented) / 2
        best = value > state["best_auroc"]
        state["epoch"] = epoch
        if best:
            state.update(
                best_auroc=value, best_epoch=epoch, best=deepcopy(average.module.state_dict())
            )
        write_atomically(
            {"config": config.to_json(), "state": state}
            | {name: part.state_dict() for name, part in parts.items()},
            snapshot_path,
        )
        seconds = time.perf_counter() - started
        report(EpochReport(epoch, float(np.mean(losses)), plain, augmented, best, seconds))
    best_state: dict[str, Tensor] = state["best"]
    return best_state


def _loss(
    network: nn.Module,
    films: Films,
    chosen: Tensor,
    config: TrainConfig,
    pos_weight: Tensor | None,
    generator: torch.Generator,
) -> Tensor:
    """The loss of one augmented batch; chosen: the films' indices."""
    grey = augment(films.pixels[chosen], config.augmentation, generator)
    labels = films.labels[chosen]
    labels = labels + config.label_smoothing * (0.5 - labels)
    logits = network(to_input(grey, config.input))
    return F.binary_cross_entropy_with_logits(logits, labels, pos_weight=pos_weight)


def to_input(grey: Tensor, spec: InputSpec) -> Tensor:
    """Grey films (N, 1, H, W) from 0 to 1 to the network's input (N, C, H, W)."""
    x = torch.from_numpy(normalise(grey[:, 0].numpy(), spec))
    return x.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def infer(
    network: nn.Module, films: Films, spec: InputSpec, batch_size: int = 64
) -> NDArray[np.float32]:
    """Logits (N, K) of films as they are, without augmentation."""
    network.eval()
    return np.concatenate(
        [
            network(to_input(pixels.float() / 255, spec)).numpy()
            for pixels in films.pixels.split(batch_size)
        ]
    )


def mean_auroc(present: NDArray[np.bool_], logits: NDArray[np.float32]) -> float:
    """The mean of the findings' AUROC; both (N, K)."""
    return float(np.mean([auroc(present[:, k], logits[:, k]) for k in range(present.shape[1])]))


def stages(network: nn.Module) -> list[nn.Module]:
    """The network's stages from the input on, without the head."""
    if isinstance(features := getattr(network, "features", None), nn.Sequential):
        return list(features)
    stem = nn.ModuleList([network.get_submodule("conv1"), network.get_submodule("bn1")])
    return [stem, *(network.get_submodule(f"layer{i}") for i in range(1, 5))]


def _augmented(films: Films, config: TrainConfig) -> Films:
    """The films under one draw of the augmentation, the same in every run with this seed."""
    generator = torch.Generator().manual_seed(config.seed)
    pixels = [
        augment(batch, config.augmentation, generator).mul(255).round().to(torch.uint8)
        for batch in films.pixels.split(64)
    ]
    return Films(torch.cat(pixels), films.labels, films.patients)


def _freeze(network: nn.Module, n_stages: int) -> None:
    for stage in stages(network)[:n_stages]:
        stage.requires_grad_(False)


def _train_mode(network: nn.Module, frozen_stages: int) -> None:
    network.train()
    for stage in stages(network)[:frozen_stages]:
        stage.eval()  # their batch statistics stay too


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in network.parameters() if p.requires_grad]
    # Biases and batch-norm factors have one dimension; decay would only pull them to zero.
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _schedule(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Linear warm-up, then half a cosine down to 1 %."""
    warmup = max(1, round(config.warmup_epochs * steps_per_epoch))
    total = max(warmup + 1, config.epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        part = min(1.0, (step - warmup) / (total - warmup))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part))

    return factor


def _pos_weight(labels: Tensor) -> Tensor:
    """Absent over present per finding, so that both weigh the same in the loss."""
    present = labels.sum(0)
    return (len(labels) - present) / present


def _load_snapshot(path: Path, config: TrainConfig) -> dict[str, Any]:
    if not path.exists():
        raise TrainError(f"There is no snapshot {path} to resume.", "Start without --resume.")
    saved = load_file(path)
    if not isinstance(saved, dict) or saved.get("config") != config.to_json():
        raise TrainError(
            f"The snapshot {path} belongs to another configuration.",
            "Resume with the options that the run was started with.",
        )
    return saved
