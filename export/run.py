"""A training run as export needs it: the checkpoint, its settings and its films."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.checkpoint import Checkpoint, load_checkpoint
from train.config import TrainConfig, settings_of
from train.films import load_films
from train.split import Split, read_split

from .errors import ExportError


@dataclass(frozen=True)
class Run:
    """What a folder of `python -m train` or `python -m train.average` holds.

    recipe: how it was trained, for the model card; of a mean, how each part of it was.
    """

    checkpoint: Checkpoint
    config: TrainConfig
    split: Split
    recipe: dict[str, str]


def read_run(checkpoint_path: Path, roots: Sequence[Path]) -> Run:
    """Raises TrainError or ExportError where the run is incomplete or its films are not there."""
    folder = checkpoint_path.parent
    if not (folder / "split.csv").is_file():
        raise ExportError(
            f"There is no split.csv beside {checkpoint_path}.",
            "Name the checkpoint.pt inside the run folder that `python -m train` made.",
        )
    return Run(
        load_checkpoint(checkpoint_path),
        TrainConfig.read(folder / "config.json"),
        read_split(folder / "split.csv", load_films(roots).films),
        _recipe(settings_of(folder)),
    )


def _recipe(settings: Sequence[TrainConfig]) -> dict[str, str]:
    # The card says the input elsewhere.
    texts = [
        {k: str(v) for k, v in dataclasses.asdict(one).items() if k != "input"} for one in settings
    ]
    if len(texts) == 1:
        return texts[0]
    recipe = {"weights": f"the mean of {len(texts)} runs, batch norm taken anew"}
    for name, first in texts[0].items():
        values = [one[name] for one in texts]
        recipe[name] = first if len(set(values)) == 1 else " | ".join(values)
    return recipe
