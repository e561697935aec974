"""A training run as export needs it: the checkpoint, its settings and its films."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import read_radiograph
from train.commands import entries_of, film_bar
from train.config import TrainConfig, settings_of
from train.data.films import Film, load_films
from train.data.split import TEST, VALIDATION, Split, read_split
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


def judged_on(run: Run, sources: Sequence[str]) -> Run:
    """The run with the validation and test films of these sources alone; of all without any.

    Raises ExportError where one of them has none.
    """
    if not sources:
        return run
    films = dict(run.split.films)
    for part in (VALIDATION, TEST):
        films[part] = tuple(film for film in films[part] if film.source in sources)
        if missing := sorted(set(sources) - {film.source for film in films[part]}):
            known = sorted({film.source for film in run.split[part]})
            raise ExportError(
                f"There are no {part} films of {', '.join(missing)}.",
                f"Sources: {', '.join(known)}.",
            )
    return dataclasses.replace(run, split=dataclasses.replace(run.split, films=films))


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


def prepared(run: Run, films: Sequence[Film], title: str) -> NDArray[np.float32]:
    """Prepared films, float32 (N, 1, C, H, W): one batch each, as the runtime feeds them."""
    bar = tqdm(films, title, leave=False, disable=None)
    spec = run.config.input
    side_px = min_side_px(spec)
    return np.stack([prepare(read_radiograph(film.path, side_px), spec) for film in bar])


def present_of(films: Sequence[Film], findings: Sequence[str]) -> NDArray[np.bool_]:
    """Labels (N, K)."""
    return np.array([[name in film.labels for name in findings] for film in films])


def spread(films: Sequence[Film], n: int) -> list[Film]:
    """About n films, spread evenly over the list, which is sorted by source and label."""
    at = np.unique(np.linspace(0, len(films) - 1, min(n, len(films))).round().astype(int))
    return [films[i] for i in at]
