"""The films of a manifest become labelled films that may be used, each once, by patient."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_edge.model_card import NO_FINDING

from ..config import OTHERS, Labels
from ..errors import TrainError
from .duplicates import NearDuplicate, Progress, find_near_duplicates, raise_unreadable, same_bytes
from .manifest import LATERAL, Entry

__all__ = [
    "NO_FINDING",
    "Film",
    "FilmSet",
    "digest_of",
    "label_of",
    "load_films",
    "raise_unreadable",
]

BETWEEN = "|"


@dataclass(frozen=True)
class Film:
    """One labelled film.

    label: a finding or NO_FINDING, or several findings with | between them. group: never split; see
    load_films. official: the side that the data set put it on, or "".
    """

    path: Path
    label: str
    patient: str
    group: str
    sha256: str
    source: str = ""
    official: str = ""
    view: str = ""
    age_years: float | None = None
    sex: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Each finding by itself, or NO_FINDING alone."""
        return tuple(self.label.split(BETWEEN))


@dataclass(frozen=True)
class FilmSet:
    """The films that may be used, and what was left aside, for the run's record.

    findings: the network's outputs. duplicates: left aside, for the same bytes are used once.
    contradictions: left aside, for the same bytes have two labels. near_duplicates: used, all of a
    pair on one side of the split; contradicting_pairs are those of them with two labels.
    laterals, ignored: left aside by view and by Labels.ignore.
    """

    films: tuple[Film, ...]
    findings: tuple[str, ...]
    duplicates: tuple[Path, ...] = ()
    contradictions: tuple[Path, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] = ()
    laterals: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over the sorted digests of the films: the same films, the same digest."""
        return digest_of(self.films)

    @property
    def contradicting_pairs(self) -> tuple[NearDuplicate, ...]:
        label = {film.path: film.label for film in self.films}
        return tuple(p for p in self.near_duplicates if label[p.first] != label[p.second])


def digest_of(films: Iterable[Film]) -> str:
    """sha256 over the sorted sha256 of each film and its label."""
    lines = sorted(f"{film.sha256} {film.label}" for film in films)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_films(
    entries: Sequence[Entry], labels: Labels, progress: Progress | None = None
) -> FilmSet:
    """Label the films, use each once, and join the patients that must not be parted.

    Of films with the same bytes one is kept; where their labels differ none is. Patients that
    share a film, to the byte or as a near-duplicate (see find_near_duplicates), become one group,
    so that no split can part them. Lateral films are left aside.
    Raises TrainError: a finding that the labels do not know; one that no film has; one label only;
    films that cannot be read.
    """
    frontal = [entry for entry in entries if entry.view != LATERAL]
    named = {entry.path: label_of(entry, labels) for entry in frontal}
    used = {entry.path: entry for entry in frontal if named[entry.path]}
    _raise_unknown(used.values(), labels)
    outputs = _outputs(set(named.values()), labels)

    same_films = same_bytes(list(used))
    kept: dict[str, Path] = {}
    duplicates: list[Path] = []
    contradictions: list[Path] = []
    for sha256, same in same_films.items():
        if len({named[path] for path in same}) > 1:
            contradictions += same
        else:
            kept[sha256] = same[0]
            duplicates += same[1:]
    _raise_bare(set(named.values()), {named[path] for path in kept.values()})
    near = find_near_duplicates(sorted(kept.values()), progress)

    pairs = [(pair.first, pair.second) for pair in near]
    group_of = _join_patients(used, [*same_films.values(), *pairs])
    films = [
        _film(used[path], named[path], group_of, sha256, [used[p] for p in same_films[sha256]])
        for sha256, path in kept.items()
    ]
    return FilmSet(
        tuple(sorted(films, key=lambda film: film.path)),
        outputs,
        tuple(sorted(duplicates)),
        tuple(sorted(contradictions)),
        tuple(near),
        tuple(sorted(entry.path for entry in entries if entry.view == LATERAL)),
        tuple(sorted(path for path, label in named.items() if not label)),
    )


def label_of(entry: Entry, labels: Labels) -> str:
    """The film's label; "" where the labels ignore all that it has.

    Of several findings those that are ignored do not count, and "no finding" does not beside
    another. Where findings exclude each other the first of labels.findings counts.
    """
    names = [name for name in entry.findings or (NO_FINDING,) if name not in labels.ignore]
    renamed = dict.fromkeys(_rename(labels)(name) for name in names)
    found = [name for name in renamed if name not in labels.ignore and name != NO_FINDING]
    if not found:
        return NO_FINDING if NO_FINDING in renamed else ""
    if labels.exclusive:
        known = [name for name in labels.findings if name in found]
        return (known or sorted(found))[0]
    return BETWEEN.join(sorted(found))


def _rename(labels: Labels) -> Callable[[str], str]:
    named = {*labels.rename, *labels.findings, NO_FINDING}
    others = labels.rename.get(OTHERS)
    return lambda name: (
        others if others is not None and name not in named else labels.rename.get(name, name)
    )


def _raise_unknown(used: Iterable[Entry], labels: Labels) -> None:
    if not labels.findings:
        return
    known = {*labels.findings, *labels.ignore, NO_FINDING}
    rename = _rename(labels)
    unknown = Counter(
        name
        for entry in used
        for name in entry.findings
        if name not in labels.ignore and rename(name) not in known
    )
    if unknown:
        named = ", ".join(f"{name} ({n} films)" for name, n in sorted(unknown.items()))
        raise TrainError(
            f"The data have findings that labels.findings does not name: {named}.",
            'Name them there, or give them another name in labels.rename ("*" takes all the '
            "others), or leave their films aside with labels.ignore.",
        )


def _outputs(labels_found: set[str], labels: Labels) -> tuple[str, ...]:
    """The network's outputs in order, each with a film at least."""
    names = _names(labels_found)
    if len(names) < 2:
        raise TrainError(
            f"The data have only one label: {', '.join(names) or 'none at all'}.",
            "Training needs films with and without the finding.",
        )
    outputs = labels.findings or tuple(sorted(names - {NO_FINDING}))
    if labels.exclusive and NO_FINDING not in outputs:
        outputs = (NO_FINDING, *outputs)
    if absent := [name for name in outputs if name not in names]:
        raise TrainError(
            f"No film is labelled {', '.join(absent)}.",
            f"The data have {', '.join(sorted(names))}: correct labels.findings or labels.rename.",
        )
    return outputs


def _raise_bare(before: set[str], after: set[str]) -> None:
    if bare := sorted(_names(before) - _names(after)):
        raise TrainError(
            f"No film is left that is labelled {', '.join(bare)}: each is also there under another "
            "label.",
            "Keep each film under the one label that is right.",
        )


def _names(labels: Iterable[str]) -> set[str]:
    return {name for label in labels for name in label.split(BETWEEN) if name}


_Patient = tuple[str, str]  # source and patient


def _key(entry: Entry) -> _Patient:
    return entry.source, entry.patient


def _film(
    entry: Entry, label: str, group_of: Mapping[_Patient, str], sha256: str, same: Sequence[Entry]
) -> Film:
    # A copy among the test films makes this one a test film too.
    sides = {one.split for one in same}
    official = next((side for side in ("test", "validation", "train") if side in sides), "")
    return Film(
        entry.path,
        label,
        entry.patient,
        group_of[_key(entry)],
        sha256,
        entry.source,
        official,
        entry.view,
        entry.age_years,
        entry.sex,
    )


def _join_patients(
    entries: Mapping[Path, Entry], same_films: Iterable[Sequence[Path]]
) -> dict[_Patient, str]:
    """Map each patient to its group: patients that share a film share a group (union-find)."""
    parent: dict[_Patient, _Patient] = {}

    def root_of(patient: _Patient) -> _Patient:
        while parent.setdefault(patient, patient) != patient:
            patient = parent[patient]
        return patient

    for same in same_films:
        roots = sorted({root_of(_key(entries[path])) for path in same})
        for root in roots[1:]:
            parent[root] = roots[0]
    return {patient: "/".join(root_of(patient)) for patient in list(parent)}
