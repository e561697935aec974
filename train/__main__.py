"""`python -m train`: folders whose names are the labels become a checkpoint with its evidence."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from .augment import NO_AUGMENTATION
from .checkpoint import Checkpoint, initialise, save_checkpoint
from .commands import CONTEXT, data_option, film_bar, run_command
from .config import TrainConfig, default_input_spec
from .errors import TrainError
from .films import KERMANY_PATIENT, FilmSet, load_films
from .fit import EpochReport, cache_films, fit
from .networks import NETWORKS, build
from .plots import plot_learning
from .report import write_report
from .split import (
    TRAIN,
    VALIDATION,
    Split,
    leave_out,
    make_split,
    read_split,
    write_split,
)

_DEFAULTS = TrainConfig()


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train --data films/ --init mobilenet_v2.pth --out runs/first
  python -m train --data films/ --init mobilenet_v2.pth --out runs/first --resume

films/ holds one folder per label, for example NORMAL/ and PNEUMONIA/. The run folder gets
config.json, split.csv, metrics.json, checkpoint.pt, snapshot.pt and pictures.
""",
)
@data_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("--network", type=click.Choice(sorted(NETWORKS)), default=_DEFAULTS.network)
@click.option(
    "--init",
    "init_path",
    type=click.Path(path_type=Path),
    help="Weights to start from (torchvision's layout); from scratch without it.",
)
@click.option("--size", "size_px", type=click.IntRange(32), default=224, help="Input side in px.")
@click.option("--epochs", type=click.IntRange(1), default=_DEFAULTS.epochs)
@click.option("--batch-size", type=click.IntRange(2), default=_DEFAULTS.batch_size)
@click.option("--learning-rate", type=float, default=_DEFAULTS.learning_rate)
@click.option(
    "--frozen-stages",
    type=click.IntRange(0),
    default=_DEFAULTS.frozen_stages,
    help="First stages that keep their initial weights.",
)
@click.option("--ema-decay", type=click.FloatRange(0, 1), default=_DEFAULTS.ema_decay)
@click.option("--label-smoothing", type=click.FloatRange(0, 1), default=_DEFAULTS.label_smoothing)
@click.option("--patience", type=click.IntRange(1), default=_DEFAULTS.patience)
@click.option("--seed", type=int, default=_DEFAULTS.seed)
@click.option("--no-class-weights", is_flag=True, help="Do not weigh rare labels up.")
@click.option("--no-augmentation", is_flag=True, help="Train on the films as they are.")
@click.option(
    "--patient-pattern",
    default=KERMANY_PATIENT,
    help="Regular expression for the patient at the start of a file name.",
)
@click.option(
    "--leave-out",
    "pattern",
    help="Regular expression: patients with such a file name neither train nor choose; those of "
    "the test films stay there, so that runs with one seed or --split share them.",
)
@click.option(
    "--split",
    "split_path",
    type=click.Path(path_type=Path),
    help="The split.csv of another run, to be used again.",
)
@click.option("--resume", is_flag=True, help="Go on from the run folder's last snapshot.")
def command(
    roots: tuple[Path, ...],
    out: Path,
    init_path: Path | None,
    size_px: int,
    no_class_weights: bool,
    no_augmentation: bool,
    patient_pattern: str,
    pattern: str | None,
    split_path: Path | None,
    resume: bool,
    **settings: Any,
) -> None:
    """Train a network on folders whose names are the labels."""
    config = TrainConfig(
        init=init_path.name if init_path else "",
        input=default_input_spec(size_px),
        class_weights=not no_class_weights,
        **settings,
    )
    if no_augmentation:
        config = dataclasses.replace(config, augmentation=NO_AUGMENTATION)
    snapshot_path = out / "snapshot.pt"
    if snapshot_path.exists() and not resume:
        raise TrainError(
            f"{out} already holds a run.", "Give --resume to go on, or another folder as --out."
        )
    film_set = load_films(roots, patient_pattern)
    own_split = out / "split.csv"
    if resume and own_split.exists():
        split_path, pattern = own_split, None  # what is left out is written there
    split = (
        read_split(split_path, film_set.films)
        if split_path
        else make_split(film_set.films, config.seed)
    )
    if pattern:
        split = leave_out(split, pattern)
    out.mkdir(parents=True, exist_ok=True)
    write_split(split, roots[0], own_split)
    (out / "config.json").write_text(config.to_json(), encoding="utf-8")
    _say_data(film_set, split)

    torch.manual_seed(config.seed)
    network = build(config.network, len(film_set.findings), config.input.channels)
    if init_path:
        initialise(network, init_path, config.input.mean, config.input.std)
    films = {
        name: cache_films(part, film_set.findings, config.input, film_bar, f"reading {name}")
        for name, part in split.films.items()
        if part
    }
    reports = _earlier_reports(out) if resume else []

    def report(epoch: EpochReport) -> None:
        reports.append(epoch)
        lines = [json.dumps(dataclasses.asdict(r)) + "\n" for r in reports]
        (out / "epochs.jsonl").write_text("".join(lines), encoding="utf-8")
        click.echo(
            f"epoch {epoch.epoch}/{config.epochs}: loss {epoch.loss:.4f}, validation AUROC "
            f"{epoch.validation_auroc:.4f}, augmented {epoch.augmented_auroc:.4f}"
            f"{' (best)' if epoch.best else ''}, "
            f"{epoch.duration_s:.0f} s"
        )

    state = fit(
        network,
        films[TRAIN],
        films[VALIDATION],
        config,
        snapshot_path,
        resume,
        report,
        lambda batches, epoch: iter(tqdm(batches, f"epoch {epoch}", leave=False, disable=None)),
    )
    checkpoint = Checkpoint(config.network, film_set.findings, config.input.channels, state)
    save_checkpoint(checkpoint, out / "checkpoint.pt")
    plot_learning(reports, out / "learning.png")
    write_report(checkpoint, films, config.input, film_set, out)


def _earlier_reports(out: Path) -> list[EpochReport]:
    path = out / "epochs.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [EpochReport(**json.loads(line)) for line in lines]


def _say_data(film_set: FilmSet, split: Split) -> None:
    click.echo(
        f"{len(film_set.films)} films; {len(film_set.duplicates)} exact duplicates and "
        f"{len(film_set.contradictions)} films with contradicting labels left aside."
    )
    labels = sorted({film.label for film in film_set.films})
    for name, films in split.films.items():
        if films:
            counts = [f"{sum(film.label == label for film in films)} {label}" for label in labels]
            n_patients = len({film.group for film in films})
            click.echo(f"  {name:10} {', '.join(counts)}; {n_patients} patients")


if __name__ == "__main__":
    run_command(command, "python -m train")
