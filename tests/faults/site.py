"""A watched folder, `cxr-edge watch` as a real process beside it, and what it has written."""

import contextlib
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.turns import plain_environment
from tests.conftest import ROOT
from tests.tiny_model import write_tiny_model

_PROC = Path("/proc")
_MARK = "CXR_EDGE_FAULTS_MARK"
# Something must have happened within so long.
_PATIENCE_S = 90.0


class Site:
    """Where films come in (`folder`), and where results go."""

    def __init__(self, base: Path, settings: str = "", **tables: str) -> None:
        """settings: TOML lines of the first level; tables: those of others, by name."""
        self.base = base
        self.folder = base / "films in"
        self.state = base / "state"
        self.results = base / "results ü"
        self.ledger = self.state / "ledger.db"
        self.csv = self.results / "results.csv"
        self.aside = base / "put away"
        for folder in (self.folder, self.state, self.results):
            folder.mkdir(parents=True)
        self.model = write_tiny_model(base / "tiny.onnx")
        lines = {
            "csv": f"path = '{self.csv}'",
            "model": f"name = '{self.model}'\ndevice = 'cpu'",
            "workers": "count = 2",
        }
        for name, text in tables.items():
            lines[name] = f"{lines.get(name, '')}\n{text}"
        first = {"settle_s": "0.2", "poll_interval_s": "0.2"}
        first |= dict(line.split(" = ", 1) for line in settings.splitlines() if line)
        self.config = base / "watch.toml"
        self.config.write_text(
            f"folder = '{self.folder}'\nledger = '{self.ledger}'\n"
            + "".join(f"{name} = {value}\n" for name, value in first.items())
            + "".join(f"[{name}]\n{text}\n" for name, text in lines.items()),
            encoding="utf-8",
        )
        self._n_started = 0

    def start(self, *options: object, through: Sequence[str] = ()) -> "Running":
        """The command; through: a command that starts it."""
        self._n_started += 1
        return Running(
            [*through, sys.executable, "-m", "cxr_edge", "watch", "--config", str(self.config)]
            + [str(option) for option in options],
            self.base / f"said {self._n_started}",
            self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of this user's own is seen or touched."""
        own = {
            "CXR_EDGE_MODELS": str(self.base / "models"),
            "XDG_CACHE_HOME": str(self.base / "cache"),
            "LOCALAPPDATA": str(self.base / "cache"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**plain_environment(), **own}

    def put(self, name: str, data: bytes) -> str:
        """A film in the folder, written in one go; returns its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    # What was written

    def rows(self) -> list[dict[str, str]]:
        """The CSV's rows; none where it is not there."""
        return rows_of(self.csv)

    def predictions(self) -> list[tuple[str, str, str]]:
        """Of the ledger: sha256, status and code of every one."""
        return [
            (str(sha256), str(status), str(code))
            for sha256, status, code in asked(
                self.ledger, "SELECT sha256, status, code FROM predictions ORDER BY id"
            )
        ]

    def wait_for_films(self, sha256s: Iterable[str], running: "Running") -> None:
        """Until all are in ledger and CSV, or nothing has happened for long."""
        wanted = set(sha256s)

        def lacking() -> int:
            in_ledger = {one[0] for one in self.predictions()}
            in_csv = {row.get("sha256") or "" for row in self.rows()}
            return len(wanted - in_ledger) + len(wanted - in_csv)

        wait_while_it_falls(lacking, running)
        time.sleep(0.5)  # a row too many would come now

    def wrongs(self, films: Mapping[str, str], n_statuses: Iterable[str] = ("ok",)) -> list[str]:
        """What is wrong in the end; films: every sha256 that came, with a name for it."""
        wrongs = []
        statuses = set(n_statuses)
        rows = self.rows()
        for place, found in (
            ("ledger", Counter(one[0] for one in self.predictions())),
            ("CSV", Counter(row.get("sha256") or "" for row in rows)),
        ):
            lost = [name for sha256, name in films.items() if not found[sha256]]
            doubled = [name for sha256, name in films.items() if found[sha256] > 1]
            unknown = [sha256 for sha256 in found if sha256 not in films]
            wrongs += [f"{len(lost)} not in the {place}: {sorted(lost)[:3]}"] if lost else []
            wrongs += [f"{len(doubled)} twice in the {place}: {doubled[:3]}"] if doubled else []
            wrongs += [f"{len(unknown)} odd rows in the {place}: {unknown[:3]}"] if unknown else []
        other = [row for row in rows if row.get("status") not in statuses]
        wrongs += [f"{len(other)} rows are not {statuses}: {other[:2]}"] if other else []
        if trouble := integrity_trouble(self.ledger, self.base):
            wrongs.append(f"the ledger: {trouble}")
        return wrongs


class Running:
    """A process and everything that it started."""

    def __init__(self, command: list[str], said: Path, environment: dict[str, str]) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self.out, self.err = said.with_suffix(".out"), said.with_suffix(".err")
        flags = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**environment, name: value},
                creationflags=flags,
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def told(self) -> list[str]:
        """The lines on its standard output, one per film."""
        return self.out.read_text(encoding="utf-8", errors="replace").splitlines()

    def complained(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, done: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if not self.lives:
                raise AssertionError(f"it has ended ({what}): {self.complained()[-500:]}")
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {timeout_s:g} s: {what}. {self.complained()[-500:]}"
                )
            time.sleep(0.02)

    def wait_until_it_watches(self) -> None:
        self.wait_until(lambda: "Ctrl-C to stop" in self.complained(), "watching")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, timeout_s: float = 60.0) -> tuple[int, float]:
        """Ask it to end: its exit code, and after how many seconds."""
        started = time.monotonic()
        if sys.platform == "win32":
            self.process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self.process.terminate()
        code = self.process.wait(timeout_s)
        return code, time.monotonic() - started

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It stands still meanwhile, so that what it has written is of one moment."""
        self.process.send_signal(signal.SIGSTOP)
        while b") T" not in _bytes(self.pid, "stat"):
            time.sleep(0.001)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def family(self) -> list[int]:
        """Every living process that bears its mark; empty where the system has no /proc."""
        return [pid for pid in _pids() if self._mark.encode() in _bytes(pid, "environ")]

    def leaves_nobody(self, timeout_s: float = 5.0) -> bool:
        """Whether, after its end, all that it started ends too."""
        deadline = time.monotonic() + timeout_s
        while self.family():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def resident_mb(self) -> float:
        """What it and all that it started have in memory."""
        return sum(self._status(pid, b"VmRSS:") for pid in self.family()) / 1024

    def cpu_s(self) -> float:
        """Processor time that it and all that it started have used."""
        ticks = 0
        for pid in self.family():
            numbers = _bytes(pid, "stat").rpartition(b")")[2].split()  # proc_pid_stat(5)
            ticks += int(numbers[11]) + int(numbers[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def n_handles(self) -> int:
        n_handles = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                n_handles += len(list((_PROC / str(pid) / "fd").iterdir()))
        return n_handles

    def n_threads(self) -> int:
        return sum(self._status(pid, b"Threads:") for pid in self.family())

    def _status(self, pid: int, name: bytes) -> int:
        for line in _bytes(pid, "status").splitlines():
            if line.startswith(name):
                return int(line.split()[1])
        return 0


def rows_of(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def asked(ledger: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    """What the ledger says; nothing as long as there is none, or its tables are being made."""
    if not ledger.exists():
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as db:
            return db.execute(query, values).fetchall()
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc) or "unable to open" in str(exc):
            return []
        raise


def integrity_trouble(ledger: Path, scratch: Path) -> str:
    """What SQLite finds wrong with a copy of the ledger, so that its log is not tidied up here.

    "" where it is sound, or not yet there.
    """
    copy = scratch / f"check-{uuid.uuid4().hex}"
    copy.mkdir()
    try:
        copy_ledger(ledger, copy / ledger.name)
        if not (copy / ledger.name).exists():
            return ""
        return integrity_trouble_of(copy / ledger.name)
    finally:
        shutil.rmtree(copy)


def integrity_trouble_of(ledger: Path) -> str:
    try:
        with contextlib.closing(sqlite3.connect(ledger)) as db:
            said = str(db.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.Error as exc:
        said = f"{type(exc).__name__}: {exc}"
    return "" if said == "ok" else said


def copy_ledger(ledger: Path, target: Path) -> None:
    """The file and its write-ahead log, while nobody writes."""
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(f"{ledger}{suffix}", f"{target}{suffix}")


def wait_while_it_falls(lacking: Callable[[], int], running: Running) -> None:
    """Until nothing is lacking, the process has ended, or nothing has changed for long."""
    least, since_s = lacking(), time.monotonic()
    while least and running.lives and time.monotonic() - since_s < _PATIENCE_S:
        time.sleep(0.2)
        if (now := lacking()) < least:
            least, since_s = now, time.monotonic()


def _pids() -> Iterator[int]:
    if _PROC.is_dir():
        yield from (int(one.name) for one in _PROC.iterdir() if one.name.isdigit())


def _bytes(pid: int, name: str) -> bytes:
    try:
        data = (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it has just ended, or is another user's
        return b""
    return data
