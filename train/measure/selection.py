"""Which labelled films are measured, as a command line asks for them."""

import csv
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

import click

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import NO_FINDING
from cxr_edge.radiograph import open_radiograph

from ..commands import entries_of, film_bar, patient_option
from ..config import Labels
from ..data.films import Film, label_of, load_films
from ..data.manifest import LATERAL, Entry
from ..data.split import LEFT_OUT, TEST, TRAIN, VALIDATION, read_split
from ..errors import TrainError

ALL = "all"
_F = TypeVar("_F", bound=Callable[..., Any])


def selection_options(command: _F) -> _F:
    """What, besides the data, makes a Selection."""
    for option in (
        patient_option,
        click.option("--ignore", multiple=True, metavar="FINDING", help="Leave such films aside."),
        click.option(
            "--rename",
            "renames",
            multiple=True,
            metavar="FROM=TO",
            help="A finding of the data as a finding of the model.",
        ),
        click.option(
            "--part",
            type=click.Choice([TEST, VALIDATION, TRAIN, LEFT_OUT, ALL]),
            show_default="test where there is a split, else all",
            help="The part of the split, or without one the side that a data set gave its films.",
        ),
        click.option(
            "--split",
            "split_path",
            type=click.Path(path_type=Path),
            help="The split.csv of a run; a checkpoint takes that of its own folder.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Selection:
    """data: as --data takes it. asked_part: None for the usual one. renames: as FROM=TO."""

    data: tuple[str, ...]
    split_path: Path | None
    asked_part: str | None
    renames: tuple[str, ...]
    ignore: tuple[str, ...]
    patient_pattern: str

    @property
    def part(self) -> str:
        return self.asked_part or (TEST if self.split_path else ALL)

    @property
    def used_split(self) -> Path | None:
        """The split that the films are a part of; None where all are taken."""
        return None if self.part == ALL else self.split_path

    def films(self, own: Labels) -> tuple[tuple[Film, ...], int]:
        """The films, and how many others were left aside: lateral, ignored, copies or
        contradicting; 0 with a split, which has none of them.

        own: the labels of what is measured, before these renames.
        Raises TrainError: data or a split that cannot be read, a --rename that is none.
        """
        labels = dataclasses.replace(
            own,
            rename={**own.rename, **renamed(self.renames)},
            ignore=(*own.ignore, *self.ignore),
        )
        entries = entries_of(self.data, self.patient_pattern)
        if self.used_split:
            films = load_films(entries, labels, film_bar).films
            return read_split(self.used_split, films)[self.part], 0
        films = films_to_measure(entries, labels)
        n_aside = len(entries) - len(films)
        if self.part != ALL:
            films = tuple(film for film in films if film.official == self.part)
        return films, n_aside

    def named_data(self) -> list[str]:
        """The data by the names of files and folders, not with the places where they lie here."""
        parts = (text.rpartition("=") for text in self.data)
        return [f"{layout}{equals}{PurePath(place).name or '.'}" for layout, equals, place in parts]

    def words(self) -> list[str]:
        """The options of the command line, without the data, and without places as above."""
        words = []
        if self.used_split:
            words.append(f"--split {self.used_split.name}")
        words.append(f'--part "{self.part}"' if " " in self.part else f"--part {self.part}")
        words += [f'--rename "{text}"' for text in self.renames]
        words += [f'--ignore "{text}"' for text in self.ignore]
        if self.patient_pattern:
            words.append(f'--patient-pattern "{self.patient_pattern}"')
        return words


def films_to_measure(entries: Sequence[Entry], labels: Labels) -> tuple[Film, ...]:
    """The frontal films with a label, each once; those with two labels for the same bytes never.

    load_films is for training, and stops where a label has no film or a film cannot be read. Here
    a film that cannot be read stays, to be counted as one without an answer.
    """
    found: dict[str, list[Film]] = {}
    for entry in entries:
        label = label_of(entry, labels)
        if entry.view == LATERAL or not label:
            continue
        try:
            sha256 = open_radiograph(entry.path).sha256
        except RadiographError:
            sha256 = ""
        group = f"{entry.source}/{entry.patient}"
        film = Film(
            entry.path,
            label,
            entry.patient,
            group,
            sha256,
            entry.source,
            entry.split,
            entry.view,
            entry.age_years,
            entry.sex,
        )
        found.setdefault(sha256 or str(entry.path), []).append(film)
    return tuple(same[0] for same in found.values() if len({film.label for film in same}) == 1)


def check_known(films: Sequence[Film], part: str, findings: Sequence[str], name: str) -> None:
    """Raises TrainError: no films, or a label that what is measured does not know.

    findings: what it knows. name: what it is called.
    """
    if not films:
        raise TrainError(f"There are no {part} films.", "Check the data, --split and --part.")
    known = {*findings, NO_FINDING}
    if unknown := sorted({label for film in films for label in film.labels} - known):
        raise TrainError(
            f"{name} does not know {', '.join(unknown)}.",
            f'Its findings: {", ".join(findings)}. Give --rename "{unknown[0]}=..." '
            f'or --ignore "{unknown[0]}".',
        )


def n_learned_from(films: Sequence[Film], split_path: Path | None) -> int:
    """How many of the films the run of this split trained on or chose with; 0 without one."""
    used = {row["sha256"] for row in _rows(split_path) if row["split"] in (TRAIN, VALIDATION)}
    return sum(film.sha256 in used for film in films)


def partitions(split_path: Path | None) -> dict[str, tuple[int, int]]:
    """The films and patients of each part of a split that has any; none without one."""
    films: dict[str, int] = {}
    patients: dict[str, set[tuple[str, str]]] = {}
    for row in _rows(split_path):
        films[row["split"]] = films.get(row["split"], 0) + 1
        patients.setdefault(row["split"], set()).add((row["source"], row["patient"]))
    return {part: (n, len(patients[part])) for part, n in films.items()}


def _rows(split_path: Path | None) -> list[dict[str, str]]:
    if split_path is None:
        return []
    with split_path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def renamed(renames: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in renames]
    for name, equals, to in pairs:
        if not (name and equals and to):
            raise TrainError(f"--rename {name}{equals}{to} has no two names.", "Give FROM=TO.")
    return {name: to for name, _, to in pairs}
