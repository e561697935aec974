"""The split: which film trains, which chooses, which is reported once. Grouped by patient."""

import csv
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..config import SplitRule, Subset
from ..errors import TrainError
from .films import Film

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left out"
_COLUMNS = ("split", "label", "patient", "source", "sha256", "file")
_Group = tuple[Film, ...]


@dataclass(frozen=True)
class Split:
    """Films by split name: TRAIN, VALIDATION, TEST, and LEFT_OUT for a source kept away.

    torn: groups that the official sides had parted, and that were put on one side; see make_split.
    """

    films: dict[str, tuple[Film, ...]]
    torn: tuple[str, ...] = field(default=(), compare=False)

    def __getitem__(self, name: str) -> tuple[Film, ...]:
        return self.films[name]


def make_split(films: Sequence[Film], rule: SplitRule, seed: int) -> Split:
    """Deal whole patient groups out, each source and label in the same parts.

    With rule.official a film stays on the side that its data set gave it: no train film goes to the
    test side where its source has one, and official validation films are filled up to their part
    from the train films. A group with films on two official sides goes to TEST as a whole where any
    of it is test, else to VALIDATION.
    Raises TrainError: a split would lack a label.
    """
    official: dict[str, set[str]] = defaultdict(set)  # sides by source
    if rule.official:
        for film in films:
            official[film.source] |= {film.official} - {""}
    parts: dict[str, list[Film]] = {TRAIN: [], VALIDATION: [], TEST: [], LEFT_OUT: []}
    torn = []
    # Sources without official sides are dealt together, those with them each by itself.
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    free = []
    for (label, source), group in _strata(films, seed):
        key = (label, source if official[source] else "")
        sides = {film.official for film in group if rule.official} - {""}
        if len(sides) > 1:
            torn.append(group[0].group)
        side = TEST if TEST in sides else VALIDATION if VALIDATION in sides else ""
        if side:
            parts[side] += group
            counts[key] += Counter({side: len(group), "": len(group)})
        else:
            free.append((key, group))
    for key, group in free:
        count = counts[key]
        count[""] += len(group)  # films seen so far
        bound = any(film.official == TRAIN and TEST in official[film.source] for film in group)
        if not bound and _short(count[TEST], rule.test, count[""]):
            side = TEST
        elif _short(count[VALIDATION], rule.validation, count[""]):
            side = VALIDATION
        else:
            side = TRAIN
        parts[side] += group
        count[side] += len(group)
    split = Split(_sorted(parts), tuple(sorted(torn)))
    check_split(split)
    return split


def subset(films: Sequence[Film], rule: Subset, seed: int) -> tuple[Film, ...]:
    """A random part of the films in whole patient groups, each source and label in the same part.

    rule.part is taken of each label; then, with rule.films, so many films in all, of each label the
    same number as far as it has so many.
    """
    chosen = _take(films, seed, lambda _: rule.part) if rule.part < 1 else list(films)
    if rule.films:
        of_label = Counter[str]()
        for (label, _), group in _strata(chosen, seed):
            of_label[label] += len(group)
        wanted = _balanced(of_label, rule.films)
        chosen = _take(chosen, seed, lambda label: wanted[label] / of_label[label])
    return tuple(sorted(chosen, key=_by_path))


def leave_out(split: Split, pattern: str) -> Split:
    """Keep films from training and from choosing: their patients go from TRAIN and VALIDATION to
    LEFT_OUT. TEST stays as it is, so that a run with the same split, left whole, and choices made
    on LEFT_OUT for it, never see the same test patients.

    pattern: a regular expression; it takes every patient with a film whose name it finds.
    Raises TrainError: it is no regular expression, finds nothing, or leaves a side without a label.
    """
    try:
        found = re.compile(pattern).search
    except re.error as exc:
        raise TrainError(f"--leave-out is not a regular expression ({exc}).") from exc
    groups = {film.group for film in _trained_on(split) if found(film.path.name)}
    if not groups:
        raise TrainError(
            f"--leave-out {pattern} finds no film to train on.",
            "Check it against the films' names.",
        )
    return _without(split, groups)


def leave_out_source(split: Split, name: str) -> Split:
    """Keep a source from training and from choosing, as leave_out does; its test films stay.

    Groups that share a film with another source go as a whole.
    Raises TrainError: there is no such source, no other has one of its labels, or a side is left
    without a label.
    """
    groups = {film.group for film in _trained_on(split) if film.source == name}
    if not groups:
        sources = sorted({film.source for film in _trained_on(split)})
        raise TrainError(
            f"--leave-source-out {name}: no film to train on is of that source.",
            f"The sources are {', '.join(sources)}.",
        )
    labels = {label for film in _trained_on(split) for label in film.labels}
    others = [film for film in _trained_on(split) if film.group not in groups]
    if alone := sorted(labels - {label for film in others for label in film.labels}):
        raise TrainError(
            f"--leave-source-out {name}: no other source has films labelled {', '.join(alone)}.",
            "Leave out another source, or let labels.rename bring findings of several together.",
        )
    return _without(split, groups)


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
    labels = {label for films in split.films.values() for film in films for label in film.labels}
    if len(labels) < 2:
        raise TrainError(
            f"The films of the split have only one label: {', '.join(labels) or 'none at all'}.",
            "Training needs films with and without the finding.",
        )
    for name in (TRAIN, VALIDATION, TEST):
        if missing := sorted(labels - {label for film in split[name] for label in film.labels}):
            raise TrainError(
                f"The {name} films have none labelled {', '.join(missing)}.",
                "Add films of more patients, or change the parts of the split.",
            )


def write_split(split: Split, path: Path) -> None:
    """Write one line per film; files are given relative to the folder that holds them all."""
    films = [(name, film) for name, part in split.films.items() for film in part]
    root = _common_folder([film.path for _, film in films])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for name, film in films:
            absolute = film.path.absolute()
            shown = absolute.relative_to(root).as_posix() if root else str(absolute)
            writer.writerow((name, film.label, film.patient, film.source, film.sha256, shown))


def read_split(path: Path, films: Sequence[Film]) -> Split:
    """Read a split and find its films again by their sha256; their labels are those of `films`.

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
    if any(set(row) != set(_COLUMNS) or row["split"] not in parts for row in rows):
        raise _not_a_split(path)
    if gone := [row["file"] for row in rows if row["sha256"] not in by_digest]:
        raise TrainError(
            f"The data lack {len(gone)} films of the split {path}; the first is {gone[0]}.",
            "Give the same data as when the split was made.",
        )
    for row in rows:
        parts[row["split"]].append(by_digest[row["sha256"]])
    split = Split(_sorted(parts))
    check_split(split)
    return split


def _strata(films: Sequence[Film], seed: int) -> Iterator[tuple[tuple[str, str], _Group]]:
    """The groups with the label and source they are dealt by, in random order within each.

    Of a film's findings the rarest counts, of a group's films the most frequent.
    """
    n_films = Counter(label for film in films for label in film.labels)
    groups: dict[str, list[Film]] = defaultdict(list)
    for film in films:
        groups[film.group].append(film)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, group in groups.items():
        keys = Counter(
            (min(film.labels, key=lambda label: (n_films[label], label)), film.source)
            for film in group
        )
        # Of labels that are equally frequent the first by name, whatever the films' order.
        strata[min(keys, key=lambda key: (-keys[key], key))].append(name)
    rng = random.Random(seed)
    for key in sorted(strata):
        names = sorted(strata[key])
        rng.shuffle(names)
        for name in names:
            yield key, tuple(groups[name])


def _short(n_dealt: int, part: float, n_seen: int) -> bool:
    """Whether a side has less than its part of the films that were dealt so far."""
    return n_dealt < part * n_seen - 1e-9


def _take(films: Sequence[Film], seed: int, part_of: Callable[[str], float]) -> list[Film]:
    taken: list[Film] = []
    n_taken, n_seen = Counter[str](), Counter[str]()
    for (label, _), group in _strata(films, seed):
        n_seen[label] += len(group)
        if _short(n_taken[label], part_of(label), n_seen[label]):
            taken += group
            n_taken[label] += len(group)
    return taken


def _balanced(n_films: Counter[str], total: int) -> dict[str, int]:
    """How many of each label: the same number, and where one has fewer the others have more."""
    wanted = {}
    ascending = sorted(n_films, key=lambda label: (n_films[label], label))
    for i, label in enumerate(ascending):
        wanted[label] = min(n_films[label], total // (len(ascending) - i))
        total -= wanted[label]
    return wanted


def _trained_on(split: Split) -> tuple[Film, ...]:
    return (*split[TRAIN], *split[VALIDATION])


def _without(split: Split, groups: Collection[str]) -> Split:
    kept = {
        name: [film for film in split[name] if film.group not in groups]
        for name in (TRAIN, VALIDATION)
    }
    moved = [film for film in _trained_on(split) if film.group in groups]
    parts = {**split.films, **kept, LEFT_OUT: [*split[LEFT_OUT], *moved]}
    result = Split(_sorted(parts), split.torn)
    check_split(result)
    return result


def _sorted(parts: dict[str, Sequence[Film]] | dict[str, list[Film]]) -> dict[str, _Group]:
    return {name: tuple(sorted(part, key=_by_path)) for name, part in parts.items()}


def _common_folder(paths: Sequence[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([path.absolute().parent for path in paths]))
    except ValueError:  # on two drives of Windows
        return None


def _not_a_split(path: Path) -> TrainError:
    return TrainError(f"{path} is not a split file.", f"Its columns: {', '.join(_COLUMNS)}.")


def _by_path(film: Film) -> Path:
    return film.path
