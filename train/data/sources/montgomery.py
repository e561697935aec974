"""Montgomery County tuberculosis set (Jaeger 2014; 138 films, 58 with tuberculosis).

MontgomerySet/CXR_png/MCUCXR_0001_0.png, ClinicalReadings/MCUCXR_0001_0.txt, ManualMask/
"""

from pathlib import Path

from ..manifest import Entry
from .nlm import films_of, read_nlm

NAME = "montgomery"
LAYOUT = "CXR_png/MCUCXR_0001_0.png and ClinicalReadings/"
_PREFIX = "MCUCXR"


def recognises(root: Path) -> bool:
    return bool(films_of(root, _PREFIX))


def read(root: Path) -> list[Entry]:
    return read_nlm(root, _PREFIX, NAME)
