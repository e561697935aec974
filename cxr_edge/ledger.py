"""RECORD: the ledger, a SQLite file, is the truth about every film seen; a CSV is a view of it.

Every change is on the disk when its transaction ends (WAL with synchronous=FULL: see
sqlite.org/wal.html), so that a power cut takes nothing back that was said to be recorded.
"""

import contextlib
import errno
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import __version__
from .errors import LedgerError
from .interpret import Finding
from .ledger_schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from .radiograph import Identifiers
from .reading import HEALING_CODES, Result
from .watch.settle import Look

# Another process holds the ledger for as long as a row takes to reach a slow share.
_BUSY_S = 60.0
# States that ask for nothing more, as long as the file stays as it is.
DONE = frozenset({"recorded", "refused", "failed", "set_aside"})
NO_IDENTIFIERS = Identifiers()
_STATE_OF_STATUS = {"ok": "recorded", "refused": "refused", "failed": "failed"}


@dataclass(frozen=True)
class File:
    """What the ledger knows of a file in a watched folder."""

    id: int
    look: Look
    state: str
    owner: str
    lease_until_s: float


@dataclass(frozen=True)
class Prediction:
    """What was said of a film once, by one model."""

    id: int
    folder: Path
    file_id: int
    result: Result
    version: str
    identifiers: Identifiers


@dataclass(frozen=True)
class Recorded:
    """prediction_id: the one that answers for the film. copy_of: the film of another name, recorded
    before, that has the same content. repeated: the film itself was recorded before, and only its
    time stamps have changed."""

    prediction_id: int
    copy_of: Path | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A film with an answer whose row is in the CSV, and which is still to be moved or deleted."""

    file_id: int
    name: str
    look: Look
    prediction_id: int
    status: str
    reason: str


@dataclass(frozen=True)
class Bearer:
    """A file with a film. name: below the folder, or the pseudonym of that. sha256: of what it
    last held."""

    file_id: int
    folder: Path
    name: str
    moved_to: Path | None
    sha256: str


@dataclass(frozen=True)
class View:
    """A CSV file, and how far a folder's predictions are in it."""

    path: Path
    folder: Path
    folder_id: int
    through_id: int
    dialect: str
    rotate: str


@dataclass(frozen=True)
class Watcher:
    """A running `cxr-edge watch`, as it last said itself. Times are UTC, ISO 8601.

    heatmaps, moved_to, failed_to: folders that it writes to; "" where it does not.
    """

    folder: str
    host: str
    pid: int
    started_at: str
    beat_at: str
    version: str
    model: str
    model_sha256: str
    provider: str
    csv: str
    n_waiting: int
    trouble: str
    heatmaps: str = ""
    moved_to: str = ""
    failed_to: str = ""


@dataclass(frozen=True)
class Failure:
    """A film that was put off or has failed: when, and the stable word for why. name: of its
    file."""

    at: datetime
    code: str
    name: str


class Ledger:
    """The ledger in a file. One thread at a time uses it; other threads and processes open their
    own."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open the ledger, or make it, and bring its schema up to date.

        read_only: nothing is made or changed. now: the clock of the time stamps; nothing is decided
        by it.
        Raises LedgerError: it cannot be opened, is no ledger, or was made by a newer version, which
        leaves it untouched.
        """
        self.path = path
        self._now = now
        self._depth = 0
        _refuse_foreign(path)
        if not read_only:
            _make_folder(path.parent)
        elif not path.exists():
            raise LedgerError(f"There is no ledger {path}.", "Start cxr-edge watch first.")
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        with _translated(path):
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA foreign_keys = ON")
            if read_only:
                self._db.execute("PRAGMA query_only = ON")
            else:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA journal_size_limit = 16000000")
                self._migrate()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when it ends; one within another is part of it.

        Raises LedgerError: nothing of it was written.
        """
        if self._depth:
            yield
            return
        with _translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    # Files, on their way from seen to recorded

    def folder_id(self, folder: Path) -> int:
        """The number of a watched folder, which gets one when it is first seen."""
        path = os.fsencode(folder)
        found = self._one("SELECT id FROM folders WHERE path = ?", path)
        if found is None:
            self._run("INSERT INTO folders (path) VALUES (?) ON CONFLICT DO NOTHING", path)
            found = self._one("SELECT id FROM folders WHERE path = ?", path)
        return int(found[0])

    def file(self, folder_id: int, name: str) -> File | None:
        """name: of the file below its folder, or the pseudonym of that."""
        row = self._one(
            "SELECT id, size_bytes, modified_ns, changed_ns, state, owner, lease_until_s "
            "FROM files WHERE folder_id = ? AND name = ?",
            folder_id,
            os.fsencode(name),
        )
        return None if row is None else File(row[0], Look(*row[1:4]), *row[4:])

    def saw(self, folder_id: int, name: str, look: Look) -> int:
        """A file that is new, has changed or has come back; returns its number."""
        row = self._one(
            "INSERT INTO files (folder_id, name, size_bytes, modified_ns, changed_ns, state, "
            "seen_at, changed_at) VALUES (?, ?, ?, ?, ?, 'seen', ?, ?) "
            "ON CONFLICT (folder_id, name) DO UPDATE SET size_bytes = excluded.size_bytes, "
            "modified_ns = excluded.modified_ns, changed_ns = excluded.changed_ns, "
            "state = 'seen', changed_at = excluded.changed_at, moved_to = NULL RETURNING id",
            folder_id,
            os.fsencode(name),
            *asdict(look).values(),
            self._stamp(),
            self._stamp(),
        )
        return int(row[0])

    def take(self, file_id: int, look: Look, owner: str, now_s: float, lease_s: float) -> bool:
        """Whether `owner` may read the file, which has settled: nobody else reads or has read it.

        now_s: of a clock that all processes of this machine share, such as time.monotonic. A lease
        that ends later than any can is of the time before this machine was started anew.
        """
        row = self._one(
            "UPDATE files SET state = 'settled', owner = ?, lease_until_s = ?, changed_at = ? "
            "WHERE id = ? AND (owner IN ('', ?) OR lease_until_s <= ? OR lease_until_s > ?) "
            "AND (state IN ('seen', 'settled', 'gone') "
            "OR (size_bytes, modified_ns, changed_ns) IS NOT (?, ?, ?)) RETURNING id",
            *(owner, now_s + lease_s, self._stamp(), file_id, owner, now_s, now_s + lease_s),
            *asdict(look).values(),
        )
        return row is not None

    def release(self, file_id: int, state: str) -> None:
        """The file was not read: it is changing ("seen"), waits for the next try ("settled"), or
        has "gone"."""
        self._run(
            "UPDATE files SET state = ?, owner = '', changed_at = ? WHERE id = ?",
            *(state, self._stamp(), file_id),
        )

    def release_unseen(self, folder_id: int, seen: Container[str]) -> None:
        """Files that were to be read and that no scan finds any more have gone.

        seen: the names of those that it does find.
        """
        rows = self._all(
            "SELECT id, name FROM files WHERE folder_id = ? AND state IN ('seen', 'settled') "
            "AND owner = ''",
            folder_id,
        )
        with self.transaction():
            for file_id, name in rows:
                if os.fsdecode(name) not in seen:
                    self._run(
                        "UPDATE files SET state = 'gone', changed_at = ? "
                        "WHERE id = ? AND state IN ('seen', 'settled')",
                        *(self._stamp(), file_id),
                    )

    def put_off(self, file_id: int, code: str) -> None:
        """A reading that may heal did not succeed; the file is tried again later."""
        self._run(
            "INSERT INTO attempts (file_id, at, code) VALUES (?, ?, ?)",
            *(file_id, self._stamp(), code),
        )
        self.release(file_id, "settled")

    def record(
        self, file_id: int, look: Look, result: Result, identifiers: Identifiers = NO_IDENTIFIERS
    ) -> Recorded:
        """What was said of a file, as it looked; a film that was recorded before by the same model
        is not recorded again.

        A file that was replaced by another film is, even where that film is known from elsewhere:
        the last row of its name must be about what now bears it.
        """
        with self.transaction():
            folder_id, said_id, said_sha256 = self._one(
                "SELECT folder_id, prediction_id, sha256 FROM files WHERE id = ?", file_id
            )
            known = self._known(folder_id, result)
            replaced = said_id is not None and said_sha256 != result.sha256
            if known is not None and not replaced:
                prediction_id, source, known_file_id = known
                same = known_file_id == file_id
                recorded = Recorded(
                    prediction_id, None if same else Path(os.fsdecode(source)), same
                )
            else:
                recorded = Recorded(self._insert(folder_id, file_id, result, identifiers))
            self._run(
                "UPDATE files SET state = 'read', owner = '', prediction_id = ?, sha256 = ?, "
                "size_bytes = ?, modified_ns = ?, changed_ns = ?, changed_at = ? WHERE id = ?",
                *(recorded.prediction_id, result.sha256, *asdict(look).values()),
                *(self._stamp(), file_id),
            )
        return recorded

    def record_again(
        self, prediction: Prediction, result: Result, identifiers: Identifiers = NO_IDENTIFIERS
    ) -> int:
        """What another model, or the same one again, says of a film that was recorded before."""
        folder_id = self.folder_id(prediction.folder)
        with self.transaction():
            new_id = self._insert(folder_id, prediction.file_id, result, identifiers)
            # Copies of the film, too.
            self._run(
                "UPDATE files SET prediction_id = ?, "
                "state = CASE WHEN state IN ('recorded', 'refused', 'failed') THEN ? "
                "ELSE state END "
                "WHERE id = ? OR prediction_id = (SELECT prediction_id FROM files WHERE id = ?)",
                *(new_id, _STATE_OF_STATUS[result.status], prediction.file_id, prediction.file_id),
            )
        return new_id

    def unfinished(
        self, folder_id: int, after_id: int, through_id: int, limit: int = 100
    ) -> list[Unfinished]:
        """The films in state "read" with predictions after the one and up to the other, in their
        order."""
        rows = self._all(
            "SELECT files.id, name, size_bytes, modified_ns, changed_ns, prediction_id, status, "
            "reason FROM files JOIN predictions ON predictions.id = prediction_id "
            "WHERE files.folder_id = ? AND state = 'read' AND prediction_id > ? "
            "AND prediction_id <= ? ORDER BY prediction_id LIMIT ?",
            *(folder_id, after_id, through_id, limit),
        )
        return [Unfinished(row[0], os.fsdecode(row[1]), Look(*row[2:5]), *row[5:8]) for row in rows]

    def finish(self, file_id: int, status: str, moved_to: Path | None, set_aside: bool) -> None:
        """The film's row is written, and the file is where it is to stay."""
        self._run(
            "UPDATE files SET state = ?, moved_to = ?, changed_at = ? WHERE id = ?",
            "set_aside" if set_aside else _STATE_OF_STATUS[status],
            None if moved_to is None else os.fsencode(moved_to),
            self._stamp(),
            file_id,
        )

    def finish_in_place(self, folder_id: int, through_id: int, statuses: Sequence[str]) -> int:
        """`finish` for all films of these statuses up to that prediction; how many there were."""
        marks = ", ".join("?" * len(statuses))
        with _translated(self.path):
            cursor = self._db.execute(
                "UPDATE files SET changed_at = ?, state = (SELECT CASE status WHEN 'ok' "
                "THEN 'recorded' ELSE status END FROM predictions WHERE id = prediction_id) "
                "WHERE folder_id = ? AND state = 'read' AND prediction_id <= ? AND "
                f"(SELECT status FROM predictions WHERE id = prediction_id) IN ({marks})",
                (self._stamp(), folder_id, through_id, *statuses),
            )
            return cursor.rowcount

    # What is too old

    def moved_before(self, time: datetime) -> list[tuple[int, Path]]:
        """The films that were moved before that time, by number and place."""
        rows = self._all(
            "SELECT id, moved_to FROM files WHERE moved_to IS NOT NULL AND changed_at < ?",
            _iso(time),
        )
        return [(row[0], Path(os.fsdecode(row[1]))) for row in rows]

    def forget_place(self, file_id: int) -> None:
        """The film lies no longer where it was moved to."""
        self._run("UPDATE files SET moved_to = NULL WHERE id = ?", file_id)

    def forget_results(self, before: datetime) -> int:
        """Delete predictions made before that time, whose rows are written; how many there were.

        What remains of their films is that they were seen, so that none is read again.
        """
        with self.transaction():
            row = self._one(
                "SELECT count(*) FROM predictions WHERE processed_at < ? AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE prediction_id = predictions.id AND state = 'read')",
                _iso(before),
            )
            self._run(
                "DELETE FROM predictions WHERE processed_at < ? AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE prediction_id = predictions.id AND state = 'read')",
                _iso(before),
            )
        return int(row[0])

    def files_without_result(self, before: datetime) -> list[tuple[int, Path, str]]:
        """Files whose results were forgotten: number, folder, name below it."""
        rows = self._all(
            "SELECT files.id, path, name FROM files JOIN folders ON folders.id = folder_id "
            "WHERE prediction_id IS NULL AND moved_to IS NULL AND changed_at < ? "
            "AND state IN ('recorded', 'refused', 'failed', 'set_aside', 'gone')",
            _iso(before),
        )
        return [(row[0], Path(os.fsdecode(row[1])), os.fsdecode(row[2])) for row in rows]

    def forget_file(self, file_id: int) -> None:
        self._run("DELETE FROM files WHERE id = ?", file_id)

    # Predictions

    def predictions(
        self,
        folder: Path | None = None,
        after_id: int = 0,
        limit: int = -1,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str = "",
        status: str = "",
        latest: bool = False,
    ) -> Iterator[Prediction]:
        """In the order in which they were made. until: before that time.

        model: as its rows name it, its name alone, or its sha256 or the beginning of that. latest:
        of each film only the last of those that all else allows.
        """
        conditions: list[str] = ["predictions.id > ?"]
        values: list[Any] = [after_id]
        for condition, value in (
            ("folders.path = ?", None if folder is None else os.fsencode(folder)),
            ("processed_at >= ?", since and _iso(since)),
            ("processed_at < ?", until and _iso(until)),
            ("status = ?", status or None),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if model:
            conditions.append(
                "(model = ? OR substr(model, 1, ?) = ? OR substr(model_sha256, 1, ?) = ?)"
            )
            values += [model, len(model) + 1, model + " ", max(len(model), 8), model.lower()]
        if latest:
            # One of which not even the content is known is told by its file.
            conditions.append(
                "predictions.id IN (SELECT max(predictions.id) FROM predictions "
                f"JOIN folders ON folders.id = folder_id WHERE {' AND '.join(conditions)} "
                "GROUP BY CASE sha256 WHEN '' THEN file_id ELSE sha256 END)"
            )
            values += values
        query = (
            "SELECT predictions.id, folders.path, file_id, source, status, reason, findings, "
            "model, model_sha256, provider, duration_ms, processed_at, sha256, version, patient, "
            "study, instance FROM predictions JOIN folders ON folders.id = folder_id "
            f"WHERE {' AND '.join(conditions)} ORDER BY predictions.id LIMIT ?"
        )
        with _translated(self.path):
            for row in self._db.execute(query, (*values, limit)):
                yield _prediction(row)

    def last_prediction_id(self, folder_id: int | None = None) -> int:
        """Of that folder, or of all; 0: there is none."""
        if folder_id is None:
            row = self._one("SELECT max(id) FROM predictions")
        else:
            row = self._one("SELECT max(id) FROM predictions WHERE folder_id = ?", folder_id)
        return int(row[0] or 0)

    def bearers(self, prediction: Prediction) -> list[Bearer]:
        """The film's file, and then the others of the same content that it answers for."""
        rows = self._all(
            "SELECT files.id, folders.path, name, moved_to, sha256 FROM files "
            "JOIN folders ON folders.id = folder_id WHERE files.id = ? OR prediction_id = ? "
            "ORDER BY files.id != ?, files.id",
            *(prediction.file_id, prediction.id, prediction.file_id),
        )
        return [
            Bearer(
                row[0],
                Path(os.fsdecode(row[1])),
                os.fsdecode(row[2]),
                None if row[3] is None else Path(os.fsdecode(row[3])),
                row[4],
            )
            for row in rows
        ]

    def has_answer(self, sha256: str, model_sha256: str) -> bool:
        """Whether that model has read that content, with an outcome that time does not change."""
        rows = self._all(
            "SELECT DISTINCT code FROM predictions WHERE sha256 = ? AND model_sha256 = ?",
            *(sha256, model_sha256),
        )
        return any(row[0] not in HEALING_CODES for row in rows)

    def finding_names(self) -> list[str]:
        """Every finding that any model has ever looked for here."""
        rows = self._all(
            "SELECT DISTINCT json_extract(value, '$[0]') FROM predictions, json_each(findings) "
            "ORDER BY 1"
        )
        return [str(row[0]) for row in rows]

    # CSV files

    def view_through(self, csv_path: Path, folder_id: int) -> int:
        """The last prediction of the folder that is known to be in the CSV; 0: none."""
        row = self._one(
            "SELECT through_id FROM csv_views WHERE path = ? AND folder_id = ?",
            *(os.fsencode(csv_path), folder_id),
        )
        return 0 if row is None else int(row[0])

    def set_view_through(
        self,
        csv_path: Path,
        folder_id: int,
        through_id: int,
        dialect: str = "standard",
        rotate: str = "never",
    ) -> None:
        self._run(
            "INSERT INTO csv_views VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "through_id = excluded.through_id, dialect = excluded.dialect, "
            "rotate = excluded.rotate",
            *(os.fsencode(csv_path), folder_id, through_id, dialect, rotate),
        )

    def views(self, csv_path: Path | None = None, folder: Path | None = None) -> list[View]:
        """The CSV files that rows have gone to: that one, those of the folder, or all."""
        rows = self._all(
            "SELECT csv_views.path, folders.path, folder_id, through_id, dialect, rotate "
            "FROM csv_views JOIN folders ON folders.id = folder_id "
            "WHERE csv_views.path = coalesce(?, csv_views.path) "
            "AND folders.path = coalesce(?, folders.path) ORDER BY 1, 2",
            *(None if path is None else os.fsencode(path) for path in (csv_path, folder)),
        )
        return [View(Path(os.fsdecode(r[0])), Path(os.fsdecode(r[1])), *r[2:]) for r in rows]

    def csv_size(self, path: Path) -> int | None:
        """How large the file was after the last row that is known to be in it; None: never seen,
        -1: what is in it is to be looked at."""
        row = self._one("SELECT size_bytes FROM csv_files WHERE path = ?", os.fsencode(path))
        return None if row is None else int(row[0])

    def csv_mount_point(self, path: Path) -> Path | None:
        """Of the disk or share that the file was last written to; None: it never was."""
        row = self._one("SELECT mount_point FROM csv_files WHERE path = ?", os.fsencode(path))
        return None if row is None else Path(os.fsdecode(row[0]))

    def set_csv_size(self, path: Path, size_bytes: int, mount_point: Path) -> None:
        self._run(
            "INSERT INTO csv_files VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
            "size_bytes = excluded.size_bytes, mount_point = excluded.mount_point",
            *(os.fsencode(path), size_bytes, os.fsencode(mount_point)),
        )

    def forget_csv(self, path: Path, others: Path | None = None) -> None:
        """The file is to be begun anew; others: what the rest of its rotated view is in, by the
        beginning of their paths, is to be looked at."""
        self._run("DELETE FROM csv_files WHERE path = ?", os.fsencode(path))
        if others is not None:
            start = os.fsencode(others)
            self._run(
                "UPDATE csv_files SET size_bytes = -1 WHERE substr(path, 1, ?) = ?",
                *(len(start), start),
            )

    def n_said_before(self, prediction: Prediction) -> int:
        """How many earlier predictions there are of the same content under the same name by the
        same model."""
        row = self._one(
            "SELECT count(*) FROM predictions WHERE sha256 = ? AND model_sha256 = ? "
            "AND source = ? AND id < ?",
            *(prediction.result.sha256, prediction.result.model_sha256),
            *(os.fsencode(prediction.result.source), prediction.id),
        )
        return int(row[0])

    # Watchers, and what `cxr-edge status` asks

    def beat(self, owner: str, watcher: Watcher) -> None:
        """The watcher is alive, and this is how it does."""
        self._run(
            "INSERT INTO watchers VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET facts = excluded.facts",
            *(owner, self.folder_id(Path(watcher.folder)), json.dumps(asdict(watcher))),
        )

    def forget_watchers(self, folder_id: int) -> None:
        """What earlier watchers of the folder said, which have ended one way or another."""
        self._run("DELETE FROM watchers WHERE folder_id = ?", folder_id)
        self._run("UPDATE files SET owner = '' WHERE folder_id = ? AND owner != ''", folder_id)

    def forget_watcher(self, owner: str) -> None:
        """The watcher has ended, and what it had in hand is anyone's."""
        self._run("DELETE FROM watchers WHERE owner = ?", owner)
        self._run("UPDATE files SET owner = '' WHERE owner = ?", owner)

    def watchers(self, folder_id: int | None = None) -> list[Watcher]:
        """Of the folder, or of all, in no order."""
        rows = self._all(
            "SELECT facts FROM watchers WHERE folder_id = coalesce(?, folder_id)", folder_id
        )
        # A later version may say more of itself.
        known = {field.name for field in fields(Watcher)}
        return [
            Watcher(**{name: value for name, value in json.loads(row[0]).items() if name in known})
            for row in rows
        ]

    def fact(self, name: str) -> str:
        """Something about the ledger as a whole; "" where nothing was said."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name)
        return "" if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        self._run(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            *(name, value),
        )

    def n_waiting(self, folder_id: int) -> dict[str, int]:
        """How many files are in each state that is not the last: seen, settled, read."""
        rows = self._all(
            "SELECT state, count(*) FROM files WHERE folder_id = ? "
            "AND state IN ('seen', 'settled', 'read') GROUP BY state",
            folder_id,
        )
        return {"seen": 0, "settled": 0, "read": 0} | dict(rows)

    def folders(self) -> list[tuple[int, Path]]:
        """Every folder that was ever watched, with its number."""
        rows = self._all("SELECT id, path FROM folders ORDER BY path")
        return [(row[0], Path(os.fsdecode(row[1]))) for row in rows]

    def n_put_off(self, folder_id: int) -> int:
        """How many of the films that wait could not be read before, and are tried again."""
        row = self._one(
            "SELECT count(*) FROM files WHERE folder_id = ? AND state = 'settled' AND owner = '' "
            "AND EXISTS (SELECT 1 FROM attempts WHERE file_id = files.id)",
            folder_id,
        )
        return int(row[0])

    def rows_after(self, folder_id: int, through_id: int) -> tuple[int, datetime | None]:
        """How many predictions come after that one, and when the first of them was made."""
        n_rows, first_id = self._one(
            "SELECT count(*), min(id) FROM predictions WHERE folder_id = ? AND id > ?",
            *(folder_id, through_id),
        )
        if first_id is None:
            return 0, None
        row = self._one("SELECT processed_at FROM predictions WHERE id = ?", first_id)
        return int(n_rows), None if row is None else datetime.fromisoformat(row[0])

    def n_done(self, folder_id: int, since: datetime, until: datetime) -> dict[str, int]:
        """How many films were positive, negative, refused and failed from one time to before the
        other; of a film with several answers the last one counts."""
        rows = self._all(
            # The plus has the index by time used, not the one of all that the folder ever had.
            "SELECT file_id, sha256, status, findings FROM predictions WHERE +folder_id = ? "
            "AND processed_at >= ? AND processed_at < ? ORDER BY id",
            *(folder_id, _iso(since), _iso(until)),
        )
        outcomes = {}
        for file_id, sha256, status, findings in rows:
            leading = next(iter(json.loads(findings)), None)
            if leading is not None:
                status = "positive" if Finding(*leading).positive else "negative"
            outcomes[file_id, sha256] = status
        counts = {"positive": 0, "negative": 0, "refused": 0, "failed": 0}
        return counts | Counter(outcomes.values())

    def n_copies(self, folder_id: int, since: datetime, until: datetime) -> int:
        """How many files of that time have the content of another film, and no row of their own."""
        row = self._one(
            "SELECT count(*) FROM files JOIN predictions ON predictions.id = prediction_id "
            "WHERE files.folder_id = ? AND changed_at >= ? AND changed_at < ? "
            "AND file_id != files.id AND state != 'gone'",
            *(folder_id, _iso(since), _iso(until)),
        )
        return int(row[0])

    def last_done_at(self, folder_id: int) -> datetime | None:
        """When the last film got its answer."""
        row = self._one(
            "SELECT processed_at FROM predictions WHERE folder_id = ? ORDER BY id DESC LIMIT 1",
            folder_id,
        )
        return None if row is None else datetime.fromisoformat(row[0])

    def last_failure(self, folder_id: int) -> Failure | None:
        """The film that was put off or has failed last."""
        rows = [
            self._one(
                "SELECT processed_at, code, source FROM predictions "
                "WHERE folder_id = ? AND status = 'failed' ORDER BY id DESC LIMIT 1",
                folder_id,
            ),
            self._one(
                "SELECT at, code, name FROM attempts JOIN files ON files.id = file_id "
                "WHERE folder_id = ? ORDER BY attempts.id DESC LIMIT 1",
                folder_id,
            ),
        ]
        failures = [
            Failure(datetime.fromisoformat(row[0]), row[1], os.fsdecode(row[2]))
            for row in rows
            if row is not None
        ]
        return max(failures, key=lambda one: one.at, default=None)

    def integrity_trouble(self) -> str:
        """What SQLite finds wrong with the file; "" where it is sound."""
        row = self._one("PRAGMA integrity_check")
        return "" if row[0] == "ok" else str(row[0])

    def _known(self, folder_id: int, result: Result) -> tuple[int, bytes, int] | None:
        """The last prediction by the same model of the same content, but for what may heal.

        In the same folder: another one has a CSV of its own, which would lack the film.
        """
        if not result.sha256 or result.code in HEALING_CODES:
            return None
        rows = self._all(
            "SELECT id, source, file_id, code FROM predictions "
            "WHERE sha256 = ? AND model_sha256 = ? AND folder_id = ? ORDER BY id DESC",
            *(result.sha256, result.model_sha256, folder_id),
        )
        return next(((row[0], row[1], row[2]) for row in rows if row[3] not in HEALING_CODES), None)

    def _insert(
        self, folder_id: int, file_id: int, result: Result, identifiers: Identifiers
    ) -> int:
        findings = [[f.name, f.probability, f.threshold] for f in result.findings]
        row = self._one(
            "INSERT INTO predictions (folder_id, file_id, source, sha256, status, code, reason, "
            "findings, model, model_sha256, provider, version, duration_ms, processed_at, patient, "
            "study, instance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "RETURNING id",
            *(folder_id, file_id, os.fsencode(result.source), result.sha256, result.status),
            *(result.code, _utf8(result.reason), json.dumps(findings), result.model),
            *(result.model_sha256, result.provider, __version__, result.duration_ms),
            *(_iso(result.processed_at), *map(_utf8, asdict(identifiers).values())),
        )
        return int(row[0])

    def _migrate(self) -> None:
        """One process does it; one that comes at the same time finds it done."""
        if self._schema_version() == SCHEMA_VERSION:
            return
        with self.transaction():
            for version in range(self._schema_version(), SCHEMA_VERSION):
                for statement in _statements(MIGRATIONS[version]):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {version + 1}")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # The version stands in the file itself, where an older program looks before it opens it.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fsync_folder(self.path.parent)

    def _schema_version(self) -> int:
        return int(self._one("PRAGMA user_version")[0])

    def _stamp(self) -> str:
        return _iso(self._now())

    def _one(self, query: str, *values: Any) -> Any:
        with _translated(self.path):
            return self._db.execute(query, values).fetchone()

    def _all(self, query: str, *values: Any) -> Sequence[Any]:
        with _translated(self.path):
            return self._db.execute(query, values).fetchall()

    def _run(self, query: str, *values: Any) -> None:
        with _translated(self.path):
            self._db.execute(query, values)


def fsync_folder(folder: Path) -> None:
    """Have a new file's name on the disk too; Windows does so by itself, and cannot be asked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Nor can some shares.
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _prediction(row: Sequence[Any]) -> Prediction:
    result = Result(
        source=Path(os.fsdecode(row[3])),
        status=row[4],
        reason=row[5],
        findings=tuple(Finding(*one) for one in json.loads(row[6])),
        model=row[7],
        model_sha256=row[8],
        provider=row[9],
        duration_ms=row[10],
        processed_at=datetime.fromisoformat(row[11]),
        sha256=row[12],
    )
    return Prediction(
        row[0], Path(os.fsdecode(row[1])), row[2], result, row[13], Identifiers(*row[14:17])
    )


def _statements(script: str) -> Iterator[str]:
    """Of a script of one statement after the other; sqlite3.executescript would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _refuse_foreign(path: Path) -> None:
    """Look at the file's first bytes before SQLite opens it, which may already change it.

    https://www.sqlite.org/fileformat.html#the_database_header: the user version stands at offset
    60, the application id at 68.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise LedgerError(
            f"The ledger {path} cannot be read ({exc.strerror}).", "Check permission and the disk."
        ) from exc
    if not header:
        return
    version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    # One whose making was interrupted has neither yet, and no table.
    if header[:16] != b"SQLite format 3\0" or application not in (0, APPLICATION_ID):
        raise LedgerError(
            f"{path} is not a ledger of cxr-edge.",
            "Name another file; this one was left untouched.",
        )
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"The ledger {path} has schema version {version}; this cxr-edge knows versions up to "
            f"{SCHEMA_VERSION}.",
            "Install the newer cxr-edge again; the ledger was left untouched.",
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LedgerError(
            f"The ledger's folder {folder} cannot be made ({exc.strerror}).",
            "Check permission and free space, or name another place with --ledger.",
        ) from exc


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        if "malformed" in str(exc) or "not a database" in str(exc):
            next_step = "Restore it from a backup, or name another with --ledger."
        else:
            next_step = "Check free space and permission, and whether the disk is there."
        raise LedgerError(f"The ledger {path} cannot be used ({exc}).", next_step) from exc


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _utf8(text: str) -> str:
    """Text as SQLite takes it: half of a surrogate pair, as in a name that is not Unicode, is
    escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
