"""The ledger's file: opened, brought up to date, and changed all or nothing."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path, PurePath
from typing import Any, Self
from urllib.parse import quote

from ..errors import LedgerError
from ..language import Message, why
from .schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, STAND_INS

# Another process holds the ledger for as long as a row takes to reach a slow share.
_BUSY_S = 60.0


class Database:
    """The ledger's file, open. One thread at a time uses it; other threads and processes open
    their own."""

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
            raise LedgerError(
                Message("There is no ledger {path}.", path=path),
                Message("Start cxr-edge watch first."),
            )
        uri = f"{_uri(path.absolute())}?mode={'ro' if read_only else 'rwc'}"
        with translated(path):
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA foreign_keys = ON")
            if read_only:
                for version, statement in STAND_INS.items():
                    if self.schema_version() < version:
                        self._db.execute(statement)
                self._db.execute("PRAGMA query_only = ON")
            else:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA journal_size_limit = 16000000")
                self._migrate()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
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
        with translated(self.path):
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

    def folder_id(self, folder: Path) -> int:
        """The number of a watched folder, which gets one when it is first seen."""
        path = os.fsencode(folder)
        found = self.one("SELECT id FROM folders WHERE path = ?", path)
        if found is None:
            self.run("INSERT INTO folders (path) VALUES (?) ON CONFLICT DO NOTHING", path)
            found = self.one("SELECT id FROM folders WHERE path = ?", path)
        return int(found[0])

    def folders(self) -> list[tuple[int, Path]]:
        """Every folder that was ever watched, with its number."""
        rows = self.all("SELECT id, path FROM folders ORDER BY path")
        return [(row[0], Path(os.fsdecode(row[1]))) for row in rows]

    def fact(self, name: str) -> str:
        """Something about the ledger as a whole; "" where nothing was said."""
        row = self.one("SELECT value FROM facts WHERE name = ?", name)
        return "" if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        self.run(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            *(name, value),
        )

    def integrity_trouble(self) -> str:
        """What SQLite finds wrong with the file; "" where it is sound."""
        row = self.one("PRAGMA integrity_check")
        return "" if row[0] == "ok" else str(row[0])

    def _migrate(self) -> None:
        """One process does it; one that comes at the same time finds it done."""
        if self.schema_version() == SCHEMA_VERSION:
            return
        with self.transaction():
            for version in range(self.schema_version(), SCHEMA_VERSION):
                for statement in _statements(MIGRATIONS[version]):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {version + 1}")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # The version stands in the file itself, where an older program looks before it opens it.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fsync_folder(self.path.parent)

    def schema_version(self) -> int:
        return int(self.one("PRAGMA user_version")[0])

    def stamp(self) -> str:
        return iso(self._now())

    def one(self, query: str, *values: Any) -> Any:
        with translated(self.path):
            return self._db.execute(query, values).fetchone()

    def all(self, query: str, *values: Any) -> Sequence[Any]:
        with translated(self.path):
            return self._db.execute(query, values).fetchall()

    def run(self, query: str, *values: Any) -> None:
        with translated(self.path):
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


def _uri(path: PurePath) -> str:
    """As SQLite takes it (sqlite.org/uri.html); Path.as_uri puts the server of a Windows share
    where SQLite refuses one."""
    posix = path.as_posix()
    return "file://" + quote(os.fsencode(posix if posix[0] == "/" else f"/{posix}"))


def iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def midnight(day: date, timezone: tzinfo | None = None) -> datetime:
    """When a day begins there; None: where this machine is."""
    begins = datetime(day.year, day.month, day.day, tzinfo=timezone)
    return begins if timezone else begins.astimezone()


def utf8(text: str) -> str:
    """Text as SQLite takes it: half of a surrogate pair, as in a name that is not Unicode, is
    escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


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

    https://www.sqlite.org/fileformat.html#the_database_header: the schema cookie, which counts the
    changes of the tables, stands at offset 40, the user version at 60, the application id at 68.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise LedgerError(
            Message("The ledger {path} cannot be read ({why}).", path=path, why=why(exc)),
            Message("Check permission and the disk."),
        ) from exc
    if not header:
        return
    schema, version, application = (
        int.from_bytes(header[start : start + 4], "big") for start in (40, 60, 68)
    )
    # One whose making was interrupted has none of them yet.
    is_ours = application == APPLICATION_ID or not (application or version or schema)
    if header[:16] != b"SQLite format 3\0" or not is_ours:
        raise LedgerError(
            Message("{path} is not a ledger of cxr-edge.", path=path),
            Message("Name another file; this one was left untouched."),
        )
    if version > SCHEMA_VERSION:
        raise LedgerError(
            Message(
                "The ledger {path} has schema version {version}; this cxr-edge knows versions up "
                "to {known}.",
                path=path,
                version=version,
                known=SCHEMA_VERSION,
            ),
            Message("Install the newer cxr-edge again; the ledger was left untouched."),
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LedgerError(
            Message(
                "The ledger's folder {folder} cannot be made ({why}).", folder=folder, why=why(exc)
            ),
            Message("Check permission and free space, or name another place with --ledger."),
        ) from exc


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        if "malformed" in str(exc) or "not a database" in str(exc):
            next_step = Message("Restore it from a backup, or name another with --ledger.")
        else:
            next_step = Message("Check free space and permission, and whether the disk is there.")
        raise LedgerError(
            Message("The ledger {path} cannot be used ({why}).", path=path, why=exc), next_step
        ) from exc
