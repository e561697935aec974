"""The training loop: cached films in, the running mean of the weights out."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import Optimisation, TrainConfig
from ..data.pixels import Films, infer, reduced, to_input
from ..errors import TrainError
from ..measure.metrics import auroc
from ..networks import Network
from ..networks.tuning import freeze, rates
from .augment import augment
from .balance import epoch_order
from .checkpoint import load_file, write_atomically
from .losses import make_loss
from .processes import Processes


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


@dataclass(frozen=True)
class Helpers:
    """What a run may have beside its films: a teacher, a progress bar, other processes, a GPU.

    teacher: a network whose answers are learned from. batches: wraps an epoch's batches.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: Processes = field(default_factory=Processes)
    teacher: nn.Module | None = None
    batches: Callable[[list[Tensor], int], Iterator[Tensor]] = lambda batches, _: iter(batches)


def fit(
    network: Network,
    train: Films,
    validation: Films,
    config: TrainConfig,
    snapshot_path: Path,
    resume: bool,
    report: Callable[[EpochReport], None],
    helpers: Helpers,
) -> dict[str, Tensor]:
    """Train and return the averaged weights of the epoch that was best on validation films.

    A snapshot is written after every epoch; with `resume` the run goes on from it, to the same
    result as if it had not been interrupted. Processes that train together share the parts of each
    batch; the result is that of one process.
    Raises TrainError: no snapshot to resume, or one of another configuration or of other films; a
    loss that is no longer a number; a disk that is full, with the last good snapshot kept.
    """
    return _Run(network, train, validation, config, helpers).fit(snapshot_path, resume, report)


class _Run:
    """The moving parts of one run."""

    def __init__(
        self,
        network: Network,
        train: Films,
        validation: Films,
        config: TrainConfig,
        helpers: Helpers,
    ) -> None:
        how = config.optimisation
        self.config, self.helpers, self.train, self.validation = config, helpers, train, validation
        _move(network, helpers.device)
        self.network = network
        self.teacher = helpers.teacher
        if self.teacher is not None:
            _move(self.teacher, helpers.device)
            self.teacher.eval()
        self.average = AveragedModel(
            self.network, multi_avg_fn=running_mean(how.ema_decay), use_buffers=True
        )
        self.optimizer = _optimizer(self.network, config)
        n_films = len(self._order(torch.Generator()))
        schedule = _schedule(how, math.ceil(n_films / how.batch_size))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, schedule)
        self.loss = make_loss(train.labels, config)
        self.harder = _augmented(validation, config)
        self.films_digest = _digest(train, validation)
        self.state: dict[str, Any] = {"epoch": 0, "best_auroc": -1.0, "best_epoch": 0, "best": {}}

    def fit(
        self, snapshot_path: Path, resume: bool, report: Callable[[EpochReport], None]
    ) -> dict[str, Tensor]:
        how, state = self.config.optimisation, self.state
        if resume:
            self._load(snapshot_path)
        while state["epoch"] < how.epochs:
            waited = state["epoch"] - max(state["best_epoch"], how.small_epochs)
            if waited >= how.patience:
                break
            started = time.perf_counter()
            epoch = state["epoch"] + 1
            loss = self._train_epoch(epoch)
            plain, augmented = self._validate(epoch)
            value = self.helpers.processes.agree((plain + augmented) / 2)
            # Weights that have seen only reduced films are not what is asked for.
            best = value > state["best_auroc"] and epoch > how.small_epochs
            state["epoch"] = epoch
            if best:
                weights = deepcopy(self.average.module.state_dict())
                state.update(best_auroc=value, best_epoch=epoch, best=weights)
            if self.helpers.processes.is_first:
                self._save(snapshot_path)
            seconds = time.perf_counter() - started
            report(EpochReport(epoch, loss, plain, augmented, best, seconds))
        return {name: tensor.cpu() for name, tensor in state["best"].items()}

    def _train_epoch(self, epoch: int) -> float:
        """One pass over the films; the mean loss. A resumed run draws what the first would have."""
        how, processes = self.config.optimisation, self.helpers.processes
        kept_still = freeze(self.network, self.config.tuning, epoch)
        self.network.train()
        for module in kept_still:
            module.eval()  # their batch statistics stay too
        order = self._order(torch.Generator().manual_seed(self._seed(epoch))).split(how.batch_size)
        losses = []
        for step, batch in enumerate(self.helpers.batches(list(order), epoch)):
            if len(batch) < 2 * how.batch_parts:  # batch norm needs two
                continue
            self.optimizer.zero_grad(set_to_none=True)
            norms = _PartNorms(self.network) if how.batch_parts > 1 else None
            loss = torch.zeros((), device=self.helpers.device)
            for part in range(processes.rank, how.batch_parts, processes.count):
                films = batch.tensor_split(how.batch_parts)[part]
                loss += self._learn(films, len(batch), epoch, self._seed(epoch, step, part))
                if norms:
                    norms.next_part()
            processes.add([p.grad for p in self.network.parameters() if p.grad is not None])
            if norms:
                norms.finish(processes, how.batch_parts)
            processes.add([loss])
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainError(
                    f"The loss of epoch {epoch} is no longer a number.",
                    "Train with a lower optimisation.learning_rate.",
                )
            self.optimizer.step()
            self.scheduler.step()
            self.average.update_parameters(self.network)
        return float(np.mean(losses)) if losses else float("nan")

    def _learn(self, films: Tensor, n_batch: int, epoch: int, seed: int) -> Tensor:
        """Add to the gradients what these films (their indices) say; their part of the loss."""
        how, device = self.config.optimisation, self.helpers.device
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator().manual_seed(seed)
        grey = augment(self.train.pixels[films].to(device), self.config.augmentation, generator)
        labels = self.train.labels[films].to(device)
        with _mixed_precision(device):
            taught = None
            if self.teacher is not None:
                with torch.no_grad():
                    logits = self.teacher(to_input(grey, self.config.input)).float()
                taught = logits.softmax(1) if self.config.labels.exclusive else logits.sigmoid()
            grey = reduced(grey, how.small_px) if epoch <= how.small_epochs else grey
            logits = self.network(to_input(grey, self.config.input)).float()
        loss = self.loss(logits, labels, n_batch, taught)
        loss.backward()
        return loss.detach()

    def _validate(self, epoch: int) -> tuple[float, float]:
        """Mean AUROC of the averaged weights on the films as they are, and augmented."""
        how = self.config.optimisation
        side_px = how.small_px if epoch <= how.small_epochs else 0
        present = self.validation.labels.numpy() > 0.5
        plain, augmented = (
            mean_auroc(present, infer(self.average.module, films, self.config.input, 64, side_px))
            for films in (self.validation, self.harder)
        )
        return plain, augmented

    def _order(self, generator: torch.Generator) -> Tensor:
        return epoch_order(self.train.labels, self.config.balance, generator)

    def _seed(self, epoch: int, step: int = -1, part: int = 0) -> int:
        """Each part of each step draws from its own seed, whichever process it falls to."""
        text = f"{self.config.optimisation.seed} {epoch} {step} {part}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
        }

    def _save(self, path: Path) -> None:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        names = {"config": self.config.to_json(), "films": self.films_digest}
        write_atomically({**names, "state": self.state, **parts}, path)

    def _load(self, path: Path) -> None:
        if not path.exists():
            raise TrainError(f"There is no snapshot {path} to resume.", "Start without --resume.")
        saved = load_file(path)
        try:
            # Parsed: a setting that is newer than the snapshot has its default in both.
            earlier = TrainConfig.from_json(saved["config"])
        except (KeyError, TypeError, ValueError):
            earlier = None
        if earlier != self.config:
            raise TrainError(
                f"The snapshot {path} belongs to another configuration.",
                "Resume with the options that the run was started with.",
            )
        if saved.get("films") != self.films_digest:
            raise TrainError(
                f"The snapshot {path} was made with other films.",
                "Resume with the data that the run was started with, or start anew.",
            )
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.state.update(saved["state"])


def running_mean(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """AveragedModel's exponential running mean, over fewer steps while there are few.

    The decay rises as (1 + n) / (10 + n) with the step n up to `decay`, as in TensorFlow's
    ExponentialMovingAverage: else a short run would keep mostly the weights it started from.
    """

    def update(means: Any, weights: Any, n_steps: Tensor | int) -> None:
        n = int(n_steps)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(means, weights, n_steps)

    return update


class _PartNorms:
    """Batch norm's running statistics over a batch that is learned in parts.

    Each part starts from the same statistics, and the mean of what the parts made of them is kept:
    so it does not matter which process a part falls to.
    """

    def __init__(self, network: Network) -> None:
        self._buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self._start = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]

    def next_part(self) -> None:
        for buffer, start, total in zip(self._buffers, self._start, self._sums, strict=True):
            total += buffer
            buffer.copy_(start)

    def finish(self, processes: Processes, n_parts: int) -> None:
        processes.add(self._sums)
        for buffer, total in zip(self._buffers, self._sums, strict=True):
            buffer.copy_(total / n_parts)


def _move(network: nn.Module, device: torch.device) -> None:
    """Move its weights there, laid out as convolutions are quickest with."""
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def mean_auroc(present: NDArray[np.bool_], logits: NDArray[np.float32]) -> float:
    """The mean of the findings' AUROC; both (N, K)."""
    return float(np.mean([auroc(present[:, k], logits[:, k]) for k in range(present.shape[1])]))


def _mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    # On a CPU without bf16 units autocast is many times slower than fp32.
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _augmented(films: Films, config: TrainConfig) -> Films:
    """The films under one draw of the augmentation, the same in every run with this seed."""
    generator = torch.Generator().manual_seed(config.optimisation.seed)
    pixels = [
        augment(batch, config.augmentation, generator).mul(255).round().to(torch.uint8)
        for batch in films.pixels.split(64)
    ]
    return Films(torch.cat(pixels), films.labels, films.patients, films.sources)


def _optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """One group per rate, with and without weight decay.

    Biases and batch-norm factors have one dimension; decay would only pull them to zero.
    """
    how = config.optimisation
    rate_of = rates(network, config.tuning)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = how.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate_of[name], decay), []).append(parameter)
    parts = [
        {"params": parameters, "lr": rate * how.learning_rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if how.optimizer == "sgd":
        return torch.optim.SGD(parts, lr=how.learning_rate, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if how.optimizer == "adamw" else torch.optim.Adam
    return kind(parts, lr=how.learning_rate)


def _schedule(how: Optimisation, steps_per_epoch: int) -> Callable[[int], float]:
    """The part of the learning rate at a step.

    "cosine": a linear warm-up, then half a cosine down to 1 %. "one-cycle": up from 4 % during the
    first 30 % of the steps, then down to nothing, both half cosines. "constant": after the warm-up.
    """
    total = how.epochs * steps_per_epoch
    warmup = max(1, round(how.warmup_epochs * steps_per_epoch))

    def half_cosine(start: float, end: float, part: float) -> float:
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))

    def factor(step: int) -> float:
        if how.schedule == "one-cycle":
            rise = max(1, round(0.3 * total))
            if step < rise:
                return half_cosine(0.04, 1.0, step / rise)
            return half_cosine(1.0, 1e-5, (step - rise) / max(1, total - rise))
        if step < warmup:
            return (step + 1) / warmup
        if how.schedule == "constant":
            return 1.0
        return half_cosine(1.0, 0.01, (step - warmup) / max(1, total - warmup))

    return factor


def _digest(*films: Films) -> str:
    digest = hashlib.sha256()
    for part in films:
        digest.update(part.pixels.numpy().data)
        digest.update(part.labels.numpy().data)
    return digest.hexdigest()
