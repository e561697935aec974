"""A training run as export needs it: the checkpoint, its settings and its films."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.checkpoint import Checkpoint, load_checkpoint
from train.config import TrainConfig
from train.films import load_films
from train.split import Split, read_split

from .errors import ExportError


@dataclass(frozen=True)
class Run:
    """What a folder of `python -m train` holds; name is the folder's."""

    name: str
    checkpoint: Checkpoint
    config: TrainConfig
    split: Split


def read_run(checkpoint_path: Path, roots: Sequence[Path]) -> Run:
    """Raises TrainError or ExportError where the run is incomplete or its films are not there."""
    folder = checkpoint_path.parent
    if not (folder / "split.csv").is_file():
        raise ExportError(
            f"There is no split.csv beside {checkpoint_path}.",
            "Name the checkpoint.pt inside the run folder that `python -m train` made.",
        )
    return Run(
        folder.name,
        load_checkpoint(checkpoint_path),
        TrainConfig.read(folder / "config.json"),
        read_split(folder / "split.csv", load_films(roots).films),
    )
