"""The manifest: one line per film, whatever data set it came from, as a CSV to read and edit."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxr_edge.model_card import NO_FINDING

from ..errors import TrainError

COLUMNS = ("path", "finding", "patient", "source", "view", "age", "split")
SEX = "sex"  # a column more, which a manifest may have
SIDES = ("train", "validation", "test")
PA, AP, LATERAL = "PA", "AP", "lateral"
SEXES = ("F", "M")
MAX_AGE_YEARS = 120.0
# Names that mean "none of the findings", as the public sets write them.
NO_FINDING_NAMES = frozenset({"normal", "no finding", "no_finding", "negative", "healthy"})
_BETWEEN = "|"
_N_SHOWN = 20


@dataclass(frozen=True)
class Entry:
    """One film as its data set describes it.

    findings: () is "no finding". patient: unique within its source. view: PA, AP, lateral or "".
    split: the side that the data set itself put the film on (train, validation, test), or "".
    sex: F, M or "".
    """

    path: Path
    findings: tuple[str, ...]
    patient: str
    source: str
    view: str = ""
    age_years: float | None = None
    split: str = ""
    sex: str = ""


def read_manifest(path: Path) -> tuple[Entry, ...]:
    """Read a manifest, as write_manifest or a spreadsheet program wrote it.

    A byte order mark and semicolons between the columns are taken, for Excel writes both. Paths are
    relative to the manifest's folder. A film without a patient stands for itself.
    Raises TrainError: unknown or missing columns, a line that is not right, a film listed twice or
    not there.
    """
    entries: list[Entry] = []
    for line, cells in _read_lines(path):
        try:
            entries.append(_entry(cells, path.parent))
        except ValueError as exc:
            raise TrainError(f"Line {line} of {path}: {exc}.", "Correct it there.") from exc
    if not entries:
        raise TrainError(f"{path} lists no film.", "Write one line per film below the header.")
    if twice := [str(p) for p, n in Counter(e.path for e in entries).items() if n > 1]:
        raise TrainError(
            f"{path} lists {len(twice)} films more than once: {_listed(twice)}",
            "Keep one line per film; several findings go into one cell, with | between them.",
        )
    if missing := [str(entry.path) for entry in entries if not entry.path.is_file()]:
        raise TrainError(
            f"{len(missing)} films of {path} are not there: {_listed(missing)}",
            f"Paths are taken from the manifest's folder, {path.parent}, on.",
        )
    return _with_patients(entries, path.parent)


def write_manifest(entries: Sequence[Entry], path: Path) -> None:
    """Write one line per film; paths are relative where they lie below the manifest's folder, and
    there is a column for the sex where it is known of any.

    Raises TrainError: the file cannot be written.
    """
    folder = path.absolute().parent
    has_sex = any(entry.sex for entry in entries)
    try:
        # With a byte order mark, else Excel takes the letters of a path for another alphabet's.
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow((*COLUMNS, SEX) if has_sex else COLUMNS)
            for entry in entries:
                age = "" if entry.age_years is None else f"{entry.age_years:g}"
                findings = _BETWEEN.join(entry.findings) or NO_FINDING
                shown = _below(entry.path.absolute(), folder)
                cells = [shown, findings, entry.patient, entry.source, entry.view, age, entry.split]
                writer.writerow([*cells, entry.sex] if has_sex else cells)
    except OSError as exc:
        raise TrainError(f"The manifest {path} cannot be written ({exc.strerror}).") from exc


def _read_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines' numbers and cells by column, each with the manifest's columns and no others."""
    lines: list[tuple[int, dict[str, str]]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=";" if first.count(";") > first.count(",") else ",")
            header = tuple(cell.strip() for cell in next(reader, []))
            _check_header(header, path)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue  # spreadsheets leave empty lines behind
                if len(cells) != len(header):
                    raise TrainError(
                        f"Line {reader.line_num} of {path} has {len(cells)} cells, not "
                        f"{len(header)}.",
                        'Write "..." around a cell that has the separator in it.',
                    )
                stripped = (cell.strip() for cell in cells)
                lines.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except OSError as exc:
        raise TrainError(f"The manifest {path} cannot be read ({exc.strerror}).") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise TrainError(
            f"{path} is not a CSV file in UTF-8.", "In Excel save it as 'CSV UTF-8'."
        ) from exc
    return lines


def _check_header(header: tuple[str, ...], path: Path) -> None:
    unknown = [name or "(no name)" for name in header if name not in (*COLUMNS, SEX)]
    missing = [name for name in COLUMNS if name not in header]
    if unknown or missing or len(header) != len(set(header)):
        faults = [f"unknown {', '.join(unknown)}"] if unknown else []
        faults += [f"without {', '.join(missing)}"] if missing else []
        raise TrainError(
            f"{path} has not a manifest's columns ({'; '.join(faults) or 'one is there twice'}).",
            f"They are {','.join(COLUMNS)}, and {SEX} where it is known.",
        )


def _entry(cells: dict[str, str], folder: Path) -> Entry:
    """Raises ValueError that says what is wrong with the line."""
    for name in ("path", "finding", "source"):
        if not cells[name]:
            raise ValueError(f"the {name} is empty")
    split = cells["split"].lower()
    if split not in ("", *SIDES):
        raise ValueError(f"the split is {cells['split']!r}; it can be {', '.join(SIDES)} or empty")
    return Entry(
        path=folder / cells["path"],
        findings=_findings(cells["finding"]),
        patient=cells["patient"],
        source=cells["source"],
        view=_view(cells["view"]),
        age_years=_age(cells["age"]),
        split=split,
        sex=_sex(cells.get(SEX, "")),
    )


def _findings(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(_BETWEEN)]
    if "" in names:
        raise ValueError(f"the finding {text!r} has an empty part")
    if len(names) == 1 and names[0].lower() in NO_FINDING_NAMES:
        return ()
    if none := [name for name in names if name.lower() in NO_FINDING_NAMES]:
        raise ValueError(f"the film has {none[0]!r} and other findings at once")
    return tuple(dict.fromkeys(names))


def _view(text: str) -> str:
    views = {view.lower(): view for view in ("", PA, AP, LATERAL)}
    if text.lower() not in views:
        raise ValueError(f"the view is {text!r}; it can be {PA}, {AP}, {LATERAL} or empty")
    return views[text.lower()]


def _sex(text: str) -> str:
    if text.upper() not in ("", *SEXES):
        raise ValueError(f"the sex is {text!r}; it can be {', '.join(SEXES)} or empty")
    return text.upper()


def _age(text: str) -> float | None:
    if not text:
        return None
    try:
        # Where Excel writes semicolons it writes decimal commas too.
        age = float(text.replace(",", "."))
    except ValueError:
        age = math.nan
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(f"the age {text!r} is no number of years from 0 to {MAX_AGE_YEARS:g}")
    return age


def _with_patients(entries: Sequence[Entry], folder: Path) -> tuple[Entry, ...]:
    """A film without a patient gets its file's name, or where that is taken its path."""
    named = Counter((e.source, e.patient or e.path.name) for e in entries)

    def patient(entry: Entry) -> str:
        alone = named[entry.source, entry.path.name] == 1
        return entry.path.name if alone else _below(entry.path, folder)

    return tuple(e if e.patient else replace(e, patient=patient(e)) for e in entries)


def _below(path: Path, folder: Path) -> str:
    inside = path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else str(path)


def _listed(names: Sequence[str]) -> str:
    more = f"\n  and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else ""
    return "\n  " + "\n  ".join(names[:_N_SHOWN]) + more + "\n"
