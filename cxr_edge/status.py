"""How the watched folders do: what is known of each, and what of it needs a person.

`look` collects the facts and changes nothing; `of_folder` and `of_disk` judge them.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

from .drift.comparison import Comparison, next_step, summary
from .errors import LedgerError
from .language import Message
from .ledger import Failure, Ledger, Watcher, midnight
from .strict import from_data
from .watch.claim import is_held

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")

# A watcher beats every ten seconds.
SILENT_S = 120.0
ROWS_WAIT_S = 300.0
LOW_BYTES, FULL_BYTES = 1_000_000_000, 100_000_000
# A share that is away may not answer for minutes; monitoring does not wait for that.
ANSWER_S = 3.0

Level = Literal["warning", "critical"]
State = Literal["watched", "starting", "hanging", "killed", "stopped"]


@dataclass(frozen=True)
class Trouble:
    """What needs a person, and the next step."""

    level: Level
    says: str
    next_step: str


@dataclass(frozen=True)
class Limits:
    """From where on it is a warning. idle_h: hours without a film; None: as long as it likes."""

    n_waiting: int = 1000
    idle_h: float | None = None


@dataclass(frozen=True)
class Folder:
    """What is known of a watched folder.

    held: whether a watcher has it now; None: that cannot be told. watchers: as they last said
    themselves, the latest one first. n_seen, n_settled, n_read: files in these states. n_put_off:
    of those settled, the ones that could not be read before. csv: what its rows go to; n_rows: how
    many are not in it, the first of them since rows_since. today: films done by outcome.
    """

    path: Path
    held: bool | None
    watchers: tuple[Watcher, ...]
    n_seen: int
    n_settled: int
    n_read: int
    n_put_off: int
    csv: Path | None
    n_rows: int
    rows_since: datetime | None
    today: Mapping[str, int]
    n_copies: int
    last_done_at: datetime | None
    last_failure: Failure | None

    @property
    def watcher(self) -> Watcher | None:
        """The one that was heard last."""
        return self.watchers[0] if self.watchers else None

    @property
    def n_waiting(self) -> int:
        """Films without an answer: a watcher also knows those that the ledger does not yet."""
        if self.held is not False and self.watcher is not None:
            return self.watcher.n_waiting
        return self.n_seen + self.n_settled


@dataclass(frozen=True)
class Disk:
    """What lies on a disk, and how much of it is free; None: it is not there, or says nothing."""

    holds: tuple[str, ...]
    free_bytes: int | None


@dataclass(frozen=True)
class Status:
    ledger: Path
    ledger_bytes: int
    folders: tuple[Folder, ...]
    disks: tuple[Disk, ...]


def look(
    ledger: Ledger,
    folders: Mapping[int, Path],
    now: datetime,
) -> Status:
    """folders: those to look at, by their numbers in the ledger. Raises LedgerError."""
    watchers = {
        folder_id: tuple(
            sorted(ledger.watchers(folder_id), key=lambda one: one.beat_at, reverse=True)
        )
        for folder_id in folders
    }
    places: dict[str, Path] = {Message("ledger"): ledger.path.absolute().parent}
    for of_one in watchers.values():
        for watcher in of_one[:1]:
            if watcher.csv:
                places[f"CSV {watcher.csv}"] = Path(watcher.csv).parent
            for name, place in (
                (Message("heatmaps"), watcher.heatmaps),
                (Message("moved films"), watcher.moved_to),
                (Message("failed films"), watcher.failed_to),
                (Message("log"), watcher.log),
            ):
                if place:
                    places[Message.joined((name, place))] = Path(place)
    # After the watchers' own words: one that starts takes its folder before it says so.
    held = answers(lambda path: is_held(path, ledger.path), folders.values())
    sizes = [
        file.stat().st_size
        for file in (ledger.path, ledger.path.with_name(f"{ledger.path.name}-wal"))
        if file.exists()
    ]
    return Status(
        ledger.path,
        sum(sizes),
        tuple(
            _folder(ledger, folder_id, path, held.get(path), watchers[folder_id], now)
            for folder_id, path in folders.items()
        ),
        disks_of(places, answers(space_of, places.values())),
    )


def _folder(
    ledger: Ledger,
    folder_id: int,
    path: Path,
    held: bool | None,
    watchers: tuple[Watcher, ...],
    now: datetime,
) -> Folder:
    views = ledger.views(folder=path)
    csv, through_id = None, 0
    if watchers:
        csv = Path(watchers[0].csv) if watchers[0].csv else None
        through_id = next((view.through_id for view in views if view.path == csv), 0)
    elif views:
        # The one that was written to last; others were given up.
        view = max(views, key=lambda one: one.through_id)
        csv, through_id = view.path, view.through_id
    n_rows, rows_since = ledger.rows_after(folder_id, through_id) if csv else (0, None)
    waiting = ledger.n_waiting(folder_id)
    today = now.astimezone().date()
    since, until = midnight(today), midnight(today + timedelta(days=1))
    return Folder(
        path,
        held,
        watchers,
        waiting["seen"],
        waiting["settled"],
        waiting["read"],
        ledger.n_put_off(folder_id),
        csv,
        n_rows,
        rows_since,
        ledger.n_done(folder_id, since, until),
        ledger.n_copies(folder_id, since, until),
        ledger.last_done_at(folder_id),
        ledger.last_failure(folder_id),
    )


def state_of(folder: Folder, now: datetime) -> State:
    """Whether somebody watches.

    A last sign that is yet to come counts as one of now: after the clock was set back, every
    watcher's is, until its next one.
    """
    if folder.watcher is None:
        return "starting" if folder.held else "stopped"
    silent = _ago_s(folder.watcher.beat_at, now) > SILENT_S
    if folder.held is None:
        return "killed" if silent else "watched"
    if not folder.held:
        return "killed"
    return "hanging" if silent else "watched"


def drift_of(folder: Folder) -> Comparison | None:
    """How its films compare with those that the model learned from, as its watcher said last; None:
    nothing was said yet, or not so that this version knows it."""
    if folder.watcher is None or folder.watcher.drift is None:
        return None
    try:
        return from_data(Comparison, folder.watcher.drift)
    except TypeError:
        return None


def of_folder(folder: Folder, limits: Limits, now: datetime) -> list[Trouble]:
    """What of a folder needs a person, the worst first."""
    found = _of_watcher(folder, now)
    # Rows of a time that is yet to come were made before the clock was set back.
    if folder.rows_since and abs((now - folder.rows_since).total_seconds()) > ROWS_WAIT_S:
        found.append(
            Trouble(
                "warning",
                Message(
                    "{n} rows wait for {csv} since {time}.",
                    n=folder.n_rows,
                    csv=folder.csv,
                    time=local(folder.rows_since),
                ),
                Message(
                    "Close it in other programs; the rows are in the ledger and come by themselves."
                ),
            )
        )
    if folder.n_waiting > limits.n_waiting:
        found.append(
            Trouble(
                "warning",
                Message("{n} films wait to be read.", n=folder.n_waiting),
                Message(
                    "If they do not become fewer, more workers or a faster model may be needed."
                ),
            )
        )
    since = folder.last_done_at
    if since is None and folder.watcher is not None:
        since = datetime.fromisoformat(folder.watcher.started_at)
    if (
        limits.idle_h is not None
        and since is not None
        and now - since > timedelta(hours=limits.idle_h)
    ):
        found.append(
            Trouble(
                "warning",
                Message("No film was read since {time}.", time=local(since)),
                Message("See whether films still reach the folder."),
            )
        )
    if (week := drift_of(folder)) is not None and week.differences:
        found.append(Trouble("warning", summary(week), next_step(week)))
    return found


def _of_watcher(folder: Folder, now: datetime) -> list[Trouble]:
    state, watcher = state_of(folder, now), folder.watcher
    if watcher is None:
        if state == "starting":
            return [
                Trouble(
                    "warning",
                    Message("A watcher is starting."),
                    Message("Look again in a minute."),
                )
            ]
        return [
            Trouble(
                "critical",
                Message("Nobody watches it."),
                Message("Start cxr-edge watch, or its service."),
            )
        ]
    last_sign = local(watcher.beat_at)
    if state == "killed":
        return [
            Trouble(
                "critical",
                Message(
                    "Its watcher, process {pid}, was killed or cut off after {time}.",
                    pid=watcher.pid,
                    time=last_sign,
                ),
                Message("Start it again: it goes on where it was."),
            )
        ]
    found = []
    if state == "hanging":
        found.append(
            Trouble(
                "critical",
                Message(
                    "Its watcher, process {pid}, hangs: it has said nothing since {time}.",
                    pid=watcher.pid,
                    time=last_sign,
                ),
                Message("End that process and start it again: it goes on where it was."),
            )
        )
    elif _ago_s(watcher.beat_at, now) < -SILENT_S:
        found.append(
            Trouble(
                "warning",
                Message(
                    "Its watcher's last sign is of {time}, which is yet to come: the clock was set "
                    "back.",
                    time=last_sign,
                ),
                Message(
                    "Look again in a minute; if it is the same then, process {pid} hangs.",
                    pid=watcher.pid,
                ),
            )
        )
    if watcher.trouble:
        found.append(Trouble("warning", watcher.trouble, ""))
    return found


def of_disk(disk: Disk) -> Trouble | None:
    """What of a disk needs a person."""
    what = Message.joined(disk.holds, ", ")
    if disk.free_bytes is None:
        return Trouble(
            "warning",
            Message("The disk for {what} is not there.", what=what),
            Message("Connect its disk or share again."),
        )
    if disk.free_bytes >= LOW_BYTES:
        return None
    return Trouble(
        "critical" if disk.free_bytes < FULL_BYTES else "warning",
        Message(
            "Only {n_mb} MB are free for {what}.", n_mb=round(disk.free_bytes / 1e6), what=what
        ),
        Message("Make room: until then films may wait."),
    )


def space_of(place: Path) -> tuple[int, int]:
    """The disk that a folder is, or will be made, on, by its number, and the bytes free there.

    Raises OSError.
    """
    there = next((one for one in (place, *place.parents) if one.exists()), place)
    return there.stat().st_dev, shutil.disk_usage(there).free


def disks_of(
    places: Mapping[str, Path], spaces: Mapping[Path, tuple[int, int]]
) -> tuple[Disk, ...]:
    """Each disk once, with all that it holds. spaces: space_of the places, where it is known."""
    holds: dict[int | str, list[str]] = {}
    for name, place in places.items():
        holds.setdefault(spaces[place][0] if place in spaces else name, []).append(name)
    free = {name: spaces[place][1] for name, place in places.items() if place in spaces}
    return tuple(Disk(tuple(names), free.get(names[0])) for names in holds.values())


def answers(
    question: Callable[[_Key], _T], about: Iterable[_Key], wait_s: float = ANSWER_S
) -> dict[_Key, _T]:
    """What is answered within that time; what cannot be told, or not yet, is left out."""
    answered: dict[_Key, _T] = {}

    def ask(key: _Key) -> None:
        with contextlib.suppress(OSError, LedgerError):
            answered[key] = question(key)

    threads = [threading.Thread(target=ask, args=(key,), daemon=True) for key in about]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + wait_s
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return dict(answered)


def local(time: datetime | str) -> str:
    """A time as the clock on this machine's wall had it."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _ago_s(stamp: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(stamp)).total_seconds()
