"""Watch a folder: every radiograph that appears gets its row, once.

What to read is decided by pure code (SettleTracker) from what a scan saw and an injected clock;
the loop around it does the reading and writing.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import RadiographError, RecordError
from .model import Model
from .radiograph import open_radiograph
from .reading import Result, find_radiographs, predict_contained
from .record import CsvRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What a scan sees of a file."""

    size_bytes: int
    modified_ns: int


class SettleTracker:
    """Tells which files have stopped changing and were not handed out as they are now."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since: dict[Path, tuple[Look, float]] = {}
        self._handed_out: dict[Path, Look] = {}

    def settled(self, looks: Mapping[Path, Look], now_s: float) -> list[Path]:
        """The files to read now: seen alike in two scans at least settle_s apart.

        A file that keeps growing is never given up, and one that changes after it was handed out
        is handed out again.
        """
        for gone in self._since.keys() - looks.keys():
            del self._since[gone]
            self._handed_out.pop(gone, None)
        ready = []
        for path, look in looks.items():
            if self._handed_out.get(path) == look:
                continue
            seen = self._since.get(path)
            if seen is None or seen[0] != look:
                self._since[path] = (look, now_s)
            elif now_s - seen[1] >= self._settle_s:
                ready.append(path)
        return ready

    def hand_out(self, path: Path) -> None:
        """`path` is being read as it was last seen; it is settled again only if it changes."""
        self._handed_out[path] = self._since[path][0]


def watch(
    folder: Path,
    model: Model,
    record: CsvRecord,
    *,
    stopping: Callable[[], bool],
    wait: Callable[[float], object],
    settle_s: float = 2.0,
    poll_interval_s: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
    on_result: Callable[[Result], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Read every radiograph that is or appears below `folder`, until `stopping()`.

    A film whose file and content already have a row in `record` is passed over, so that a restart
    repeats nothing. While the CSV cannot be written its rows wait in memory, in order.
    wait: sleeps that many seconds or until it is time to stop.
    """
    tracker = SettleTracker(settle_s)
    recorded = record.recorded()
    recorded_files = {file for file, _ in recorded}
    waiting: deque[Result] = deque()
    trouble = ""
    while not stopping():
        try:
            looks = _scan(folder)
        # A share that drops comes back; until then there is nothing to read.
        except OSError as exc:
            trouble = _say_once(trouble, f"{folder} cannot be listed ({exc.strerror}).")
            looks = None
        for path in tracker.settled(looks, clock()) if looks is not None else ():
            if stopping():
                break
            tracker.hand_out(path)
            if str(path) in recorded_files and _is_recorded(path, recorded):
                continue
            waiting.append(predict_contained(path, model, thresholds))
            trouble = _write(waiting, record, on_result, trouble)
        trouble = _write(waiting, record, on_result, trouble)
        if looks is not None and not waiting:
            trouble = ""
        if not stopping():
            wait(poll_interval_s)
    if waiting:
        raise RecordError(
            f"{len(waiting)} rows could not be written to {record.path}.",
            "Their films are read again when watch is started with a CSV that can be written.",
        )


def _scan(folder: Path) -> dict[Path, Look]:
    looks = {}
    for path in find_radiographs(folder):
        try:
            status = path.stat()
        except FileNotFoundError:  # gone between listing and looking
            continue
        looks[path] = Look(status.st_size, status.st_mtime_ns)
    return looks


def _is_recorded(path: Path, recorded: set[tuple[str, str]]) -> bool:
    try:
        sha256 = open_radiograph(path).sha256
    except RadiographError:
        sha256 = ""  # as in the row that such a film has got
    return (str(path), sha256) in recorded


def _write(
    waiting: deque[Result],
    record: CsvRecord,
    on_result: Callable[[Result], object],
    trouble: str,
) -> str:
    """Write the rows that wait, oldest first; what keeps them is said once and returned."""
    try:
        while waiting:
            record.append(waiting[0])
            on_result(waiting.popleft())
    except RecordError as exc:
        return _say_once(trouble, f"{exc} {len(waiting)} rows wait.")
    return trouble


def _say_once(said: str, trouble: str) -> str:
    if trouble != said:
        logger.warning("%s", trouble)
    return trouble
