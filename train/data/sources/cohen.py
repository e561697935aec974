"""COVID-19 image data collection (Cohen et al. 2020, arXiv:2006.11988), from publications.

    metadata.csv    patientid, finding, view, modality, folder, filename ...
    images/

Only radiographs are taken, and of them those whose finding is stated. Findings are paths such as
"Pneumonia/Viral/COVID-19", of which the most particular part that this project has a name for
counts.
"""

import re
from pathlib import Path

from ..manifest import NO_FINDING_NAMES, Entry
from .listing import SUFFIXES, age_of, header_of, raise_missing, read_table, sex_of, view_of

NAME = "cohen"
LAYOUT = "metadata.csv with a column filename, and images/"
_NOT_STATED = frozenset({"", "todo", "unknown"})
# The first one that is a part of the path counts.
_FINDINGS = {
    "covid-19": "COVID-19",
    "tuberculosis": "tuberculosis",
    "bacterial": "bacterial pneumonia",
    "viral": "viral pneumonia",
    "sars": "viral pneumonia",
    "mers": "viral pneumonia",
    "pneumonia": "pneumonia",
}


def recognises(root: Path) -> bool:
    return {"patientid", "finding", "modality", "filename"} <= set(header_of(root / "metadata.csv"))


def read(root: Path) -> list[Entry]:
    """Raises TrainError: the table cannot be read, or films of it are not there."""
    entries, missing = [], []
    for row in read_table(root / "metadata.csv"):
        findings = findings_of(row.get("finding", ""))
        path = root / (row.get("folder") or "images") / row.get("filename", "")
        if not is_radiograph(row) or findings is None or path.suffix.lower() not in SUFFIXES:
            continue
        if not path.is_file():
            missing.append(str(path))
        view, age = view_of(row.get("view", "")), age_of(row.get("age", ""))
        sex = sex_of(row.get("sex", ""))
        entries.append(Entry(path, findings, row["patientid"], NAME, view, age, sex=sex))
    raise_missing(missing, root / "metadata.csv")
    return entries


def is_radiograph(row: dict[str, str]) -> bool:
    return row.get("modality", "").lower() in ("", "x-ray")


def findings_of(text: str) -> tuple[str, ...] | None:
    """The finding of a path such as "Pneumonia/Viral/SARS"; None where none is stated."""
    if text.lower() in _NOT_STATED:
        return None
    if text.lower() in NO_FINDING_NAMES:
        return ()
    parts = [part.strip().lower() for part in re.split("[/,]", text)]
    return (next((name for part, name in _FINDINGS.items() if part in parts), text.lower()),)
