"""What the two tuberculosis sets of the US National Library of Medicine have in common.

Jaeger et al. 2014, "Two public chest X-ray datasets for computer-aided screening of pulmonary
diseases": CXR_png/NAME_0001_1.png, where the last digit 1 is tuberculosis, and the radiologist's
reading in ClinicalReadings/NAME_0001_1.txt. All films are PA.
"""

import re
from pathlib import Path

from ..manifest import PA, Entry
from .listing import age_of, films_in, sex_of

_AGE = re.compile(r"\d+\s*(?:y|m|w|d)", re.IGNORECASE)
_SAME_PATIENT = re.compile(r"same\s+p(?:atien)?t\.?\s+as\s+(\w+)", re.IGNORECASE)


def films_of(root: Path, prefix: str) -> list[Path]:
    """The films of the set whose file names start with `prefix`."""
    folder = root / "CXR_png" if (root / "CXR_png").is_dir() else root
    return [path for path in films_in(folder) if re.fullmatch(rf"{prefix}_\d+_[01]", path.stem)]


def read_nlm(root: Path, prefix: str, source: str) -> list[Entry]:
    films = films_of(root, prefix)
    readings = {path.stem: _reading(path) for path in films}
    return [
        Entry(
            path,
            ("tuberculosis",) if path.stem.endswith("_1") else (),
            _patient(path.stem, readings),
            source,
            PA,
            _age(readings[path.stem]),
            sex=sex_of(_head(readings[path.stem])),
        )
        for path in films
    ]


def _reading(film: Path) -> str:
    for folder in (film.parent.parent / "ClinicalReadings", film.parent):
        path = folder / f"{film.stem}.txt"
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _age(reading: str) -> float | None:
    """From "male 45yrs" or "Patient's Age: 027Y"; a number without a unit is something else."""
    match = _AGE.search(_head(reading))
    return age_of(match[0]) if match else None


def _head(reading: str) -> str:
    """The lines about the patient; below stands what was seen, with numbers of its own."""
    return " ".join(reading.splitlines()[:2])


def _patient(stem: str, readings: dict[str, str]) -> str:
    """The film's own name, or the film's of which its reading says "same pt as ..."."""
    passed = {stem}
    while (same := _SAME_PATIENT.search(readings.get(stem, ""))) and same[1] not in passed:
        stem = same[1]
        passed.add(stem)
    return stem
