"""RECORD: a CSV written anew from the ledger, of all that it holds or of a part."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import IO

from .errors import RecordError, SettingsError
from .ledger import Ledger, Prediction, Verdict, midnight
from .record import COLUMNS, Dialect, cannot_be_written, defuse, line, to_row
from .result import Identifiers

VERDICT_COLUMNS = ("verdict", "verdict_note", "verdict_by", "verdict_at")


@dataclass(frozen=True)
class Selection:
    """Which predictions are wanted: those that fit everything that is given.

    since, until: both days are wanted too, in `timezone` (None: this machine's). model: see
    Ledger.predictions. finding: that reaches its operating point. latest: of each film only the
    last prediction of those in the folder, in that time and by that model.
    """

    folder: Path | None = None
    since: date | None = None
    until: date | None = None
    model: str = ""
    finding: str = ""
    status: str = ""
    latest: bool = False
    timezone: tzinfo | None = None

    def of(
        self, ledger: Ledger, through: Callable[[int], object] = lambda _: None
    ) -> Iterator[Prediction]:
        """Those of a ledger, in their order. through: told how far the ledger has been read.

        Raises SettingsError: the ledger knows no such folder or finding. LedgerError.
        """
        if self.finding:
            known = ledger.finding_names()
            if self.finding not in known:
                raise SettingsError(
                    f"No film was read for {self.finding!r}.",
                    f"The ledger knows {', '.join(known) or 'no finding yet'}.",
                )
        day = timedelta(days=1)
        for prediction in ledger.predictions(
            self._known_folder(ledger),
            since=midnight(self.since, self.timezone) if self.since else None,
            until=midnight(self.until + day, self.timezone) if self.until else None,
            model=self.model,
            latest=self.latest,
        ):
            through(prediction.id)
            result = prediction.result
            positive = not self.finding or any(
                one.positive and one.name == self.finding for one in result.findings
            )
            if positive and self.status in ("", result.status):
                yield prediction

    def _known_folder(self, ledger: Ledger) -> Path | None:
        """The folder as the ledger names it."""
        if self.folder is None:
            return None
        folders = [path for _, path in ledger.folders()]
        for folder in folders:
            if folder in (self.folder.absolute(), self.folder.resolve()):
                return folder
        raise SettingsError(
            f"The ledger knows no folder {self.folder}.",
            f"It knows {', '.join(map(str, folders)) or 'none yet'}.",
        )


def every_name(ledger: Ledger, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The predictions, each also for the other files of the same content that it answers for."""
    for prediction in predictions:
        yield prediction
        for bearer in ledger.bearers(prediction):
            if bearer.file_id == prediction.file_id:
                # A pseudonym is no path.
                is_path = prediction.result.source != Path(bearer.name)
                continue
            source = bearer.folder / bearer.name if is_path else Path(bearer.name)
            yield replace(prediction, result=replace(prediction.result, source=source))


def write_rows(
    file: IO[bytes],
    predictions: Iterable[Prediction],
    dialect: Dialect,
    identifiers: bool = False,
    verdicts_of: Callable[[int], list[Verdict]] | None = None,
) -> int:
    """Write a header and a row for each; returns how many. identifiers: the DICOM ones too.
    verdicts_of: what people said last of a prediction, by its number; in four columns more."""
    names = [field.name for field in fields(Identifiers)] if identifiers else []
    if verdicts_of:
        names += VERDICT_COLUMNS
    file.write(dialect.bom_bytes + line((*COLUMNS, *names), dialect))
    n_rows = 0
    for prediction in predictions:
        cells = [*to_row(prediction.result, dialect).values()]
        if identifiers:
            cells += map(defuse, asdict(prediction.identifiers).values())
        if verdicts_of:
            cells += map(defuse, _verdict_cells(prediction, verdicts_of(prediction.id)))
        file.write(line(cells, dialect))
        n_rows += 1
    return n_rows


def _verdict_cells(prediction: Prediction, verdicts: list[Verdict]) -> list[str]:
    """That on the leading finding, or on a film without any, is said as it is; where there is
    another one, each with its finding."""
    findings = prediction.result.findings
    leading = findings[0].name if findings else ""
    rows = [
        (one.verdict, one.note, one.by, one.at.isoformat(timespec="seconds")) for one in verdicts
    ]
    if [one.finding for one in verdicts] == [leading]:
        return [*rows[0]]
    named = [one.finding or "film" for one in verdicts]
    return [
        "; ".join(f"{name}={row[column]}" for name, row in zip(named, rows, strict=True))
        for column in range(len(VERDICT_COLUMNS))
    ]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there under its name when it is whole, and not before.

    Raises RecordError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as exc:
        raise cannot_be_written(path, exc) from exc


def refuse_view(path: Path, ledger: Ledger) -> None:
    """Raises RecordError where the watcher keeps that CSV: rows that it writes there meanwhile
    would be lost."""
    if any(ledger.csv_size(one) is not None for one in (path.absolute(), path.resolve())):
        raise RecordError(
            f"{path} is kept by cxr-edge watch.",
            "Name another file; to have it begun anew, delete it: watch writes all its rows again.",
        )
