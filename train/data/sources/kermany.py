"""Kermany, Zhang, Goldbaum 2018 (Mendeley Data rscbjbr9sj): children of 1 to 5 years, Guangzhou.

    chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/person1_bacteria_2.jpeg, IM-0115-0001.jpeg ...

or one of the three folders alone. No age or view is stated per film.
"""

import re
from pathlib import Path

from ..manifest import Entry
from .listing import films_below, folders_in, sides_of

NAME = "kermany"
LAYOUT = "{train,val,test}/{NORMAL,PNEUMONIA}/, or NORMAL/ and PNEUMONIA/ alone"
# The patient is in the name: personN_..., IM-N-..., NORMAL2-IM-N-...
PATIENT = r"(person\d+|(?:NORMAL2-)?IM-\d+)"
_LABELS = frozenset({"NORMAL", "PNEUMONIA"})
_FINDINGS = {"bacteria": "bacterial pneumonia", "virus": "viral pneumonia"}
_PNEUMONIA_NAME = re.compile(r"person\d+_(bacteria|virus)_\d+", re.IGNORECASE)


def recognises(root: Path) -> bool:
    for folder, _ in sides_of(root):
        labels = {path.name.upper(): path for path in folders_in(folder)}
        if labels.keys() != _LABELS:
            return False
        films = films_below(labels["PNEUMONIA"])
        if not films or not all(_PNEUMONIA_NAME.match(film.name) for film in films):
            return False
    return True


def read(root: Path) -> list[Entry]:
    return [
        Entry(path, _findings(path, label), _patient(path, side), NAME, split=side)
        for folder, side in sides_of(root)
        for label in folders_in(folder)
        if label.name.upper() in _LABELS
        for path in films_below(label)
    ]


def _findings(path: Path, label: Path) -> tuple[str, ...]:
    if label.name.upper() == "NORMAL":
        return ()
    named = _PNEUMONIA_NAME.match(path.name)
    return (_FINDINGS[named[1].lower()] if named else "pneumonia",)


def _patient(path: Path, side: str) -> str:
    named = re.match(PATIENT, path.name)
    patient = named[1] if named else path.stem
    # The official test films number their patients anew: person1 there is another child than
    # person1 of the train films. The few of val are taken from the train films, with their numbers.
    return f"test {patient}" if side == "test" else patient
