"""A training run as export needs it: the checkpoint, its settings and its films."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.commands import entries_of, film_bar
from train.config import TrainConfig, settings_of
from train.data.films import load_films
from train.data.split import Split, read_split
from train.learn.checkpoint import Checkpoint, load_checkpoint

from .errors import ExportError


@dataclass(frozen=True)
class Run:
    """What a folder of `python -m train` or `python -m train average` holds.

    recipe: how it was trained, for the model card; of a mean, how each part of it was.
    """

    checkpoint: Checkpoint
    config: TrainConfig
    split: Split
    recipe: dict[str, str]


def read_run(checkpoint_path: Path, data: Sequence[str]) -> Run:
    """Raises TrainError or ExportError where the run is incomplete or its films are not there."""
    folder = checkpoint_path.parent
    if not (folder / "split.csv").is_file():
        raise ExportError(
            f"There is no split.csv beside {checkpoint_path}.",
            "Name the checkpoint.pt inside the run folder that `python -m train` made.",
        )
    config = TrainConfig.read(folder / "config.json")
    film_set = load_films(entries_of(data, config.patient_pattern), config.labels, film_bar)
    return Run(
        load_checkpoint(checkpoint_path),
        config,
        read_split(folder / "split.csv", film_set.films),
        _recipe(settings_of(folder)),
    )


def _recipe(settings: Sequence[TrainConfig]) -> dict[str, str]:
    # The card says the input and the findings elsewhere.
    texts = [
        {
            name: value
            for name, value in _flat(dataclasses.asdict(one)).items()
            if not name.startswith(("input.", "labels."))
        }
        for one in settings
    ]
    if len(texts) == 1:
        return texts[0]
    recipe = {"weights": f"the mean of {len(texts)} runs, batch norm taken anew"}
    for name, first in texts[0].items():
        values = [one[name] for one in texts]
        recipe[name] = first if len(set(values)) == 1 else " | ".join(values)
    return recipe


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as text by dotted name."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value)
    return flat
