"""RECORD: results become rows of a CSV file, or JSON objects."""

import contextlib
import csv
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import RecordError
from .language import Message, why

if TYPE_CHECKING:
    from .result import Result

logger = logging.getLogger(__name__)

COLUMNS = (
    "file",
    "status",
    "reason",
    "finding",
    "probability",
    "score",
    "positive",
    "answer",
    "all_findings",
    "model",
    "model_sha256",
    "site_profile",
    "provider",
    "duration_ms",
    "processed_at",
    "sha256",
)
# What the rows of an earlier version lack.
_NEW_COLUMNS = frozenset({"answer", "site_profile"})
_EARLIER_COLUMNS = [name for name in COLUMNS if name not in _NEW_COLUMNS]
# A spreadsheet takes a cell that starts so for a formula (OWASP ASVS 5, 1.2.10).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")
_BOM = b"\xef\xbb\xbf"
# Longer than any row of ours.
MAX_RECORD_BYTES = 65536
# Where a row of ours ends, even if a quotation mark too many was set by hand before.
_ROW_END = re.compile(rb'[,;]"?[0-9a-f]{64}"?\r?\n\Z')


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written. bom: a byte order mark tells Excel that the text is UTF-8."""

    name: str
    delimiter: str = ","
    decimal: str = "."
    bom: bool = False

    @property
    def bom_bytes(self) -> bytes:
        return _BOM * self.bom

    @property
    def header(self) -> bytes:
        return self.bom_bytes + line(COLUMNS, self)


STANDARD = Dialect("standard")
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        STANDARD,
        Dialect("excel", bom=True),
        # As Excel expects it in French, German, Spanish, Portuguese and other languages.
        Dialect("excel-semicolon", delimiter=";", decimal=",", bom=True),
    )
}


def to_row(result: "Result", dialect: Dialect = STANDARD) -> dict[str, str]:
    """One CSV row; cells without a value are empty."""

    def number(value: float, n_digits: int) -> str:
        return f"{value:.{n_digits}f}".replace(".", dialect.decimal)

    row = dict.fromkeys(COLUMNS, "")
    row.update(
        file=str(result.source),
        status=result.status,
        reason=result.reason,
        model=result.model,
        model_sha256=result.model_sha256,
        site_profile=result.profile,
        provider=result.provider,
        duration_ms=number(result.duration_ms, 1),
        processed_at=result.processed_at.isoformat(timespec="seconds"),
        sha256=result.sha256,
    )
    if result.findings:
        leading = result.findings[0]
        row.update(
            finding=leading.name,
            probability=number(leading.probability, 6),
            score=str(leading.score),
            positive=str(leading.positive).lower(),
            answer=leading.answer,
            all_findings="; ".join(f"{f.name}={number(f.probability, 6)}" for f in result.findings),
        )
    return {name: defuse(cell) for name, cell in row.items()}


def to_json(result: "Result") -> dict[str, Any]:
    """The same facts with JSON's types, every finding with its threshold, and the film's distance
    from those that the model learned from."""
    leading = result.findings[0] if result.findings else None
    return {
        "file": str(result.source),
        "status": result.status,
        "reason": result.reason,
        "finding": leading and leading.name,
        "probability": leading and leading.probability,
        "score": leading and leading.score,
        "positive": leading and leading.positive,
        "answer": leading and leading.answer,
        "all_findings": [
            {
                "finding": finding.name,
                "probability": finding.probability,
                "threshold": finding.threshold,
                "positive": finding.positive,
                "unsure_from": finding.unsure_from,
                "unsure_below": finding.unsure_below,
                "answer": finding.answer,
            }
            for finding in result.findings
        ],
        "distance": result.distance and round(result.distance, 4),
        "accepted": list(result.accepted),
        "model": result.model,
        "model_sha256": result.model_sha256,
        "site_profile": result.profile,
        "provider": result.provider,
        "duration_ms": round(result.duration_ms, 1),
        "processed_at": result.processed_at.isoformat(timespec="seconds"),
        "sha256": result.sha256,
    }


def json_text(result: "Result") -> str:
    """`to_json` on one line, in ASCII: it is UTF-8 whatever a pipe's encoding is."""
    return json.dumps(to_json(result))


class CsvRecord:
    """A CSV file that rows are appended to, and nothing else is ever done to.

    The file is opened for each row, so that it may be read, copied, moved or deleted meanwhile;
    while another program holds it locked, `append` raises and the row may be given again.
    """

    def __init__(self, path: Path, dialect: Dialect = STANDARD) -> None:
        """Raises RecordError: the file has another header, or its folder cannot be written to."""
        self.path = path
        self._dialect = dialect
        if not path.parent.is_dir():
            raise RecordError(
                Message("There is no folder {folder}.", folder=path.parent),
                Message("Create it first."),
            )
        append_to(path, b"", dialect)  # finds out now whether it can be written
        self._mend()

    def append(self, result: "Result") -> None:
        """Add one row and flush it. Raises RecordError; the row was then not added."""
        append_to(self.path, to_line(result, self._dialect), self._dialect)

    def _mend(self) -> None:
        """Check the header, and drop a last row that a power cut left half-written."""
        try:
            with self.path.open("rb") as file:
                n_whole, last = 0, file.readline(MAX_RECORD_BYTES)
                refuse_other_header(self.path, last, self._dialect)
                for record in records(file):
                    n_whole, last = n_whole + len(last), record
        except OSError as exc:
            raise RecordError(
                Message("{path} cannot be read ({why}).", path=self.path, why=why(exc)),
                Message("Close it in other programs, and check permission."),
            ) from exc
        if is_torn(last):
            logger.warning(Message("%s ended in a half-written row, now dropped."), self.path)
            cut_to(self.path, n_whole)


def to_line(result: "Result", dialect: Dialect) -> bytes:
    """A result's row as it stands in the file."""
    return line(to_row(result, dialect).values(), dialect)


def line(cells: Iterable[str], dialect: Dialect) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=dialect.delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def append_to(path: Path, rows: bytes, dialect: Dialect, durable: bool = False) -> int:
    """Append whole rows, below a header where the file is new; returns its size in bytes.

    durable: they are on the disk, not only in its cache, when it returns.
    Raises RecordError; what was written of them is then taken back.
    """
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                rest = memoryview(rows if before else dialect.header + rows)
                while rest:
                    rest = rest[file.write(rest) :]
                if durable:
                    os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
            return file.tell()
    except OSError as exc:
        raise cannot_be_written(path, exc) from exc


def cut_to(path: Path, n_bytes: int) -> None:
    """Drop what follows. Raises RecordError."""
    try:
        with path.open("r+b") as file:
            file.truncate(n_bytes)
    except OSError as exc:
        raise cannot_be_written(path, exc) from exc


def cut_zeros(path: Path, dialect: Dialect) -> int:
    """Drop the zeros at the end of a file of ours, which a file system puts for what a power cut
    kept it from writing; returns its size. Raises OSError, RecordError."""
    with path.open("rb") as file:
        first = file.read(len(dialect.header)).rstrip(b"\0").removeprefix(_BOM)
        size = end = file.seek(0, os.SEEK_END)
        if not dialect.header.removeprefix(_BOM).startswith(first):
            return size
        while end:
            start = max(0, end - MAX_RECORD_BYTES)
            file.seek(start)
            block = file.read(end - start).rstrip(b"\0")
            end = start + len(block)
            if block:
                break
    if end < size:
        logger.warning(
            Message("%s ended in zeros, as a power cut leaves them; they are dropped."), path
        )
        cut_to(path, end)
    return end


def refuse_other_header(path: Path, first: bytes, dialect: Dialect) -> None:
    """Raises RecordError where a CSV's first line is not this dialect's header; a byte order mark
    may be there or not, as spreadsheets and editors please."""
    if _named_in(first, dialect) == list(COLUMNS):
        return
    if is_of_earlier_version(first):
        raise RecordError(
            Message("{path} was written by an earlier version, in other columns.", path=path),
            Message("Name another file, or move this one away; it was left untouched."),
        )
    for other in DIALECTS.values():
        same_bom = other.bom == first.startswith(_BOM)
        if _named_in(first, other) == list(COLUMNS) and (same_bom or other.delimiter != ","):
            raise RecordError(
                Message(
                    "{path} was written with --csv-dialect {name}.", path=path, name=other.name
                ),
                Message("Use that dialect, or name another file; this one was left untouched."),
            )
    raise RecordError(
        Message(
            "{path} is not a result file of this version: its first line is {line}.",
            path=path,
            line=repr(_text_of(first)[:200]),
        ),
        Message("Name another file, or move this one away; it was left untouched."),
    )


def is_of_earlier_version(first: bytes) -> bool:
    """Whether a CSV with this first line was written by an earlier version, in any dialect."""
    return any(_named_in(first, dialect) == _EARLIER_COLUMNS for dialect in DIALECTS.values())


def _named_in(first: bytes, dialect: Dialect) -> list[str]:
    # Some spreadsheets quote every cell.
    return _text_of(first).replace('"', "").split(dialect.delimiter)


def _text_of(first: bytes) -> str:
    return first.removeprefix(_BOM).decode("utf-8", "replace").rstrip("\r\n")


def records(file: BinaryIO) -> Iterator[bytes]:
    """A CSV's rows from where the file stands, with the line breaks inside their quotation marks.

    The last one may be torn.
    """
    record = b""
    for part in iter(lambda: file.readline(MAX_RECORD_BYTES), b""):
        record += part
        if len(record) > MAX_RECORD_BYTES or not is_torn(record):
            yield record
            record = b""
    if record:
        yield record


def is_torn(record: bytes) -> bool:
    """Whether a row lacks its end. A line break inside quotation marks ends no row."""
    if not record.endswith(b"\n"):
        return True
    return record.count(b'"') % 2 == 1 and not _ROW_END.search(record[-80:])


def cells_of(record: bytes, dialect: Dialect) -> list[str]:
    """The cells of a row; empty where it is none."""
    text = io.StringIO(record.decode("utf-8", "replace"), newline="")
    try:
        return next(csv.reader(text, delimiter=dialect.delimiter), [])
    except csv.Error:
        return []


def refuse_inside(path: Path, folder: Path) -> None:
    """Raises RecordError where results would be written into a folder that is read."""
    if path.resolve().is_relative_to(folder.resolve()):
        raise RecordError(
            Message("{path} lies inside {folder}, which is being read.", path=path, folder=folder),
            Message("Name a CSV file outside that folder."),
        )


def cannot_be_written(path: Path, exc: OSError) -> RecordError:
    return RecordError(
        Message("{path} cannot be written ({why}).", path=path, why=why(exc)),
        Message("Close it in other programs, and check permission and free space."),
    )


def defuse(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell
