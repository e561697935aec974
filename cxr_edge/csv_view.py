"""RECORD: a CSV as a view of the ledger: it is filled in with what it lacks, now or later, and what
a person has done to it is left alone."""

import logging
import os
import re
from collections import Counter
from datetime import date, timedelta, tzinfo
from pathlib import Path

from .errors import RecordError
from .language import Message, why
from .ledger import Ledger, Prediction, View, fsync_folder, midnight
from .record import (
    COLUMNS,
    MAX_RECORD_BYTES,
    STANDARD,
    Dialect,
    append_to,
    cannot_be_written,
    cells_of,
    cut_to,
    cut_zeros,
    is_of_earlier_version,
    is_torn,
    records,
    refuse_other_header,
    to_line,
    to_row,
)

logger = logging.getLogger(__name__)

_KEY = [COLUMNS.index(name) for name in ("file", "sha256", "model_sha256")]
_TIME = COLUMNS.index("processed_at")
# A spreadsheet that saves the file may write the time in another way.
_OWN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


class CsvView:
    """A folder's rows in a CSV, or in one for each day or month, in the order of the ledger.

    The ledger knows how far the rows go and how large the file then was: a file of that size is
    not read again. One of another size is, once: rows that are already in it (this program was
    ended between writing them and saying so) are not written twice.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        ledger: Ledger,
        dialect: Dialect = STANDARD,
        rotate: str = "never",
        timezone: tzinfo | None = None,
    ) -> None:
        """rotate: "never", or "day" or "month", which puts rows into files with -2026-11-21 or
        -2026-11 in their names, by the date in `timezone` (None: this machine's) when their films
        were read.

        kept_aside: what was said last of files that an earlier version had written; "" for none.
        """
        self.path = path
        self._folder = folder
        self._ledger = ledger
        self._dialect = dialect
        self._rotate = rotate
        self._timezone = timezone
        self._folder_id = ledger.folder_id(folder)
        self.kept_aside = ""
        self._looked = False
        self._of_this_version: set[Path] = set()
        self._compared: dict[Path, _Rows] = {}  # until nothing is lacking
        # The file that rows went to last.
        self._last: Path | None = path if rotate == "never" else None

    def check(self) -> None:
        """Raises RecordError where the file is not ours, or, before any row was written to it,
        cannot be written. One that is known may be away for now."""
        known = bool(self._ledger.views(self.path, self._folder))
        try:
            size = self._size(self.path)
            if self._rotate == "never" and not known:
                # Of two watchers that start at the same time one writes the header.
                with self._ledger.transaction():
                    append_to(self.path, b"", self._dialect)
            if self._rotate != "never" or not size:
                return
            cut_zeros(self.path, self._dialect)
            with self.path.open("rb") as stream:
                first = stream.readline(MAX_RECORD_BYTES)
        except OSError as exc:
            if not known:
                raise cannot_be_written(self.path, exc) from exc
        except RecordError:
            if not known:
                raise
        else:
            # One that was cut off is mended when rows come, and one of an earlier version, whose
            # rows the ledger has, is kept aside then.
            if not self._dialect.header.startswith(first) and not (
                known and is_of_earlier_version(first)
            ):
                refuse_other_header(self.path, first, self._dialect)

    def fill(self, limit: int = 1000) -> int:
        """Append rows that are in the ledger and not in the CSV, `limit` of them at most, in one
        transaction: nobody else who keeps to the ledger writes at the same time.

        Returns how many more of the ledger's rows are in the CSV now, few of which may have been
        there already; fewer than `limit`: they are all.
        Raises RecordError: the file cannot be written now, or is not ours; the rows stay in the
        ledger and come when it can be. LedgerError.
        """
        if self._looked and not self._compared and not self._lacks_something():
            return 0
        try:
            n_rows = None
            while n_rows is None:
                with self._ledger.transaction():
                    n_rows = self._fill(limit)
        except BaseException:
            self._compared.clear()
            raise
        if n_rows < limit:
            self._compared.clear()
            self._looked = True
        return n_rows

    def _fill(self, limit: int) -> int | None:
        """One transaction's part; None: a file is to be begun anew, which is on the disk before a
        row is written: a kill would leave a file that seems to have been shortened by hand."""
        if not self._looked:
            self._heed_new_rotation()
        through = self._ledger.view_through(self.path, self._folder_id)
        pending = list(self._ledger.predictions(self._folder, through, limit))
        periods = self._by_period(pending, through)
        begun = [first for first in periods if self._has_to_begin(self._file(first))]
        if begun:
            for first in begun:
                self._begin_anew(first)
            return None
        for first, predictions in periods.items():
            self._append(self._file(first), predictions)
        # Until then a new process would have to compare too.
        for file in self._compared if len(pending) < limit else ():
            self._ledger.set_csv_size(file, self._size(file) or 0, mount_point(file))
        if pending:
            through = pending[-1].id
        self._ledger.set_view_through(
            self.path, self._folder_id, through, self._dialect.name, self._rotate
        )
        if periods:
            self._last = self._file(list(periods)[-1])
        return len(pending)

    def _lacks_something(self) -> bool:
        through = self._ledger.view_through(self.path, self._folder_id)
        if self._ledger.last_prediction_id(self._folder_id) > through:
            return True
        return self._last is not None and self._is_gone(self._last)

    def _by_period(self, pending: list[Prediction], through: int) -> dict[date, list[Prediction]]:
        """The rows by the first day of the file that they go to, which is to be looked at in any
        case; the file of the last row comes last."""
        periods: dict[date, list[Prediction]] = {}
        if self._rotate == "never":
            periods[date.min] = []
        elif not pending and through:
            # What was written last; a file that nothing more will go to is a person's to delete.
            for prediction in self._ledger.predictions(self._folder, through - 1, 1):
                periods[self._first_day(prediction)] = []
        for prediction in pending:
            periods.setdefault(self._first_day(prediction), []).append(prediction)
        return periods

    def _heed_new_rotation(self) -> None:
        """All rows go to other files than before; there they may stand already."""
        for view in self._ledger.views(self.path, self._folder):
            if view.rotate != self._rotate:
                self._ledger.set_view_through(
                    self.path, self._folder_id, 0, self._dialect.name, self._rotate
                )
                self._ledger.forget_csv(self.path, self.path.with_name(f"{self.path.stem}-"))

    def _append(self, file: Path, predictions: list[Prediction]) -> None:
        size, known = self._size(file), self._ledger.csv_size(file)
        if size and size != known and file not in self._compared:
            self._refuse_other_disk(file)
            self._compared[file] = self._compare(file, any_time=known is None)
            size = self._size(file)
        if rows := self._compared.get(file):
            predictions = [one for one in predictions if not self._is_in(rows, one)]
        if predictions or (not size and self._rotate == "never"):
            lines = b"".join(to_line(one.result, self._dialect) for one in predictions)
            new_size = append_to(file, lines, self._dialect, durable=True)
            if not size:
                self._fsync_folder(file)
            if file not in self._compared:
                place = self._ledger.csv_mount_point(file) or mount_point(file)
                self._ledger.set_csv_size(file, new_size, place)

    def _has_to_begin(self, file: Path) -> bool:
        """Whether all rows of a file have to be written again, and why."""
        if self._keep_aside(file):
            logger.warning("%s", self.kept_aside)
            return True
        if self._is_gone(file):
            logger.warning(
                Message("%s is not there any more; it is begun anew with all its rows."), file
            )
            return True
        return False

    def _keep_aside(self, file: Path) -> bool:
        """Give a file whose rows the ledger has, and that an earlier version wrote in its columns,
        another name. Raises RecordError."""
        if file in self._of_this_version or self._ledger.csv_size(file) is None:
            return False
        try:
            with file.open("rb") as stream:
                first = stream.readline(MAX_RECORD_BYTES)
            if not is_of_earlier_version(first):
                self._of_this_version.add(file)
                return False
            aside = _free_name(file)
            file.rename(aside)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise cannot_be_written(file, exc) from exc
        self.kept_aside = Message(
            "{csv} was written by an earlier version, in other columns: it is kept as {aside}, and "
            "begun anew with all its rows. This is said until the next start.",
            csv=file,
            aside=aside,
        )
        return True

    def _is_gone(self, file: Path) -> bool:
        """Whether rows were written to a file that is not there any more, or is empty."""
        if self._ledger.csv_size(file) is None or self._size(file):
            return False
        self._refuse_other_disk(file)
        return True

    def _begin_anew(self, first: date) -> None:
        """Have all rows of a file written again, those of other folders too: it is only a view."""
        file = self._file(first)
        for view in self._ledger.views(self.path):
            through = 0
            if self._rotate != "never":
                through = min(view.through_id, self._before(first, view))
            self._ledger.set_view_through(
                view.path, view.folder_id, through, view.dialect, view.rotate
            )
        others = None if self._rotate == "never" else self.path.with_name(f"{self.path.stem}-")
        self._ledger.forget_csv(file, others)

    def _before(self, first: date, view: View) -> int:
        """How far the view was before the first prediction of that period."""
        end = first + timedelta(days=1)
        if self._rotate == "month":
            end = (first + timedelta(days=31)).replace(day=1)
        since, until = midnight(first, self._timezone), midnight(end, self._timezone)
        for one in self._ledger.predictions(view.folder, 0, 1, since=since, until=until):
            return one.id - 1
        return view.through_id

    def _compare(self, file: Path, *, any_time: bool) -> "_Rows":
        """Which rows are in a file that has changed since the ledger last knew it; the half-written
        last one of ours is taken back.

        any_time: the file is new to the ledger, and a film's row in it may be of an earlier
        version, which had no ledger.
        """
        rows = _Rows()
        try:
            size = cut_zeros(file, self._dialect)
            with file.open("rb") as stream:
                if size < len(self._dialect.header):
                    if self._dialect.header.startswith(stream.read()):
                        cut_to(file, 0)
                        return rows
                    stream.seek(0)
                offset, last = 0, stream.readline(MAX_RECORD_BYTES)
                refuse_other_header(file, last, self._dialect)
                for record in records(stream):
                    rows.add(last, self._dialect, any_time)
                    offset, last = offset + len(last), record
        except OSError as exc:
            raise RecordError(
                Message("{path} cannot be read ({why}).", path=file, why=why(exc)),
                Message(
                    "Close it in other programs, and check permission and whether its disk is "
                    "there."
                ),
            ) from exc
        if is_torn(last):
            through = {view.folder: view.through_id for view in self._ledger.views(self.path)}
            ours = [
                to_line(one.result, self._dialect)
                for folder, through_id in ({self._folder: 0} | through).items()
                for one in self._ledger.predictions(folder, through_id, 1000)
            ]
            # A quotation mark that a person left open makes one row of many.
            for torn in (last, last.rpartition(b"\n")[2]):
                if torn and any(line.startswith(torn) for line in ours):
                    logger.warning(
                        Message("%s ended in a half-written row, which is written anew."), file
                    )
                    cut_to(file, offset + len(last) - len(torn))
                    return rows
            if not last.endswith(b"\n"):
                append_to(file, b"\n", self._dialect)
        rows.add(last, self._dialect, any_time)
        return rows

    def _is_in(self, rows: "_Rows", prediction: Prediction) -> bool:
        cells = list(to_row(prediction.result, self._dialect).values())
        cells = [cell.encode("utf-8", "backslashreplace").decode() for cell in cells]
        key = hash(tuple(cells[index] for index in _KEY))
        if hash((key, cells[_TIME])) in rows.exact:
            return True
        # The first ones of the film's predictions are those that have a row.
        n_rows = rows.of_any_time[key]
        return n_rows > 0 and self._ledger.n_said_before(prediction) < n_rows

    def _size(self, file: Path) -> int | None:
        """None: it is not there, but its folder is."""
        try:
            return file.stat().st_size
        except FileNotFoundError:
            if not file.parent.is_dir():
                raise RecordError(
                    Message("There is no folder {folder}.", folder=file.parent),
                    Message("Create it, or connect its disk or share again."),
                ) from None
            return None
        except OSError as exc:
            raise cannot_be_written(file, exc) from exc

    def _refuse_other_disk(self, file: Path) -> None:
        """Raises RecordError where the disk or share that the file lies on is not there, and the
        folder that it hung in shows through."""
        was = self._ledger.csv_mount_point(file)
        now = mount_point(file)
        if was is not None and was != now and was.is_relative_to(now):
            raise RecordError(
                Message(
                    "The disk or share {disk}, which {path} lies on, is not there.",
                    disk=was,
                    path=file,
                ),
                Message("Connect it again."),
            )

    def _fsync_folder(self, file: Path) -> None:
        try:
            fsync_folder(file.parent)
        except OSError as exc:
            raise cannot_be_written(file, exc) from exc

    def _first_day(self, prediction: Prediction) -> date:
        """Of the period whose file the prediction's row goes to."""
        if self._rotate == "never":
            return date.min
        day = prediction.result.processed_at.astimezone(self._timezone).date()
        return day.replace(day=1) if self._rotate == "month" else day

    def _file(self, first: date) -> Path:
        if self._rotate == "never":
            return self.path
        period = first.isoformat()[: 7 if self._rotate == "month" else 10]
        return self.path.with_name(f"{self.path.stem}-{period}{self.path.suffix}")


class _Rows:
    """What rows a file has, as hashes: a file of 100,000 takes some ten megabytes.

    exact: by film, model and time. of_any_time: how many there are by film and model, of those
    whose time says nothing.
    """

    def __init__(self) -> None:
        self.exact: set[int] = set()
        self.of_any_time: Counter[int] = Counter()

    def add(self, record: bytes, dialect: Dialect, any_time: bool) -> None:
        cells = cells_of(record, dialect)
        if len(cells) < len(COLUMNS):
            return
        key = hash(tuple(cells[index] for index in _KEY))
        if _OWN_TIME.fullmatch(cells[_TIME]):
            self.exact.add(hash((key, cells[_TIME])))
        if any_time or not _OWN_TIME.fullmatch(cells[_TIME]):
            self.of_any_time[key] += 1


def _free_name(file: Path) -> Path:
    """For a file of an earlier version, beside it."""
    number, aside = 1, file.with_name(f"{file.stem}.earlier-version{file.suffix}")
    while aside.exists():
        number += 1
        aside = file.with_name(f"{file.stem}.earlier-version-{number}{file.suffix}")
    return aside


def mount_point(path: Path) -> Path:
    """Where the disk or share hangs that a file's folder lies on."""
    folder = Path(os.path.realpath(path.parent))
    return next((one for one in (folder, *folder.parents) if os.path.ismount(one)), folder)
