"""One watcher per folder, unless all of them were started to share the work.

On one machine a lock of the system decides, which vanishes with its process: SQLite's, on an empty
database beside the ledger, so that nothing is held open in the watched folder and a share can be
unmounted. Watchers with another ledger, or of another machine, are known by a beacon: a hidden file
in the watched folder that each watcher writes anew all the time.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import BusyError, LedgerError
from ..language import Message, why
from ..strict import from_data

logger = logging.getLogger(__name__)

BEACON_NAME = ".cxr-edge-watch.json"
BEAT_S = 10.0
# A beacon this old was left behind. Six beats: a share may be slow.
SILENT_S = 60.0
# `cxr-edge status` takes the lock for an instant.
LOCK_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Beacon:
    """Who watches a folder.

    namespace: within which `pid` counts (Linux containers share a host's name). birth: what
    tells this process from a later one with the same pid, see birth_of. claim: random. ledger:
    which ledger, see _ledger_id. since: ISO 8601.
    """

    host: str
    namespace: str
    pid: int
    birth: str
    claim: str
    ledger: str
    shared: bool
    since: str


def is_alive(
    beacon: Beacon, here: Beacon, age_s: float, birth_of: Callable[[int], str | None]
) -> bool:
    """Whether the watcher that wrote `beacon` still runs.

    here: this process. age_s: since it was last written, by the clock that wrote it if it can be
    had. birth_of: see below.
    """
    # Where clocks differ, a beacon may come from the future.
    fresh = abs(age_s) < SILENT_S
    if (beacon.host, beacon.namespace) != (here.host, here.namespace):
        return fresh
    birth = birth_of(beacon.pid)
    if birth is None:
        return False
    return birth == beacon.birth if birth and beacon.birth else fresh


class Claim:
    """A context manager that holds a folder for this process."""

    def __init__(self, folder: Path, ledger_path: Path, shared: bool = False) -> None:
        """folder: may be absent, as a share that is off. shared: with the other watchers of this
        folder that use the same ledger and are shared too."""
        self.folder = folder.resolve()
        self.ledger_path = ledger_path.resolve()
        self.shared = shared
        self._path = self.folder / BEACON_NAME
        self._lock: sqlite3.Connection | None = None
        self._me: Beacon | None = None
        self._last_beat_s = -BEAT_S
        self._was_mount = False

    def __enter__(self) -> Self:
        """Raises BusyError where another watcher has the folder, LedgerError where the lock cannot
        be made."""
        try:
            self.ledger_path.parent.mkdir(parents=True, exist_ok=True)
            self._me = _myself(_ledger_id(self.ledger_path), self.shared)
        except OSError as exc:
            raise LedgerError(
                Message(
                    "{folder} cannot be made ({why}).", folder=self.ledger_path.parent, why=why(exc)
                ),
                Message("Check permission."),
            ) from exc
        lock_path = _lock_path(self.folder, self.ledger_path)
        self._lock = _lock(lock_path, self.shared, LOCK_TIMEOUT_S)
        if self._lock is None:
            raise self._busy(_read(lock_path.with_suffix(".json")), same_ledger=True)
        try:
            self._beat(time.monotonic())
        except BusyError:
            self._lock.close()
            raise
        try:
            lock_path.with_suffix(".json").write_text(_text(self._me), encoding="utf-8")
        except OSError as exc:  # it only serves a message
            logger.warning("%s cannot be written (%s).", lock_path.parent, exc.strerror)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            beacon = _read(self._path)
            if beacon and self._me and beacon.claim == self._me.claim:
                self._path.unlink()
        except OSError:
            pass  # the share is away: the beacon grows old by itself
        if self._lock:
            self._lock.close()

    def beat(self) -> None:
        """Say that the folder is watched; to be called all the time, it writes every BEAT_S.

        A folder that is read-only or away is no error. It may take as long as the share does.
        Raises BusyError where another watcher has come: while the share was away, or this machine
        slept.
        """
        now_s = time.monotonic()
        if now_s - self._last_beat_s >= BEAT_S:
            self._beat(now_s)

    def _beat(self, now_s: float) -> None:
        assert self._me, "beat() belongs inside `with`"
        self._last_beat_s = now_s
        # With an exclusive claim there is one such file however often the process is killed.
        name = f"{self._me.ledger}-{self._me.pid}" if self.shared else self._me.ledger
        new = self.folder / f".cxr-edge-watch-{name}.tmp"
        written_s = None
        try:
            # Into an empty mount point nothing is written: some file systems would not mount then.
            mounted = os.path.ismount(self.folder)
            if self._was_mount and not mounted:
                return
            self._was_mount = mounted
            new.unlink(missing_ok=True)
            with new.open("x", encoding="utf-8") as file:  # "x": follows no link
                file.write(_text(self._me))
            written_s = new.stat().st_mtime  # now, by the clock of the folder's machine
        except OSError as exc:
            logger.debug("The folder takes no beacon (%s).", exc.strerror)
        other = self._other(written_s)
        try:
            if other:
                new.unlink(missing_ok=True)
            elif written_s is not None:
                new.replace(self._path)
        except OSError as exc:
            logger.debug("The folder takes no beacon (%s).", exc.strerror)
        if other:
            raise self._busy(other, same_ledger=False)

    def _other(self, now_s: float | None) -> Beacon | None:
        """The living watcher with another ledger whose beacon is in the folder."""
        assert self._me
        try:
            age_s = (time.time() if now_s is None else now_s) - self._path.stat().st_mtime
        except OSError:
            return None
        beacon = _read(self._path)
        # Among watchers with this ledger the lock has decided.
        if beacon is None or beacon.ledger == self._me.ledger:
            return None
        return beacon if is_alive(beacon, self._me, age_s, birth_of) else None

    def _busy(self, other: Beacon | None, *, same_ledger: bool) -> BusyError:
        who = Message("another cxr-edge")
        # Of several that share, the last one's name may have outlived it.
        if other and (not same_ledger or birth_of(other.pid) == other.birth):
            who = Message(
                "another cxr-edge (process {pid} on {host}, since {since})",
                pid=other.pid,
                host=other.host,
                since=other.since,
            )
        if not same_ledger:
            return BusyError(
                Message(
                    "{folder} is already watched by {who}, with another ledger.",
                    folder=self.folder,
                    who=who,
                ),
                Message(
                    "Stop that one first: only watchers with the same ledger, on one machine, can "
                    "share the work of a folder. Of one that has crashed on another machine "
                    "nothing is left after {seconds} s.",
                    seconds=round(SILENT_S),
                ),
            )
        return BusyError(
            Message("{folder} is already watched by {who}.", folder=self.folder, who=who),
            Message("Stop that one first, or start every watcher of this folder with --share."),
        )


def is_held(folder: Path, ledger_path: Path) -> bool:
    """Whether a watcher with this ledger, on this machine, has the folder now.

    Raises LedgerError where the lock cannot be looked at.
    """
    path = _lock_path(folder.resolve(), ledger_path.resolve())
    if not path.exists():
        return False
    lock = _lock(path, shared=False, timeout_s=0)
    if lock is None:
        return True
    lock.close()
    return False


def birth_of(pid: int) -> str | None:
    """What tells a living process from others that had or will have its pid; None: it is dead.

    "" where it lives and the system does not tell more.
    """
    if sys.platform == "win32":
        return _windows_birth_of(pid)
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            state, *_, start = stat.rpartition(b")")[2].split()[:20]  # proc_pid_stat(5)
            return None if state in b"ZX" else f"{_boot_id()} {start.decode()}"
        except OSError:  # it is dead, or /proc hides the processes of others
            pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _windows_birth_of(pid: int) -> str | None:
    # Not os.kill: on Windows its signal 0 is Ctrl-C.
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.restype = wintypes.HANDLE
        process = kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not process:
            return "" if ctypes.get_last_error() == 5 else None  # ERROR_ACCESS_DENIED
        handle = wintypes.HANDLE(process)
        try:
            code = wintypes.DWORD()
            if kernel32.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != 259:
                return None  # 259: STILL_ACTIVE
            times = [wintypes.FILETIME() for _ in range(4)]
            if not kernel32.GetProcessTimes(handle, *map(ctypes.byref, times)):
                return ""
            return str(times[0].dwHighDateTime << 32 | times[0].dwLowDateTime)
        finally:
            kernel32.CloseHandle(handle)
    return None


def _myself(ledger: str, shared: bool) -> Beacon:
    pid = os.getpid()
    namespace = ""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            namespace = str(Path("/proc/self/ns/pid").readlink())
    return Beacon(
        host=platform.node(),
        namespace=namespace,
        pid=pid,
        birth=birth_of(pid) or "",
        claim=uuid.uuid4().hex,
        ledger=ledger,
        shared=shared,
        since=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
    )


def _ledger_id(path: Path) -> str:
    """Alike for two watchers that use the same ledger: on one machine, the same file."""
    machine = platform.node()
    if sys.platform == "linux":  # two containers may have one name, or one ledger
        machine = _boot_id() or machine
    folder = path.parent.stat()
    text = f"{machine}\0{folder.st_dev}\0{folder.st_ino}\0{path.name}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _lock_path(folder: Path, ledger_path: Path) -> Path:
    """The lock of a folder, both resolved."""
    digest = hashlib.sha256(os.fsencode(os.path.normcase(folder))).hexdigest()[:16]
    return ledger_path.parent / f"watch-{digest}.lock"


def _lock(path: Path, shared: bool, timeout_s: float) -> sqlite3.Connection | None:
    """The lock, held until it is closed or this process ends; None where another has it.

    Raises LedgerError where it cannot be made.
    """
    lock = None
    try:
        lock = sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False
        )
        lock.execute("PRAGMA journal_mode = MEMORY")  # no second file: nothing is ever written
        if shared:
            lock.execute("BEGIN")
            lock.execute("SELECT * FROM sqlite_master").fetchall()  # now the shared lock is held
        else:
            lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as exc:
        if lock:
            lock.close()
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return None
        raise LedgerError(
            Message(
                "The lock beside the ledger, {path}, cannot be used ({why}).", path=path, why=exc
            ),
            Message("Check permission to write in that folder."),
        ) from exc
    return lock


def _text(beacon: Beacon) -> str:
    return json.dumps(asdict(beacon), ensure_ascii=True)


def _read(path: Path) -> Beacon | None:
    """The beacon of a file; None where there is none, or what is there is not one."""
    try:
        with path.open(encoding="utf-8") as file:
            data = json.loads(file.read(4096))
        # A later version may know more.
        return from_data(Beacon, {field.name: data[field.name] for field in fields(Beacon)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
