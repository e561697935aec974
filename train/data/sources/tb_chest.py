"""TB Chest Radiography Database (Rahman 2020; the films with tuberculosis mostly from NIAID).

    TB_Chest_Radiography_Database/{Normal,Tuberculosis}/Tuberculosis-1.png

It gathers several sets; Shenzhen and Montgomery are among them, and no patient, age or view is
stated.
"""

import re
from pathlib import Path

from ..manifest import Entry
from .listing import films_in, folders_in

NAME = "tb-chest"
LAYOUT = "Normal/ and Tuberculosis/ with Tuberculosis-1.png ..."
_FINDINGS: dict[str, tuple[str, ...]] = {"normal": (), "tuberculosis": ("tuberculosis",)}
_NAME = re.compile(r"(Normal|Tuberculosis)-\d+", re.IGNORECASE)


def recognises(root: Path) -> bool:
    labels = {path.name.lower(): path for path in folders_in(root)}
    if labels.keys() != _FINDINGS.keys():
        return False
    films = films_in(labels["tuberculosis"])
    return bool(films) and all(_NAME.match(film.name) for film in films)


def read(root: Path) -> list[Entry]:
    return [
        Entry(path, _FINDINGS[label.name.lower()], path.stem, NAME)
        for label in folders_in(root)
        if label.name.lower() in _FINDINGS
        for path in films_in(label)
    ]
