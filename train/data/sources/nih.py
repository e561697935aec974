"""NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315), whole or its sample of 5,606 films.

    Data_Entry_2017.csv, Data_Entry_2017_v2020.csv or sample_labels.csv
    images/00000001_000.png, or images_001/images/00000001_000.png ... images_012/
    train_val_list.txt, test_list.txt    the official split, by patient

The labels were mined from the reports. Films that are listed and not there are passed over: the set
comes in twelve archives, of which one may have only some.
"""

from pathlib import Path

from ...errors import TrainError
from ..manifest import Entry
from .listing import age_of, films_below, read_table, sex_of, view_of

NAME = "nih"
LAYOUT = "Data_Entry_2017.csv or sample_labels.csv, and images/"
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def recognises(root: Path) -> bool:
    return any((root / name).is_file() for name in _TABLES)


def read(root: Path) -> list[Entry]:
    """Raises TrainError: no table, a column that is missing, no film of the table."""
    found = [root / name for name in _TABLES if (root / name).is_file()]
    if not found:
        raise TrainError(f"{root} holds none of {', '.join(_TABLES)}.", "Put it there.")
    sides = {
        name: side
        for file, side in _LISTS.items()
        if (root / file).is_file()
        for name in (root / file).read_text(encoding="utf-8").split()
    }
    # The sample's archive holds its films twice, in folders inside each other; one copy is taken.
    films = {path.name: path for path in reversed(films_below(root))}
    entries = []
    for row in read_table(found[0]):
        if lacking := [name for name in _COLUMNS if name not in row]:
            raise TrainError(f"{found[0]} has a line without {', '.join(lacking)}.")
        if row["Image Index"] in films:
            entries.append(_entry(row, films[row["Image Index"]], sides))
    if not entries:
        raise TrainError(
            f"No film that {found[0]} lists is there.", "Unpack the films beside it, into images/."
        )
    return entries


def _entry(row: dict[str, str], path: Path, sides: dict[str, str]) -> Entry:
    names = [name.strip().lower().replace("_", " ") for name in row["Finding Labels"].split("|")]
    return Entry(
        path,
        tuple(name for name in names if name != "no finding"),
        row["Patient ID"],
        NAME,
        view_of(row["View Position"]),
        age_of(row["Patient Age"]),
        sides.get(path.name, ""),
        sex_of(row.get("Patient Gender", "")),
    )
