"""What a run that never saw a source, or a batch of one, makes of it: its sister's best witness.

A model that learned from every source cannot be asked what it would make of a new one. A run with
the same settings that left one out can.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr_edge.model_card import ModelCard

from ...commands import entries_of, film_bar
from ...config import TrainConfig
from ...data.films import Film, load_films
from ...data.split import LEFT_OUT, TRAIN, VALIDATION, Split, read_split
from ...errors import TrainError
from ...learn.checkpoint import load_checkpoint
from ...learn.processes import device_of
from ..answers import Answers, Measured, measure_answers, read_films, reader_of_checkpoint
from ..metrics import Interval, measure


@dataclass(frozen=True)
class Sister:
    """A run that left films out, on those films.

    whole_sources: whether they are all that the run's films have of their sources. films: left-out
    films by source and label. joined: the run's validation films beside them, by label, where the
    films left out lack a label. measured: by the run's own rule, a threshold of 0.5 or the most
    probable label. at_sensitivity: by finding, the sensitivity of the model's operating point on
    its own films, and the figures of the threshold that gives it here; without findings that no
    film here has.
    """

    name: str
    whole_sources: bool
    films: Mapping[tuple[str, str], int]
    joined: Mapping[str, int]
    measured: Measured
    at_sensitivity: Mapping[str, tuple[float, Mapping[str, Interval]]]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({source for source, _ in self.films}))


def measure_sister(checkpoint_path: Path, data: Sequence[str], card: ModelCard) -> Sister:
    """data: as --data takes it; the run's films are among them.

    Raises TrainError: no run that left films out, one for other findings, films that are not there.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    folder = checkpoint_path.parent
    if set(checkpoint.findings) != set(card.findings):
        raise TrainError(
            f"The sister run {folder.name} tells {', '.join(checkpoint.findings)} apart, the model "
            f"{', '.join(card.findings)}.",
            "Give a run with the model's findings.",
        )
    config = TrainConfig.read(folder / "config.json")
    labels = dataclasses.replace(config.labels, findings=checkpoint.findings)
    at_hand = load_films(entries_of(data, config.patient_pattern), labels, film_bar).films
    split = read_split(folder / "split.csv", at_hand)
    chosen, beside = films_left_out(split, folder.name)
    reader = reader_of_checkpoint(checkpoint, config, device_of("auto"))
    films, cached, _ = read_films((*chosen, *beside), reader, film_bar, f"reading {folder.name}")
    answers = reader.judge(films, reader.logits(cached))
    return Sister(
        folder.name,
        whole_sources(split),
        dict(sorted(Counter((film.source, film.label) for film in chosen).items())),
        dict(sorted(Counter(film.label for film in beside).items())),
        measure_answers(answers),
        _at_sensitivity(answers, card),
    )


def films_left_out(split: Split, name: str) -> tuple[tuple[Film, ...], tuple[Film, ...]]:
    """The films left out, and the validation films of the labels that they lack.

    Raises TrainError: none were left out of the run `name`.
    """
    chosen = split[LEFT_OUT]
    if not chosen:
        raise TrainError(
            f"The sister run {name} left nothing out.",
            "Train it with --leave-out or --leave-source-out.",
        )
    there = {label for film in chosen for label in film.labels}
    beside = tuple(film for film in split[VALIDATION] if not there.intersection(film.labels))
    return chosen, beside


def whole_sources(split: Split) -> bool:
    """Whether the run learned from none of the sources of the films that it left out."""
    learned_from = {film.source for name in (TRAIN, VALIDATION) for film in split[name]}
    return not learned_from.intersection(film.source for film in split[LEFT_OUT])


def _at_sensitivity(
    answers: Answers, card: ModelCard
) -> dict[str, tuple[float, Mapping[str, Interval]]]:
    found: dict[str, tuple[float, Mapping[str, Interval]]] = {}
    for point in card.operating_points:
        present, probability = answers.of(point.finding)
        if present.any():
            cut = float(np.quantile(probability[present], 1 - point.sensitivity))
            figures = measure(present, probability, cut, answers.patients)
            found[point.finding] = (point.sensitivity, figures)
    return found
