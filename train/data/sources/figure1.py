"""Figure 1 COVID-19 chest X-ray dataset (Wang, Wong et al. 2020, part of COVIDx).

    metadata.csv    patientid, finding, view, modality, artifacts/distortion ...; no file names
    images/COVID-00003a.jpg    the patientid; films of one patient end in a, b ...

Only radiographs are taken, and of them those whose finding is stated.
"""

from pathlib import Path

from ..manifest import Entry
from .cohen import findings_of, is_radiograph
from .listing import age_of, films_in, header_of, raise_missing, read_table, sex_of, view_of

NAME = "figure1"
LAYOUT = "metadata.csv without a column filename, and images/ named by patientid"


def recognises(root: Path) -> bool:
    header = set(header_of(root / "metadata.csv"))
    return {"patientid", "finding", "view"} <= header and "filename" not in header


def read(root: Path) -> list[Entry]:
    """Raises TrainError: the table cannot be read, or films of it are not there."""
    images = root / "images"
    films = {path.stem: path for path in films_in(images)} if images.is_dir() else {}
    entries, missing = [], []
    for row in read_table(root / "metadata.csv"):
        findings = findings_of(row.get("finding", ""))
        if not is_radiograph(row) or findings is None:
            continue
        name = row["patientid"]
        if name not in films:
            missing.append(str(images / name))
            continue
        view, age = view_of(row.get("view", "")), age_of(row.get("age", ""))
        sex = sex_of(row.get("sex", ""))
        patient = name.rstrip("abcdefgh")
        entries.append(Entry(films[name], findings, patient, NAME, view, age, sex=sex))
    raise_missing(missing, root / "metadata.csv")
    return entries
