"""The public data sets, each as it is published: one module per layout, told by its marks.

A module has NAME, LAYOUT (in words, for messages), recognises(root) and read(root).
"""

from collections.abc import Sequence
from pathlib import Path

from ...errors import TrainError
from ..manifest import Entry, read_manifest
from . import (
    cohen,
    covid_radiography,
    figure1,
    folders,
    kermany,
    montgomery,
    nih,
    shenzhen,
    tb_chest,
)
from .listing import folders_in

_PUBLISHED = (kermany, covid_radiography, tb_chest, shenzhen, montgomery, nih, cohen, figure1)
LAYOUTS = {module.NAME: module for module in (*_PUBLISHED, folders)}


def read_data(text: str, patient_pattern: str = "") -> list[Entry]:
    """The films of one --data argument: a manifest.csv, a folder, or layout=FOLDER.

    A folder's layout is told by its marks; where it is none of the published ones, its folders are
    the labels. patient_pattern: for such folders, see folders.read.
    Raises TrainError: nothing is there, no layout or several fit, or what the reader says.
    """
    try:
        return _read(text, patient_pattern)
    except OSError as exc:
        raise TrainError(f"{exc.filename or text} cannot be read ({exc.strerror}).") from exc


def _read(text: str, patient_pattern: str) -> list[Entry]:
    path, layout = Path(text), ""
    name, equals, rest = text.partition("=")
    if equals and not path.exists():
        path, layout = Path(rest), name.strip().lower()
        if layout not in LAYOUTS:
            raise TrainError(f"There is no layout {name!r}. {_layouts()}")
    if not path.exists():
        raise TrainError(f"There is no {path}.", "Check the path given as --data.")
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise TrainError(f"{path} is no folder and no manifest.csv.", "Give one of them.")
        return list(read_manifest(path))
    if not layout:
        path, layout = _recognise(path)
    entries = (
        folders.read(path, patient_pattern)
        if layout == folders.NAME
        else LAYOUTS[layout].read(path)
    )
    if not entries:
        raise TrainError(
            f"{path} holds no film in the layout {layout}.", f"It is: {LAYOUTS[layout].LAYOUT}."
        )
    return entries


def _recognise(root: Path) -> tuple[Path, str]:
    """The folder to read and its layout: `root`, or the one folder in it that an archive made."""
    inner = folders_in(root)
    for folder in (root, *(inner if len(inner) == 1 else ())):
        names = [module.NAME for module in _PUBLISHED if module.recognises(folder)]
        if len(names) > 1:
            raise TrainError(
                f"{folder} could be {' or '.join(names)}.",
                f"Say which: --data {names[0]}={folder}",
            )
        if names:
            return folder, names[0]
    if inner:
        return root, folders.NAME
    raise TrainError(f"{root} is in no layout that is known. {_layouts()}")


def _layouts() -> str:
    lines = [f"  {name}: {module.LAYOUT}" for name, module in LAYOUTS.items()]
    return "\n".join(["Give layout=FOLDER, with one of these:", *lines])


def join(parts: Sequence[Sequence[Entry]]) -> list[Entry]:
    """The films of several --data arguments; one that is given twice is taken once.

    Raises TrainError: it is described in two ways.
    """
    by_path: dict[Path, Entry] = {}
    for entry in (entry for part in parts for entry in part):
        known = by_path.setdefault(entry.path.resolve(), entry)
        if known.findings != entry.findings or known.source != entry.source:
            raise TrainError(
                f"{entry.path} is given twice, as {known.source} {known.findings} and as "
                f"{entry.source} {entry.findings}.",
                "Give each film once.",
            )
    return list(by_path.values())
