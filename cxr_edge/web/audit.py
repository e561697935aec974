"""Who looked at which film, and did what: a JSON object per line, appended and rotated by size.

A film is told by its number in the ledger. Neither its name nor a patient's is ever in a line, nor
what somebody wrote.
"""

import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..record import cannot_be_written

ACTIONS = frozenset(
    {
        "view_list",
        "view_film",
        "view_picture",
        "view_heatmap",
        "view_report",
        "view_model",
        "view_site",
        "verdict",
        "upload",
        "download",
        "login",
        "login_failed",
        "logout",
    }
)
# What a power cut must not take back.
_DURABLE = frozenset({"verdict", "login", "login_failed", "logout"})
_MAX_NAME = 200


def _now() -> datetime:
    return datetime.now(UTC)


class Audit:
    """The file, for many threads and processes at a time: each line is whole.

    It is opened for each line, so that it may be read, moved or deleted meanwhile. It is for its
    owner's eyes alone; beside it lies an empty PATH.lock.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], datetime] = _now,
        max_bytes: int = 10_000_000,
        keep: int = 10,
    ) -> None:
        """max_bytes: beyond, path becomes path.1, that one path.2, and so on to path.{keep}."""
        self.path = path
        self._now, self._max_bytes, self._keep = now, max_bytes, keep
        self._writing = threading.Lock()

    def say(
        self, action: str, *, who: str, address: str, film: int | None = None, **counts: int
    ) -> None:
        """Write a line: at (UTC), who, from, action, film and the counts.

        who: "" for nobody who is known. It blocks. Raises RecordError: it is not written, so what
        it tells of must not be done. ValueError: no such action. TypeError: a count that is none.
        """
        if action not in ACTIONS:
            raise ValueError(f"{action!r} is no action")
        numbers = counts if film is None else {"film": film, **counts}
        for name, number in numbers.items():
            # A text may say something of a patient.
            if type(number) is not int:
                raise TypeError(f"{name} must be a whole number")
        line = {
            "at": self._now().astimezone(UTC).isoformat(timespec="milliseconds"),
            "who": who[:_MAX_NAME],
            "from": address[:_MAX_NAME],
            "action": action,
            **numbers,
        }
        data = json.dumps(line).encode() + b"\n"
        try:
            with self._writing, self._locked():
                self._append(data, durable=action in _DURABLE)
        except OSError as exc:
            raise cannot_be_written(self.path, exc) from exc

    def _append(self, data: bytes, durable: bool) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size + len(data) > self._max_bytes:
                self._rotate()
        with open(self.path, "a+b", buffering=0, opener=_for_its_owner) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a power cut left half a line
                    data = b"\n" + data
            try:
                if file.write(data) != len(data):  # the disk became full half-way
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if durable:
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise

    def _rotate(self) -> None:
        """Where another program holds one, the file grows on."""
        with suppress(OSError):
            for n in range(self._keep, 1, -1):
                with suppress(FileNotFoundError):
                    self._older(n - 1).replace(self._older(n))
            self.path.replace(self._older(1))

    def _older(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No other process appends or rotates meanwhile."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        handle = _for_its_owner(str(lock), os.O_RDWR | os.O_CREAT)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)  # waits for ten seconds at most
                try:
                    yield
                finally:
                    os.lseek(handle, 0, os.SEEK_SET)
                    msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX)
                yield  # closing it lets go of it
        finally:
            os.close(handle)


def _for_its_owner(path: str, flags: int) -> int:
    handle = os.open(path, flags, 0o600)
    if sys.platform != "win32":
        with suppress(OSError):  # another user's
            os.fchmod(handle, 0o600)
    return handle
