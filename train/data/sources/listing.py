"""What the readers of the public sets share: which files are films, sides, patients, tables."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import TrainError
from ..manifest import AP, LATERAL, MAX_AGE_YEARS, PA

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm"})
# How the folders of a published split are named, and the side each is.
SIDE_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_YEARS_PER = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}


def folders_in(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted, without hidden ones and what a Mac adds to archives."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    )


def is_film(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def films_in(folder: Path) -> list[Path]:
    """The films that lie in `folder` itself, sorted."""
    return sorted(path for path in folder.iterdir() if is_film(path))


def films_below(folder: Path) -> list[Path]:
    """The films anywhere below `folder`, sorted."""
    return sorted(
        path for path in folder.rglob("*") if is_film(path) and "__MACOSX" not in path.parts
    )


def sides_of(root: Path) -> list[tuple[Path, str]]:
    """The folders of a published split and their sides, or the root alone with its own side.

    A folder inside with the root's own name is passed over: Kaggle's chest_xray/ holds all its
    sides a second time in chest_xray/chest_xray/.
    """
    folders = [folder for folder in folders_in(root) if folder.name != root.absolute().name]
    if folders and all(folder.name.lower() in SIDE_NAMES for folder in folders):
        return [(folder, SIDE_NAMES[folder.name.lower()]) for folder in folders]
    return [(root, SIDE_NAMES.get(root.absolute().name.lower(), ""))]


def age_of(text: str) -> float | None:
    """Years from "58", "058Y", "45yrs", "16month" or "64days"; None where no age is stated.

    An age above 120 is a slip of the data set (NIH has some of more than 400) and is not taken.
    """
    match = re.search(r"(\d+(?:\.\d+)?)\s*([ymwd]?)", text.lower())
    if not match:
        return None
    years = float(match[1]) * _YEARS_PER[match[2] or "y"]
    return round(years, 2) if years <= MAX_AGE_YEARS else None


def view_of(text: str) -> str:
    """PA, AP (lying or sitting too) or lateral; "" where it is none of them."""
    words = text.strip().upper().split()
    if not words:
        return ""
    return {"PA": PA, "AP": AP, "L": LATERAL, "LL": LATERAL, "LATERAL": LATERAL}.get(words[0], "")


def sex_of(text: str) -> str:
    """F or M from "F", "Female", "male 45yrs" or "Patient's Sex: F"; "" where none is stated."""
    match = re.search(r"\b(f|female|m|male)\b", text.lower())
    return match[1][0].upper() if match else ""


def header_of(path: Path) -> tuple[str, ...]:
    """The column names of a table; () where there is none."""
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        line = file.readline(10_000).decode("utf-8-sig", "replace")
    return tuple(name.strip() for name in next(csv.reader([line]), []))


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The lines of a data set's table by column, stripped; UTF-8, or else Latin-1.

    Raises TrainError: it cannot be read.
    """
    try:
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            # Cells beyond the header are left: NIH ends each line with a comma.
            yield dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except OSError as exc:
        raise TrainError(f"{path} cannot be read ({exc.strerror}).") from exc
    except csv.Error as exc:
        raise TrainError(f"{path} is not a CSV file ({exc}).") from exc


def raise_missing(missing: list[str], table: Path) -> None:
    """Raises TrainError that names the films of a table that are not there, if there are any."""
    if missing:
        more = f"\n  and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise TrainError(
            f"{len(missing)} films of {table} are not there:\n  "
            + "\n  ".join(missing[:20])
            + f"{more}\n",
            "Download them, or take their lines out of the table.",
        )
