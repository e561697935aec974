"""RECORD: results become rows of a CSV file, or JSON objects."""

import csv
import io
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import RecordError
from .reading import Result

logger = logging.getLogger(__name__)

COLUMNS = (
    "file",
    "status",
    "reason",
    "finding",
    "probability",
    "score",
    "positive",
    "all_findings",
    "model",
    "model_sha256",
    "provider",
    "duration_ms",
    "processed_at",
    "sha256",
)
# A spreadsheet takes a cell that starts so for a formula (OWASP ASVS 5, 1.2.10).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def to_row(result: Result) -> dict[str, str]:
    """One CSV row; cells without a value are empty."""
    row = dict.fromkeys(COLUMNS, "")
    row.update(
        file=str(result.source),
        status=result.status,
        reason=result.reason,
        model=result.model,
        model_sha256=result.model_sha256,
        provider=result.provider,
        duration_ms=f"{result.duration_ms:.1f}",
        processed_at=result.processed_at.isoformat(timespec="seconds"),
        sha256=result.sha256,
    )
    if result.findings:
        leading = result.findings[0]
        row.update(
            finding=leading.name,
            probability=f"{leading.probability:.6f}",
            score=str(leading.score),
            positive=str(leading.positive).lower(),
            all_findings="; ".join(f"{f.name}={f.probability:.6f}" for f in result.findings),
        )
    return {name: _defuse(cell) for name, cell in row.items()}


def to_json(result: Result) -> dict[str, Any]:
    """The same facts with JSON's types, and every finding with its threshold."""
    leading = result.findings[0] if result.findings else None
    return {
        "file": str(result.source),
        "status": result.status,
        "reason": result.reason,
        "finding": leading and leading.name,
        "probability": leading and leading.probability,
        "score": leading and leading.score,
        "positive": leading and leading.positive,
        "all_findings": [
            {
                "finding": finding.name,
                "probability": finding.probability,
                "threshold": finding.threshold,
                "positive": finding.positive,
            }
            for finding in result.findings
        ],
        "model": result.model,
        "model_sha256": result.model_sha256,
        "provider": result.provider,
        "duration_ms": round(result.duration_ms, 1),
        "processed_at": result.processed_at.isoformat(timespec="seconds"),
        "sha256": result.sha256,
    }


def json_text(result: Result) -> str:
    """`to_json` on one line; characters that UTF-8 cannot carry are escaped."""
    text = json.dumps(to_json(result), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class CsvRecord:
    """A CSV file that rows are appended to, and nothing else is ever done to.

    The file is opened for each row, so that it may be read, copied, moved or deleted meanwhile;
    while another program holds it locked, `append` raises and the row may be given again.
    """

    def __init__(self, path: Path, durable: bool = False) -> None:
        """durable: each row is on the disk, not only in its cache, when `append` returns.

        Raises RecordError: the file has another header, or its folder cannot be written to.
        """
        self.path = path
        self._durable = durable
        if not path.parent.is_dir():
            raise RecordError(f"There is no folder {path.parent}.", "Create it first.")
        self._append("")  # finds out now whether it can be written
        self._mend()

    def append(self, result: Result) -> None:
        """Add one row and flush it. Raises RecordError; the row was then not added."""
        self._append(_line(to_row(result).values()))

    def recorded(self) -> set[tuple[str, str]]:
        """The (file, sha256) of every row."""
        text = self._read().decode("utf-8", "replace")
        return {(row["file"], row["sha256"]) for row in csv.DictReader(io.StringIO(text))}

    def _append(self, line: str) -> None:
        try:
            with self.path.open(
                "a", encoding="utf-8", errors="backslashreplace", newline=""
            ) as file:
                if file.tell() == 0:
                    line = _line(COLUMNS) + line
                file.write(line)
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
        except OSError as exc:
            raise RecordError(
                f"{self.path} cannot be written ({exc.strerror}).",
                "Close it in other programs, and check permission and free space.",
            ) from exc

    def _mend(self) -> None:
        """Check the header, and drop a last row that a power cut left half-written.

        Its film has no row then, so `watch` reads it again.
        """
        data = self._read()
        header = data.partition(b"\n")[0].decode("utf-8", "replace").strip("\r")
        if header.split(",") != list(COLUMNS):
            raise RecordError(
                f"{self.path} is not a result file of this version: its first line is {header!r}.",
                "Name another file; this one was left untouched.",
            )
        whole, torn = _split_torn_row(data)
        if not torn:
            return
        logger.warning("%s ended in a half-written row, now dropped: %r", self.path, torn)
        try:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        except OSError as exc:
            raise RecordError(f"{self.path} cannot be written ({exc.strerror}).") from exc

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as exc:
            raise RecordError(f"{self.path} cannot be read ({exc.strerror}).") from exc


def _split_torn_row(data: bytes) -> tuple[bytes, bytes]:
    """Whole rows, and what follows the last of them."""
    end = data.rfind(b"\n") + 1
    # A line break inside quotes ends no row.
    while data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return data[:end], data[end:]


def refuse_inside(path: Path, folder: Path) -> None:
    """Raises RecordError where results would be written into a folder that is read."""
    if path.resolve().is_relative_to(folder.resolve()):
        raise RecordError(
            f"{path} lies inside {folder}, which is being read.",
            "Name a CSV file outside that folder.",
        )


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _defuse(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell
