"""Shenzhen tuberculosis set (Jaeger 2014; 662 films, 336 with tuberculosis).

ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png, ClinicalReadings/CHNCXR_0001_0.txt
"""

from pathlib import Path

from ..manifest import Entry
from .nlm import films_of, read_nlm

NAME = "shenzhen"
LAYOUT = "CXR_png/CHNCXR_0001_0.png and ClinicalReadings/"
_PREFIX = "CHNCXR"


def recognises(root: Path) -> bool:
    return bool(films_of(root, _PREFIX))


def read(root: Path) -> list[Entry]:
    return read_nlm(root, _PREFIX, NAME)
