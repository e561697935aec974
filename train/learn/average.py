"""`python -m train average`: the mean of several runs' weights as one checkpoint.

Runs from the same initial weights and on the same split lie in one valley of the loss, so that the
mean of their weights keeps what each learned at the cost of one network (Wortsman et al. 2022,
arXiv:2203.05482). Batch-norm statistics do not average; they are taken anew on augmented films.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from ..commands import CONTEXT, data_option, entries_of, film_bar
from ..config import AVERAGED, TrainConfig
from ..data.films import load_films
from ..data.pixels import Films, cache_films, to_input
from ..data.split import TRAIN, read_split
from ..errors import TrainError
from ..measure.report import write_report
from .augment import augment
from .checkpoint import load_checkpoint, save_checkpoint

N_FILMS = 512  # enough for batch-norm statistics


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train average runs/a/checkpoint.pt runs/b/checkpoint.pt --data films/ --out runs/mean

The first run's settings and split are taken over; averaged.json holds the settings of all.
A checkpoint named twice counts twice.
""",
)
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@data_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new run folder.")
def command(checkpoints: tuple[Path, ...], data: tuple[str, ...], out: Path) -> None:
    """Average the weights of several runs with the same start and split."""
    if len(checkpoints) < 2:
        raise TrainError("There is nothing to average.", "Name two checkpoints or more.")
    if out.exists():
        raise TrainError(f"{out} is already there.", "Name another folder as --out.")
    parts = [load_checkpoint(path) for path in checkpoints]
    first = checkpoints[0].parent
    configs = []
    for path, part in zip(checkpoints, parts, strict=True):
        if (path.parent / AVERAGED).exists():
            raise TrainError(f"{path} is a mean itself.", "Name the runs that it is the mean of.")
        configs.append(TrainConfig.read(path.parent / "config.json"))
        if (part.network, part.head, part.findings) != (
            parts[0].network,
            parts[0].head,
            parts[0].findings,
        ):
            raise TrainError(f"{path} is of another network or has other findings.")
        if _split_of(path) != _split_of(checkpoints[0]):
            raise TrainError(
                f"{path} was trained on another split.",
                "Train with --split of the first run: else test films were trained on.",
            )
    config = configs[0]
    film_set = load_films(entries_of(data, config.patient_pattern), config.labels, film_bar)
    split = read_split(first / "split.csv", film_set.films)
    few = max(1, len(split[TRAIN]) // N_FILMS)
    parts_of_split = {**split.films, TRAIN: split[TRAIN][::few]}
    films = {
        name: cache_films(part, parts[0].findings, config.input, film_bar, f"reading {name}")
        for name, part in parts_of_split.items()
        if part
    }
    network = parts[0].build()
    network.load_state_dict(mean_of([part.state for part in parts]))
    renew_batch_norm(network, films[TRAIN], config)
    mean = dataclasses.replace(parts[0], state=network.state_dict())
    out.mkdir(parents=True)
    for name in ("config.json", "split.csv"):
        shutil.copyfile(first / name, out / name)
    settings = [dataclasses.asdict(config) for config in configs]
    (out / AVERAGED).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    save_checkpoint(mean, out / "checkpoint.pt")
    click.echo(f"{len(parts)} checkpoints averaged into {out / 'checkpoint.pt'}.")
    write_report(mean, config, split, films, film_set, out)


def _split_of(checkpoint: Path) -> bytes:
    path = checkpoint.parent / "split.csv"
    if not path.is_file():
        raise TrainError(
            f"There is no split.csv beside {checkpoint}.",
            "Name the checkpoint.pt inside the run folder that `python -m train` made.",
        )
    return path.read_bytes()


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each floating-point tensor; counters are the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }


@torch.no_grad()
def renew_batch_norm(network: nn.Module, films: Films, config: TrainConfig) -> None:
    """Take the batch-norm statistics anew, as the mean over augmented films."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
    generator = torch.Generator().manual_seed(config.optimisation.seed)
    for chosen in torch.randperm(len(films), generator=generator).split(64):
        if len(chosen) > 1:  # batch norm needs two
            grey = augment(films.pixels[chosen], config.augmentation, generator)
            network(to_input(grey, config.input))
    network.eval()
