"""COVID-19 Radiography Database (Chowdhury 2020, Rahman 2021).

    COVID-19_Radiography_Dataset/{COVID,Lung_Opacity,Normal,Viral Pneumonia}/images/COVID-1.png

with lung masks in masks/ beside images/; the films lie in the label's folder itself in older
versions. It is a collection of other sets: all of Viral Pneumonia and 1,341 of Normal are Kermany's
children, the other 8,851 of Normal and all of Lung_Opacity the adults of RSNA. The source within
predicts the label, and no patient, age or view is stated.
"""

import re
from pathlib import Path

from ..manifest import Entry
from .listing import films_in, folders_in

NAME = "covid-radiography"
LAYOUT = "COVID/, Normal/, Lung_Opacity/, Viral Pneumonia/, each with images/"
_FINDINGS: dict[str, tuple[str, ...]] = {
    "covid": ("COVID-19",),
    "covid-19": ("COVID-19",),
    "lung_opacity": ("lung opacity",),
    "normal": (),
    "viral pneumonia": ("viral pneumonia",),
}
_COVID_NAME = re.compile(r"COVID(-19)?[ -]\(?\d+", re.IGNORECASE)


def recognises(root: Path) -> bool:
    labels = {path.name.lower(): path for path in folders_in(root)}
    covid = labels.get("covid") or labels.get("covid-19")
    if covid is None or len(labels) < 2 or not labels.keys() <= _FINDINGS.keys():
        return False
    films = films_in(_images(covid))
    return bool(films) and all(_COVID_NAME.match(film.name) for film in films)


def read(root: Path) -> list[Entry]:
    return [
        Entry(path, _FINDINGS[label.name.lower()], path.stem, NAME)
        for label in folders_in(root)
        if label.name.lower() in _FINDINGS
        for path in films_in(_images(label))
    ]


def _images(label: Path) -> Path:
    return label / "images" if (label / "images").is_dir() else label
