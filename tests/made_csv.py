"""CSV files as earlier versions wrote them."""

import csv
import io
from pathlib import Path

from cxr_edge.record import STANDARD, Dialect, line

NEW_COLUMNS = ("answer", "site_profile")


def written_before(path: Path, dialect: Dialect = STANDARD) -> None:
    """Have a CSV of this version be one of the version before, without its new columns."""
    text = path.read_text(encoding="utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    kept = [place for place, name in enumerate(header) if name not in NEW_COLUMNS]
    lines = (line([row[place] for place in kept], dialect) for row in [header, *rows])
    path.write_bytes(dialect.bom_bytes + b"".join(lines))
