"""A watch whose rounds, time and readers are in the test's hand: nothing runs beside it."""

import csv
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cxr_edge.csv_view import CsvView
from cxr_edge.ledger import Ledger, Watcher
from cxr_edge.reading import predict_contained
from cxr_edge.watch.loop import Watch
from cxr_edge.watch.readers import Reading
from cxr_edge.watch.scan import Scanner, Wanted
from cxr_edge.watch.settings import Settings


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wall_offset = timedelta()

    def __call__(self) -> float:
        return self.now_s

    def wall(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=self.now_s) + self.wall_offset


class AtOnce:
    """Stands in for an executor: work is done when it is handed in."""

    def submit(self, work, *args):
        future = Future()
        try:
            future.set_result(work(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future


class ReadersAtOnce:
    """Stands in for readers.Readers, without processes: a film is read when its result is asked
    for. `becomes` may name another result for a path; `before` is called with it."""

    def __init__(self, model, look) -> None:
        self.model, self.look = model, look
        self.queue, self.read = [], []
        self.becomes, self.before = {}, lambda path: None
        self.per_round = 1000

    @property
    def n_in_hand(self) -> int:
        return len(self.queue)

    @property
    def n_unread(self) -> int:
        return 0

    def submit(self, path, look) -> None:
        self.queue.append((path, look))

    def finished(self) -> list[Reading]:
        now, self.queue = self.queue[: self.per_round], self.queue[self.per_round :]
        return [self._read(path, look) for path, look in now]

    def close(self, timeout_s) -> None:
        self.queue.clear()

    def _read(self, path, look) -> Reading:
        self.before(path)
        try:
            if self.look(path) != look:
                return Reading(path, look, None)
        except FileNotFoundError:
            return Reading(path, look, None, gone=True)
        self.read.append(path)
        result = predict_contained(path, self.model)
        if path in self.becomes:
            result = self.becomes[path](result)
        return Reading(path, look, result)


class Bench:
    """One folder, watched: `rounds` steps, each a second after the other."""

    def __init__(self, tmp_path: Path, model, clock: Clock | None = None, **options) -> None:
        self.folder = tmp_path / "scans ü"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.csv_path = tmp_path / "results.csv"
        self.clock = clock or Clock()
        view_options = {"path": self.csv_path} | options.pop("csv", {})
        settings = Settings(
            self.folder, ledger=tmp_path / "state" / "ledger.db", settle_s=0, **options
        )
        settings = _with_csv(settings, view_options)
        self.ledger = Ledger(settings.ledger_path, now=self.clock.wall)
        folder_id = self.ledger.folder_id(self.folder)
        self.ledger.forget_watchers(folder_id)
        scanner = Scanner(
            self.folder,
            self.ledger,
            folder_id,
            Wanted(settings.include, settings.exclude, settings.subfolders),
            str,
            newest_first=settings.newest_first,
        )
        self.readers = ReadersAtOnce(model, scanner.look)
        self.watch = Watch(
            settings,
            self.ledger,
            self.readers,
            scanner,
            scanner,
            AtOnce(),
            n_ahead=4,
            watcher=Watcher(
                folder=str(self.folder),
                host="here",
                pid=1,
                started_at="",
                beat_at="",
                version="0",
                model="tiny 1",
                model_sha256="0",
                provider="CPUExecutionProvider",
                csv="",
                n_waiting=0,
                trouble="",
            ),
            owner=f"watcher-{id(self)}",
            view=CsvView(self.csv_path, self.folder, self.ledger),
            clock=self.clock,
            wall=self.clock.wall,
        )

    def rounds(self, n: int = 6, seconds: float = 1.0) -> "Bench":
        for _ in range(n):
            self.watch.step()
            self.clock.now_s += seconds
        return self

    def stop(self) -> None:
        self.watch.stop()
        self.ledger.close()

    @property
    def rows(self) -> list[dict[str, str]]:
        if not self.csv_path.exists():
            return []
        with self.csv_path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def names(self) -> list[str]:
        return [Path(row["file"]).name for row in self.rows]

    def states(self) -> dict[str, str]:
        rows = self.ledger.all("SELECT name, state FROM files ORDER BY name")
        return {name.decode("utf-8", "surrogateescape"): state for name, state in rows}


def _with_csv(settings: Settings, options) -> Settings:
    from dataclasses import replace

    return replace(settings, csv=replace(settings.csv, **options))
