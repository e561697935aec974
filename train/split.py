"""The split: which film trains, which chooses, which is reported once. Grouped by patient."""

import csv
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import TrainError
from .films import Film

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left out"
_COLUMNS = ("split", "label", "patient", "sha256", "file")


@dataclass(frozen=True)
class Split:
    """Films by split name: TRAIN, VALIDATION, TEST, and LEFT_OUT for a source kept away."""

    films: dict[str, tuple[Film, ...]]

    def __getitem__(self, name: str) -> tuple[Film, ...]:
        return self.films[name]


def make_split(
    films: Sequence[Film],
    seed: int,
    validation_part: float = 0.1,
    test_part: float = 0.1,
) -> Split:
    """Deal whole patient groups out, stratified by label.

    Raises TrainError: a split would lack a label.
    """
    groups: dict[str, list[Film]] = defaultdict(list)
    for film in films:
        groups[film.group].append(film)
    parts: dict[str, list[Film]] = {TRAIN: [], VALIDATION: [], TEST: [], LEFT_OUT: []}
    strata: dict[str, list[str]] = defaultdict(list)
    for name, group in groups.items():
        counts = Counter(film.label for film in group)
        # Of labels that are equally frequent the first by name, whatever the films' order.
        strata[min(counts, key=lambda label: (-counts[label], label))].append(name)
    rng = random.Random(seed)
    for label in sorted(strata):
        names = sorted(strata[label])
        rng.shuffle(names)
        n_films = sum(len(groups[name]) for name in names)
        dealt = 0
        for name in names:
            part = dealt / n_films
            split = (
                TEST
                if part < test_part
                else VALIDATION
                if part < test_part + validation_part
                else TRAIN
            )
            parts[split] += groups[name]
            dealt += len(groups[name])
    split = Split({name: tuple(sorted(part, key=_by_path)) for name, part in parts.items()})
    check_split(split)
    return split


def leave_out(split: Split, pattern: str) -> Split:
    """Keep a source from training and from choosing: its patients go from TRAIN and VALIDATION to
    LEFT_OUT. TEST stays as it is, so that a run with the same split, left whole, and choices made
    on LEFT_OUT for it, never see the same test patients.

    pattern: a regular expression; it takes every patient with a film whose name it finds.
    Raises TrainError: it is no regular expression, finds nothing, or leaves a side without a label.
    """
    try:
        found = re.compile(pattern).search
    except re.error as exc:
        raise TrainError(f"--leave-out is not a regular expression ({exc}).") from exc
    chosen = (*split[TRAIN], *split[VALIDATION])
    groups = {film.group for film in chosen if found(film.path.name)}
    if not groups:
        raise TrainError(
            f"--leave-out {pattern} finds no film to train on.",
            "Check it against the films' names.",
        )
    kept = {
        name: tuple(film for film in split[name] if film.group not in groups)
        for name in (TRAIN, VALIDATION)
    }
    moved = [film for film in chosen if film.group in groups]
    films = {**split.films, **kept}
    films[LEFT_OUT] = tuple(sorted((*films[LEFT_OUT], *moved), key=_by_path))
    result = Split(films)
    check_split(result)
    return result


def check_split(split: Split) -> None:
    """Raises TrainError: a patient on two sides, or a side that lacks a label or has only one."""
    sides: dict[str, set[str]] = defaultdict(set)
    for name, films in split.films.items():
        for film in films:
            sides[film.group].add(name)
    if torn := sorted(group for group, names in sides.items() if len(names) > 1):
        raise TrainError(
            f"{len(torn)} patients stand on two sides of the split: {', '.join(torn[:10])}.",
            "Put each patient on one side; `python -m train` makes such a split by itself.",
        )
    labels = {film.label for films in split.films.values() for film in films}
    if len(labels) < 2:
        raise TrainError(
            f"The films of the split have only one label: {', '.join(labels) or 'none at all'}.",
            "Training needs films with and without the finding.",
        )
    for name in (TRAIN, VALIDATION, TEST):
        if missing := sorted(labels - {film.label for film in split[name]}):
            raise TrainError(
                f"The {name} films have none labelled {', '.join(missing)}.",
                "Add films of more patients, or change the parts of the split.",
            )


def write_split(split: Split, root: Path, path: Path) -> None:
    """Write one line per film; files are given relative to `root` where they are below it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for name, films in split.films.items():
            for film in films:
                inside = film.path.is_relative_to(root)
                shown = film.path.relative_to(root).as_posix() if inside else str(film.path)
                writer.writerow((name, film.label, film.patient, film.sha256, shown))


def read_split(path: Path, films: Sequence[Film]) -> Split:
    """Read a split and find its films again by their sha256.

    Raises TrainError: a film that is not in the data, or check_split's reasons.
    """
    by_digest = {film.sha256: film for film in films}
    parts: dict[str, list[Film]] = {TRAIN: [], VALIDATION: [], TEST: [], LEFT_OUT: []}
    try:
        # Excel puts a byte order mark in front when it saves a CSV file as UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as exc:
        raise TrainError(f"The split {path} cannot be read ({exc.strerror}).") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise _not_a_split(path) from exc
    if not rows:
        raise _not_a_split(path)
    for row in rows:
        if set(row) != set(_COLUMNS) or row["split"] not in parts:
            raise _not_a_split(path)
        if row["sha256"] not in by_digest:
            raise TrainError(
                f"{row['file']} of the split {path} is not among the data.",
                "Give the same --data as when the split was made.",
            )
        parts[row["split"]].append(by_digest[row["sha256"]])
    split = Split({name: tuple(sorted(part, key=_by_path)) for name, part in parts.items()})
    check_split(split)
    return split


def _not_a_split(path: Path) -> TrainError:
    return TrainError(f"{path} is not a split file.", f"Its columns: {', '.join(_COLUMNS)}.")


def _by_path(film: Film) -> Path:
    return film.path
