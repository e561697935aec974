"""Folders whose names are the labels become a list of films, checked before anything is trained."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_edge.errors import RadiographError
from cxr_edge.radiograph import open_radiograph

from .errors import TrainError

# Folder names that mean "none of the findings", as the public sets write them.
NO_FINDING_NAMES = frozenset({"normal", "no finding", "no_finding", "negative", "healthy"})
NO_FINDING = "no finding"
# Public sets come as train/NORMAL, test/NORMAL ...: the outer folders are no labels.
_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test"})
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm"})
# Kermany et al. 2018 carry the patient in the name: personN_..., IM-N-..., NORMAL2-IM-N-...
KERMANY_PATIENT = r"(person\d+|(?:NORMAL2-)?IM-\d+)"


@dataclass(frozen=True)
class Film:
    """One labelled film. label: a finding, or NO_FINDING; group: never split (see load_films)."""

    path: Path
    label: str
    patient: str
    group: str
    sha256: str


@dataclass(frozen=True)
class FilmSet:
    """The films that may be used, and what was left aside, for the run's record."""

    films: tuple[Film, ...]
    findings: tuple[str, ...]
    duplicates: tuple[Path, ...]
    contradictions: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """sha256 over the sorted digests of the films: the same films, the same digest."""
        return digest_of(self.films)


def digest_of(films: Iterable[Film]) -> str:
    """sha256 over the sorted sha256 of each film and its label."""
    lines = sorted(f"{film.sha256} {film.label}" for film in films)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_films(roots: Sequence[Path], patient_pattern: str = KERMANY_PATIENT) -> FilmSet:
    """List the films below `roots`; each root holds one folder per label.

    Of films with the same bytes one is kept; where their labels differ none is. Patients that
    share a film become one group, so that no split can part them.
    Raises TrainError: a folder that is missing, empty, or not a label; one label only; a film
    without bytes.
    """
    try:
        pattern = re.compile(patient_pattern)
    except re.error as exc:
        raise TrainError(f"The patient pattern is not a regular expression ({exc}).") from exc
    found = [(path, label) for root in roots for path, label in _labelled_files(root)]
    labels = Counter(label for _, label in found)
    if len(labels) < 2:
        raise TrainError(
            f"The data have only one label: {', '.join(labels)}.",
            "Training needs films with and without the finding, each in a folder of its name.",
        )
    by_digest: dict[str, list[Film]] = defaultdict(list)
    unreadable: list[str] = []
    for path, label in found:
        try:
            sha256 = open_radiograph(path).sha256
        except RadiographError as exc:
            unreadable.append(f"{path}: {exc}")
            continue
        match = pattern.match(path.name)
        named = (match[1] if match.groups() else match[0]) if match else ""
        patient = named or path.stem
        by_digest[sha256].append(Film(path, label, patient, patient, sha256))
    raise_unreadable(unreadable)

    group_of = _join_patients(by_digest.values())
    kept, duplicates, contradictions = [], [], []
    for same in by_digest.values():
        if len({film.label for film in same}) > 1:
            contradictions += [film.path for film in same]
            continue
        first = min(same, key=lambda film: film.path)
        kept.append(
            Film(first.path, first.label, first.patient, group_of[first.patient], first.sha256)
        )
        duplicates += [film.path for film in same if film is not first]
    if bare := sorted(labels.keys() - {film.label for film in kept}):
        raise TrainError(
            f"No film is left that is labelled {', '.join(bare)}: each is also there under another "
            "label.",
            "Keep each film in the one folder that is right.",
        )
    findings = tuple(sorted(label for label in labels if label != NO_FINDING))
    return FilmSet(
        tuple(sorted(kept, key=lambda film: film.path)),
        findings,
        tuple(sorted(duplicates)),
        tuple(sorted(contradictions)),
    )


def raise_unreadable(unreadable: Sequence[str]) -> None:
    """Raises TrainError that names the films, if there are any."""
    if unreadable:
        shown = "\n  ".join(unreadable[:20])
        more = f"\n  and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        raise TrainError(
            f"{len(unreadable)} films cannot be used:\n  {shown}{more}\n",
            "Repair them or move them out of the data folder.",
        )


def _labelled_files(root: Path) -> list[tuple[Path, str]]:
    if not root.is_dir():
        raise TrainError(f"There is no folder {root}.", "Check the path given as --data.")
    files = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        films = [
            path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        ]
        if not films:
            raise TrainError(f"The label folder {folder} holds no film.", "Fill it or remove it.")
        name = folder.name.lower()
        if name in _SPLIT_NAMES:
            raise TrainError(
                f"{folder} is named like a part of a split, not like a label.",
                "Give the folders inside the data, train/ and test/, each with its own --data.",
            )
        label = NO_FINDING if name in NO_FINDING_NAMES else name.replace("_", " ")
        files += [(path, label) for path in films]
    if not files:
        raise TrainError(
            f"{root} has no label folders.",
            "Put the films into one folder per label, for example NORMAL/ and PNEUMONIA/.",
        )
    return files


def _join_patients(same_films: Iterable[Sequence[Film]]) -> dict[str, str]:
    """Map each patient to its group: patients that share a film share a group (union-find)."""
    parent: dict[str, str] = {}

    def root_of(patient: str) -> str:
        while parent.setdefault(patient, patient) != patient:
            patient = parent[patient]
        return patient

    for same in same_films:
        roots = sorted({root_of(film.patient) for film in same})
        for root in roots[1:]:
            parent[root] = roots[0]
    return {patient: root_of(patient) for patient in list(parent)}
