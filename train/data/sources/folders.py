"""Any folder of label folders, as most small sets come and as one's own films are soon put.

films/{NORMAL,PNEUMONIA}/...    or    films/{train,val,test}/{NORMAL,PNEUMONIA}/...
"""

import re
from pathlib import Path

from ...errors import TrainError
from ..manifest import NO_FINDING_NAMES, Entry
from .listing import SIDE_NAMES, films_below, folders_in, sides_of

NAME = "folders"
LAYOUT = "one folder per label, for example NORMAL/ and PNEUMONIA/"
_NAMES = {
    "covid": "COVID-19",
    "covid19": "COVID-19",
    "covid-19": "COVID-19",
    "tb": "tuberculosis",
}


def recognises(root: Path) -> bool:
    return any(films_below(folder) for folder in folders_in(root))


def read(root: Path, patient_pattern: str = "") -> list[Entry]:
    """The folder is the label, and the root's name the source.

    patient_pattern: finds the patient at the start of a file name (its first group, or all of it);
    a film where it finds nothing stands for itself, and so do all films without it.
    Raises TrainError: no label folders, one without a film or named like a side of a split; a
    pattern that is no regular expression.
    """
    try:
        pattern = re.compile(patient_pattern)
    except re.error as exc:
        raise TrainError(f"The patient pattern is not a regular expression ({exc}).") from exc
    outer = root.absolute()
    # films/train and films/test, given one by one, are one source.
    source = outer.parent.name if outer.name.lower() in SIDE_NAMES else outer.name
    return [
        Entry(
            path,
            _findings(label),
            _patient(path, pattern) or path.relative_to(root).with_suffix("").as_posix(),
            source or NAME,
            split=side,
        )
        for folder, side in sides_of(root)
        for label in _labels_in(folder)
        for path in _films_of(label)
    ]


def _labels_in(folder: Path) -> list[Path]:
    labels = folders_in(folder)
    if not labels:
        raise TrainError(
            f"{folder} has no label folders.",
            "Put the films into one folder per label, for example NORMAL/ and PNEUMONIA/.",
        )
    for label in labels:
        if label.name.lower() in SIDE_NAMES:
            raise TrainError(
                f"{label} is named like a side of a split, not like a label.",
                "Let all folders beside it be sides, train/ val/ test/, or all of them labels.",
            )
    return labels


def _films_of(label: Path) -> list[Path]:
    films = films_below(label)
    if not films:
        raise TrainError(f"The label folder {label} holds no film.", "Fill it or remove it.")
    return films


def _findings(label: Path) -> tuple[str, ...]:
    name = label.name.lower()
    if name in NO_FINDING_NAMES:
        return ()
    return (_NAMES.get(name, name.replace("_", " ")),)


def _patient(path: Path, pattern: re.Pattern[str]) -> str:
    match = pattern.match(path.name)
    return ((match[1] if match.groups() else match[0]) or "") if match else ""
