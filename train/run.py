"""`python -m train RECIPE`: films become a checkpoint with its evidence, in a run folder."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import torch
from torch import Tensor
from tqdm import tqdm

from .commands import CONTEXT, data_option, entries_of, film_bar, recipe_options, say_data
from .config import Teaching, TrainConfig
from .data.duplicates import write_near_duplicates
from .data.films import FilmSet, load_films
from .data.manifest import Entry
from .data.pixels import cache_films
from .data.split import (
    TRAIN,
    VALIDATION,
    Split,
    leave_out,
    leave_out_source,
    make_split,
    read_split,
    subset,
    write_split,
)
from .errors import TrainError
from .learn.checkpoint import Checkpoint, initialise, load_checkpoint, save_checkpoint
from .learn.fit import EpochReport, Helpers, fit
from .learn.memory import keep_freed_memory
from .learn.processes import Processes, device_of, join_processes
from .measure.plots import plot_learning
from .measure.report import write_report
from .networks import build
from .recipe import Recipe, read_recipe


def train_command(name: str, path: Path) -> click.Command:
    """The command that runs one recipe; its help says what the recipe is."""
    recipe = read_recipe(path)
    options = [
        data_option,
        click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder."),
        recipe_options,
        click.option(
            "--init",
            "init_path",
            type=click.Path(path_type=Path),
            help="Weights to start from (torchvision's layout); from scratch without it.",
        ),
        click.option(
            "--keep-head",
            is_flag=True,
            help="Start with the head of --init too, a checkpoint of the same findings.",
        ),
        click.option(
            "--teacher",
            "teacher_path",
            type=click.Path(path_type=Path),
            help="A checkpoint to learn from beside the labels; see teaching.weight.",
        ),
        click.option(
            "--split",
            "split_path",
            type=click.Path(path_type=Path),
            help="The split.csv of another run, to be used again.",
        ),
        click.option(
            "--leave-out",
            "pattern",
            help="Regular expression: patients with such a file name neither train nor choose; "
            "those of the test films stay there, so that runs with one split share them.",
        ),
        click.option("--leave-source-out", "source", help="The same for a whole source, by name."),
        click.option("--device", "device_name", type=click.Choice(["auto", "cpu", "cuda"])),
        click.option("--resume", is_flag=True, help="Go on from the run folder's last snapshot."),
    ]

    def callback(
        data: tuple[str, ...],
        out: Path,
        variants: tuple[str, ...],
        settings: tuple[str, ...],
        init_path: Path | None,
        keep_head: bool,
        teacher_path: Path | None,
        split_path: Path | None,
        pattern: str | None,
        source: str | None,
        device_name: str | None,
        resume: bool,
    ) -> None:
        config = read_recipe(path, variants, settings).config
        config = dataclasses.replace(
            config,
            init=init_path.name if init_path else "",
            teaching=Teaching(
                config.teaching.weight, str(teacher_path.parent.name) if teacher_path else ""
            ),
        )
        if keep_head and not init_path:
            raise TrainError("--keep-head keeps that of --init.", "Give --init CHECKPOINT too.")
        if bool(teacher_path) != bool(config.teaching.weight):
            raise TrainError(
                "A teacher and teaching.weight need each other.",
                "Give --teacher CHECKPOINT and --set teaching.weight=0.7, or neither.",
            )
        keep_freed_memory()
        device = device_of(device_name or "auto")
        processes = join_processes(device, config.optimisation.batch_parts)
        if device.type == "cuda":  # on a CPU they are deterministic anyhow
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            _train(
                config,
                entries_of(data, config.patient_pattern),
                out,
                _SplitChoice(split_path, pattern, source),
                init_path,
                keep_head,
                teacher_path,
                device,
                processes,
                resume,
            )
        finally:
            processes.leave()

    for option in reversed(options):
        callback = option(callback)
    return click.command(
        name,
        context_settings=CONTEXT,
        help=_help(recipe),
        short_help=recipe.title,
        epilog=f"""\b
Example:
  python -m train {name} --data films/ --out runs/first
  python -m train {name} --data films/ --out runs/first --resume
  torchrun --nproc-per-node 2 -m train {name} --data films/ --out runs/first \\
      --set optimisation.batch_parts=2

The run folder gets config.json, split.csv, metrics.json, checkpoint.pt, snapshot.pt and pictures.
""",
    )(callback)


def _help(recipe: Recipe) -> str:
    parts = [recipe.title + ".", recipe.about]
    if recipe.original:
        parts.append("As the project that it repeats did it: " + recipe.original)
    if recipe.variants:
        lines = [f"  {name:20} {about}" for name, about in recipe.variants.items()]
        parts.append("\b\nVariants:\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True)
class _SplitChoice:
    """How the split was asked for on the command line."""

    path: Path | None
    pattern: str | None
    source: str | None

    def make(self, film_set: FilmSet, config: TrainConfig) -> Split:
        seed = config.optimisation.seed
        if self.path:
            split = read_split(self.path, film_set.films)
        else:
            split = make_split(subset(film_set.films, config.subset, seed), config.split, seed)
        split = leave_out(split, self.pattern) if self.pattern else split
        return leave_out_source(split, self.source) if self.source else split


def _train(
    config: TrainConfig,
    entries: Sequence[Entry],
    out: Path,
    split_choice: _SplitChoice,
    init_path: Path | None,
    keep_head: bool,
    teacher_path: Path | None,
    device: torch.device,
    processes: Processes,
    resume: bool,
) -> None:
    snapshot_path, own_split = out / "snapshot.pt", out / "split.csv"
    if snapshot_path.exists() and not resume:
        raise TrainError(
            f"{out} already holds a run.", "Give --resume to go on, or another folder as --out."
        )
    film_set = load_films(entries, config.labels, film_bar)
    # The findings as they are, also where the recipe leaves them to the data.
    labels = dataclasses.replace(config.labels, findings=film_set.findings)
    config = dataclasses.replace(config, labels=labels)
    split = split_choice.make(film_set, config)
    if resume and own_split.exists() and split != read_split(own_split, film_set.films):
        raise TrainError(
            f"The films would be split otherwise than in the run {out}.",
            "Resume with the data and options that the run was started with.",
        )
    if processes.is_first:
        # A run that is resumed keeps its files: the snapshot may yet prove to be another run's.
        if not resume:
            out.mkdir(parents=True, exist_ok=True)
            write_split(split, own_split)
            (out / "config.json").write_text(config.to_json(), encoding="utf-8")
            source_of = {film.path: film.source for film in film_set.films}
            write_near_duplicates(film_set.near_duplicates, source_of, out / "near-duplicates.csv")
        say_data(film_set, split)

    torch.manual_seed(config.optimisation.seed)
    outputs = film_set.findings
    network = build(config.network, len(outputs), config.input.channels, config.head)
    if init_path:
        mean, std = config.input.mean, config.input.std
        initialise(network, init_path, mean, std, outputs if keep_head else ())
    teacher = _teacher(teacher_path, config, outputs) if teacher_path else None
    films = {
        name: cache_films(part, outputs, config.input, film_bar, f"reading {name}")
        for name, part in split.films.items()
        if part
    }
    reports = _earlier_reports(out) if resume else []

    def report(epoch: EpochReport) -> None:
        reports.append(epoch)
        if not processes.is_first:
            return
        lines = [json.dumps(dataclasses.asdict(r)) + "\n" for r in reports]
        (out / "epochs.jsonl").write_text("".join(lines), encoding="utf-8")
        n_left = config.optimisation.epochs - epoch.epoch
        minutes = n_left * sum(r.duration_s for r in reports) / len(reports) / 60
        click.echo(
            f"epoch {epoch.epoch}/{config.optimisation.epochs}: loss {epoch.loss:.4f}, validation "
            f"AUROC {epoch.validation_auroc:.4f}, augmented {epoch.augmented_auroc:.4f}"
            f"{' (best)' if epoch.best else ''}, {epoch.duration_s:.0f} s, "
            f"at most {minutes:.0f} min left"
        )

    def batches(batches: list[Tensor], epoch: int) -> Iterator[Tensor]:
        hidden = None if processes.is_first else True
        return iter(tqdm(batches, f"epoch {epoch}", leave=False, disable=hidden))

    helpers = Helpers(device, processes, teacher, batches)
    state = fit(
        network, films[TRAIN], films[VALIDATION], config, snapshot_path, resume, report, helpers
    )
    if not processes.is_first:
        return
    checkpoint = Checkpoint(
        config.network,
        config.head,
        outputs,
        config.input.channels,
        config.labels.activation,
        state,
    )
    save_checkpoint(checkpoint, out / "checkpoint.pt")
    plot_learning(reports, out / "learning.png")
    write_report(checkpoint, config, split, films, film_set, out)


def _teacher(path: Path, config: TrainConfig, findings: tuple[str, ...]) -> torch.nn.Module:
    checkpoint = load_checkpoint(path)
    taught = TrainConfig.read(path.parent / "config.json")
    if (checkpoint.findings, checkpoint.activation) != (findings, config.labels.activation):
        raise TrainError(
            f"The teacher {path} answers with {', '.join(checkpoint.findings)}, this run with "
            f"{', '.join(findings)}.",
            "Name a checkpoint with the same findings.",
        )
    if taught.input != config.input:
        raise TrainError(
            f"The teacher {path} was trained on films of another input.",
            "Give this run the same [input] as the teacher's.",
        )
    return checkpoint.build()


def _earlier_reports(out: Path) -> list[EpochReport]:
    path = out / "epochs.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [EpochReport(**json.loads(line)) for line in lines]
