"""The watch loop: what was seen is handed out, what was read is recorded, and nothing is lost.

`Watch.step` does one round of all that is due and says for how long nothing will be. It waits for
nothing but the ledger's and the CSV's disk: films are listed in one thread (scan.py) and read in
others (readers.py).
"""

import heapq
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ..drift.comparison import Comparison, next_step, summary
from ..errors import LedgerError, RecordError
from ..language import Message, sentence, why
from ..ledger import DONE, STATE_OF_STATUS, Ledger, Recorded, Unfinished, Watcher
from ..result import Result
from .afterwards import Afterwards
from .readers import Reading
from .retention import remove_old
from .scan import MAX_CANDIDATES, Candidate, Scan, Scanner
from .settings import Settings
from .settle import Look, SettleTracker

logger = logging.getLogger(__name__)

# A scan of a large folder takes seconds: it gets at most this part of the time.
_SCANNING_SHARE = 0.05
_NO_ANSWER_S = 60.0
# While the readers have enough to read, films are gathered for so long: one by one, what it takes
# to have each on the disk would cost a third of the readers' time.
_GATHER_S, _GATHER_LOOK_S = 0.25, 0.02
_BEAT_S = 10.0
_SWEEP_S = 30.0
_RETENTION_S = 3600.0
_COMPARE_S = 3600.0
# What may heal is tried again after so long, and twice as long each time.
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 60.0
# While a film is read nobody else reads it; long enough for the slowest.
_LEASE_S = 600.0
_STOP_S = 7.0
_CHANGING, _READY, _IN_HAND, _PUT_OFF = "changing", "ready", "in hand", "put off"
# What is said of, and keeps nothing from its work.
_HARMLESS = frozenset({"links", "drift"})


class ReadersLike(Protocol):
    """What the loop needs of readers.Readers."""

    @property
    def n_in_hand(self) -> int: ...
    @property
    def n_unread(self) -> int: ...
    def submit(self, path: Path, look: Look) -> None: ...
    def finished(self) -> list[Reading]: ...
    def close(self, timeout_s: float) -> None: ...


class ViewLike(Protocol):
    """What the loop needs of csv_view.CsvView."""

    kept_aside: str

    def fill(self, limit: int = ...) -> int: ...


class EventsLike(Protocol):
    """What the loop needs of events.Events."""

    def take(self) -> tuple[set[Path], bool]: ...
    def renew(self) -> None: ...


@dataclass(frozen=True)
class Told:
    """Who is told of what happens.

    recorded: a film's result is in the ledger, anew or as a copy. beat: every ten seconds, with the
    number of films that wait. heatmaps: the result is about to be recorded, with its overlays;
    raises RecordError to have it wait.
    """

    recorded: Callable[[Result, Recorded], object] = lambda *_: None
    beat: Callable[[int], object] = lambda _: None
    heatmaps: Callable[[Result], object] = lambda _: None


@dataclass
class _Film:
    """A file that is waited for, in memory until it is recorded or gone."""

    file_id: int
    name: str
    look: Look
    stage: str
    found_s: float
    first_failed_s: float | None = None
    n_failures: int = 0


@dataclass
class Watch:
    """One folder being watched.

    scanner: for the executor's thread; examiner: the same with the ledger of this one.
    n_ahead: how many films are handed out before one of them is finished. watcher: what is said of
    this watcher; its times, trouble and number of films are filled in. disguised: a reading as it
    is to be recorded, with or without pseudonyms. compared: in the executor's thread, the last full
    week against the model's card; None: that is not asked for; raises LedgerError. wake: ends
    `wait`. clock: seconds that only go forward, the same for all processes of this machine. wall:
    the time of day, for people and for retention.
    """

    settings: Settings
    ledger: Ledger
    readers: ReadersLike
    scanner: Scanner
    examiner: Scanner
    executor: Executor
    n_ahead: int
    watcher: Watcher
    owner: str
    view: ViewLike | None = None
    events: EventsLike | None = None
    disguised: Callable[[Reading], Reading] = lambda reading: reading
    compared: Callable[[], Comparison | None] = lambda: None
    wake: Callable[[], object] = lambda: None
    told: Told = field(default_factory=Told)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._folder_id = self.ledger.folder_id(self.settings.folder)
        self._films: dict[Path, _Film] = {}
        self._tracker = SettleTracker(self.settings.settle_s)
        self._ready: list[tuple[int, str, Path]] = []  # a heap; what has left _READY is passed over
        self._put_off: list[tuple[float, Path]] = []  # a heap
        self._new: dict[Path, Candidate] = {}  # to be seen by the ledger
        self._undrawn: list[Reading] = []  # their heatmaps are to be written
        self._readings: list[Reading] = []  # to be recorded, or to be
        self._again: dict[Path, float] = {}  # tried again, at that time
        self._afterwards = Afterwards(self.settings.after)
        self._staying = [s for s in ("ok", "refused", "failed") if self._afterwards.stays(s)]
        leaving = {STATE_OF_STATUS[s] for s in STATE_OF_STATUS if s not in self._staying}
        for one in (self.scanner, self.examiner):
            one.passed_over = self.passed_over
            one.stays = lambda state: state not in leaving
        self._answered: dict[str, Path] = {}  # films in state "read", by name
        self._scanned = self._finishing = False
        self._put_away_after_id = 0
        self._n_left = 0  # films that the last scan saw beyond those that are kept here
        self._scanning: Future[Scan] | None = None
        self._comparing: Future[Comparison | None] | None = None
        self._comparison: Comparison | None = None
        self._scan_started_s = 0.0
        self._unfilled = True  # something may wait since the last time
        self._fill_wait_s = 0.0
        self._folder_away = False
        self._troubles: dict[str, str] = {}
        past = float("-inf")
        self._scan_due_s = self._beat_due_s = self._retention_due_s = self._sweep_due_s = past
        self._compare_due_s = past
        self._fill_due_s = self._ledger_due_s = self._heatmaps_due_s = past

    @property
    def n_waiting(self) -> int:
        """How many films are known to wait for their result."""
        return len(self._films) + self._n_left

    @property
    def trouble(self) -> str:
        """What keeps it from its work; "" if nothing does."""
        return Message.joined(
            text for what, text in self._troubles.items() if what not in _HARMLESS
        )

    def passed_over(self, path: Path, look: Look) -> bool:
        """Whether a scan need not tell of the file: it is being read, or waits for its next try."""
        film = self._films.get(path)
        return film is not None and film.look == look and film.stage in (_IN_HAND, _PUT_OFF)

    def run(self, stopping: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Until `stopping()`; the films in hand are then finished, or left for the next time.

        wait: sleeps that many seconds, or until there is something to do.
        """
        while not stopping():
            wait_s = self.step()
            if self._has_enough():
                gathered_s = 0.0
                while gathered_s < _GATHER_S and self._has_enough():
                    time.sleep(_GATHER_LOOK_S)
                    gathered_s += _GATHER_LOOK_S
            elif wait_s > 0 and not stopping():
                wait(wait_s)
        self.stop()

    def _has_enough(self) -> bool:
        return self.readers.n_unread > self.n_ahead // 4

    def step(self) -> float:
        """One round; for how many seconds nothing will be due unless something happens."""
        now_s = self.clock()
        self._scan(now_s)
        self._hear(now_s)
        self._settle(now_s)
        self._collect(now_s)
        self._commit(now_s, feeding=True)
        if now_s >= self._fill_due_s:
            self._fill(now_s)
        self._put_away(now_s)
        self._beat(now_s)
        return max(0.0, self._next_due_s() - self.clock())

    def stop(self) -> None:
        """Nothing new is begun; what is finished within some seconds is recorded."""
        self.readers.close(_STOP_S)
        now_s = self.clock()
        self._heatmaps_due_s = self._ledger_due_s = now_s
        self._collect(now_s)
        self._commit(now_s, feeding=False)
        self._fill(now_s)
        self._put_away(now_s)

    def _next_due_s(self) -> float:
        due_s = [self._beat_due_s, self._sweep_due_s]
        if self._scanning is None:
            due_s.append(self._scan_due_s)
        if (settled_s := self._tracker.next_s()) is not None:
            due_s.append(settled_s)
        if self._put_off:
            due_s.append(self._put_off[0][0])
        if self._unfilled:
            due_s.append(self._fill_due_s)
        if self._finishing:
            due_s.append(self._ledger_due_s)
        if self._undrawn:
            due_s.append(self._heatmaps_due_s)
        if self._new or self._readings:
            due_s.append(self._ledger_due_s)
        return min(due_s)

    # What lies in the folder

    def _scan(self, now_s: float) -> None:
        if self._scanning is not None and self._scanning.done():
            future, self._scanning = self._scanning, None
            self._scan_due_s = now_s + self.settings.poll_interval_s
            try:
                self._take(future.result(), now_s)
            # A share that drops comes back; until then there is nothing to read.
            except OSError as exc:
                self._folder_away = True
                self._say("folder", Message("The folder cannot be listed ({why}).", why=why(exc)))
            except LedgerError as exc:
                self._say("ledger", sentence(exc))
        # What the last scan left out is looked for when half of what it found is done.
        hungry = self._n_left > 0 and len(self._films) < MAX_CANDIDATES // 2
        if self._scanning is None and (hungry or now_s >= self._scan_due_s):
            self._scan_started_s = now_s
            self._scanning = self.executor.submit(self.scanner.scan)
            self._scanning.add_done_callback(lambda _: self.wake())
        elif self._scanning is not None and now_s - self._scan_started_s > _NO_ANSWER_S:
            self._say(
                "folder",
                Message(
                    "The folder has not answered for {seconds} s.", seconds=round(_NO_ANSWER_S)
                ),
            )

    def _take(self, scan: Scan, now_s: float) -> None:
        self._say("folder", "")
        if self._folder_away and self.events is not None:
            self.events.renew()
        self._folder_away = False
        pause_s = scan.took_s * (1 / _SCANNING_SHARE - 1)
        self._scan_due_s = now_s + max(self.settings.poll_interval_s, pause_s)
        self._n_left = scan.n_candidates - len(scan.candidates)
        links = Message("{n} links are not followed.", n=scan.n_links)
        self._say("links", links if scan.n_links else "")
        for candidate in scan.candidates:
            self._found(candidate, now_s)
        # What the scan does not see is gone, or is seen by a later one.
        seen = {candidate.path for candidate in scan.candidates}
        for path, film in list(self._films.items()):
            waits = film.stage in (_CHANGING, _READY)
            if waits and path not in seen and film.found_s < self._scan_started_s:
                self._forget(path)
        self._scanned = True
        # A share was away when they were to be put away, or they were left there before.
        if back := [one.file_id for one in scan.answered if one.state in DONE]:
            self.ledger.reopen(back)
        if self.settings.privacy.pseudonymise:
            self._answered |= {one.name: one.path for one in scan.answered}

    def _hear(self, now_s: float) -> None:
        if self.events is None:
            return
        paths, overflowed = self.events.take()
        if overflowed or len(self._films) >= MAX_CANDIDATES:
            self._n_left += len(paths)  # a scan comes to them
            return
        try:
            for path in paths:
                candidate = self.examiner.examine(path)
                if candidate is not None and not candidate.has_answer:
                    self._found(candidate, now_s)
        except LedgerError as exc:  # the next scan sees them too
            self._say("ledger", sentence(exc))

    def _found(self, candidate: Candidate, now_s: float) -> None:
        path, look = candidate.path, candidate.look
        film = self._films.get(path)
        # A change of one in hand is noticed by the reading.
        if film is not None and (film.look == look or film.stage == _IN_HAND):
            return
        self._films[path] = _Film(candidate.file_id, candidate.name, look, _CHANGING, now_s)
        if not candidate.file_id:
            self._new[path] = candidate
        self._tracker.saw(path, look, now_s)

    def _settle(self, now_s: float) -> None:
        paths = [path for path, _ in self._tracker.settled(now_s)]
        while self._put_off and self._put_off[0][0] <= now_s:
            path = heapq.heappop(self._put_off)[1]
            if (film := self._films.get(path)) is not None and film.stage == _PUT_OFF:
                paths.append(path)
        sign = -1 if self.settings.newest_first else 1
        for path in paths:
            if (film := self._films.get(path)) is not None:
                film.stage = _READY
                heapq.heappush(self._ready, (sign * film.look.modified_ns, film.name, path))

    def _forget(self, path: Path) -> None:
        self._films.pop(path, None)
        self._new.pop(path, None)
        self._tracker.forget(path)

    # What is read, and recorded

    def _collect(self, now_s: float) -> None:
        self._undrawn += map(self.disguised, self.readers.finished())
        if now_s < self._heatmaps_due_s:
            return
        try:
            while self._undrawn:
                reading = self._undrawn[0]
                if reading.result is not None and reading.result.overlays:
                    self.told.heatmaps(reading.result)
                    reading = replace(reading, result=replace(reading.result, overlays=()))
                self._readings.append(reading)
                if due_s := self._again_s(reading, now_s):
                    self._again[reading.path] = due_s
                del self._undrawn[0]
            self._say("heatmaps", "")
        except RecordError as exc:
            self._say("heatmaps", sentence(exc))
            self._heatmaps_due_s = now_s + 5.0

    def _commit(self, now_s: float, feeding: bool) -> None:
        """What was found and read goes into the ledger, in one transaction, and the next films are
        taken from it. Nothing is forgotten, or begun, before that is on the disk."""
        if now_s < self._ledger_due_s:
            return
        taken = self._next_films() if feeding and not self._undrawn else []
        if not (self._new or self._readings or taken):
            return
        recorded: list[tuple[Result, Recorded]] = []
        refused: set[Path] = set()
        file_ids: dict[Path, int] = {}
        try:
            with self.ledger.transaction():
                for path, new in self._new.items():
                    file_ids[path] = self.ledger.saw(self._folder_id, new.name, new.look)
                for reading in self._readings:
                    self._record(reading, recorded)
                for path in taken:
                    film = self._films[path]
                    file_id = file_ids.get(path, film.file_id)
                    if not self.ledger.take(file_id, film.look, self.owner, now_s, _LEASE_S):
                        refused.add(path)  # another watcher reads it
        except LedgerError as exc:
            self._say("ledger", sentence(exc))
            self._ledger_due_s = now_s + 1.0
            for path in taken:
                self._films[path].stage = _PUT_OFF
                heapq.heappush(self._put_off, (self._ledger_due_s, path))
            return
        self._say("ledger", "")
        for path, file_id in file_ids.items():
            self._films[path].file_id = file_id
        self._new.clear()
        changed = [r.path for r in self._readings if r.result is None and not r.gone]
        for reading in self._readings:
            if due_s := self._again.get(reading.path):
                self._films[reading.path].stage = _PUT_OFF
                heapq.heappush(self._put_off, (due_s, reading.path))
            else:
                film = self._films.pop(reading.path)
                if self.settings.privacy.pseudonymise and reading.result is not None:
                    self._answered[film.name] = reading.path
        self._readings.clear()
        self._again.clear()
        for path in taken:
            if path in refused:
                self._forget(path)
            else:
                self._films[path].stage = _IN_HAND
                self.readers.submit(path, self._films[path].look)
        for result, one in recorded:
            self._unfilled = True
            self._fill_due_s = min(self._fill_due_s, now_s + self._fill_wait_s)
            self.told.recorded(result, one)
        for path in changed:
            if candidate := self.examiner.examine(path):
                self._found(candidate, now_s)

    def _next_films(self) -> list[Path]:
        """As many of the first ones as may be handed out."""
        taken: dict[Path, None] = {}
        while self._ready and self.readers.n_in_hand + len(taken) < self.n_ahead:
            path = heapq.heappop(self._ready)[2]
            film = self._films.get(path)
            if film is not None and film.stage == _READY and path not in taken:
                taken[path] = None
        return list(taken)

    def _again_s(self, reading: Reading, now_s: float) -> float | None:
        """When to try a film again that was not read but may be, later; None: not again."""
        film = self._films[reading.path]
        if reading.result is None:
            return None
        if reading.maybe_unfinished:
            # A copy that has stalled ends in the middle of the film, as a damaged one does.
            patient_until_s: float = film.found_s + self.settings.patience_s
            return patient_until_s if now_s < patient_until_s else None
        if reading.heals:
            first_s = film.first_failed_s = film.first_failed_s or now_s
            if now_s - first_s < self.settings.retry_for_s:
                film.n_failures += 1
                return now_s + min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** (film.n_failures - 1))
        return None

    def _record(self, reading: Reading, recorded: list[tuple[Result, Recorded]]) -> None:
        film = self._films[reading.path]
        if reading.result is None:
            self.ledger.release(film.file_id, "gone" if reading.gone else "seen")
        elif reading.path in self._again:
            logger.info(
                "film %d is tried again: %s",
                *(film.file_id, reading.result.code),
                extra={"film": film.file_id},
            )
            self.ledger.put_off(film.file_id, reading.result.code)
        else:
            result = reading.result
            one = self.ledger.record(film.file_id, reading.look, result, reading.identifiers)
            recorded.append((result, one))
            logger.info(
                "film %d: %s%s",
                film.file_id,
                # Of an overruled refusal, its codes; any other reason may hold more than a log may.
                result.reason if result.accepted else result.code or result.status,
                ", known by another name" if one.copy_of else "",
                extra={"film": film.file_id},
            )

    # Rows, and what becomes of the files

    def _fill(self, now_s: float) -> None:
        if not self._unfilled:
            return
        limit = 1000
        try:
            n_rows = self.view.fill(limit) if self.view is not None else 0
        except RecordError as exc:
            wait = Message("The rows wait in the ledger.")
            self._say("csv", Message.joined((sentence(exc), wait)))
            self._fill_wait_s = min(30.0, max(1.0, 2 * self._fill_wait_s))
            self._fill_due_s = now_s + self._fill_wait_s
            return
        self._say("csv", "")
        self._unfilled = n_rows == limit
        self._fill_wait_s, self._fill_due_s = 0.0, now_s
        self._finishing = True

    def _put_away(self, now_s: float) -> None:
        """The films whose rows are written are done, and their files go where they are to go."""
        sweeping = now_s >= self._sweep_due_s
        if sweeping:
            self._sweep_due_s = now_s + _SWEEP_S
            self._put_away_after_id, self._finishing = 0, True
            # A CSV that was deleted, or rows that `cxr-edge reprocess` has added.
            self._unfilled = True
        if not self._finishing:
            return
        try:
            if sweeping and self._scanned and not self._n_left and not self._folder_away:
                names = {film.name for film in self._films.values()}
                self.ledger.release_unseen(self._folder_id, names)
            through_id = self._through_id()
            if self._staying:
                self.ledger.finish_in_place(self._folder_id, through_id, self._staying)
            self._finishing = len(self._staying) < 3 and self._move_some(through_id)
        except LedgerError as exc:
            self._say("ledger", sentence(exc))

    def _through_id(self) -> int:
        if self.view is None or self.settings.csv.path is None:
            return self.ledger.last_prediction_id(self._folder_id)
        return self.ledger.view_through(self.settings.csv.path, self._folder_id)

    def _move_some(self, through_id: int) -> bool:
        """Whether there may be more. What cannot be moved is tried again by a later sweep."""
        after_id, limit = self._put_away_after_id, 100
        films = self.ledger.unfinished(self._folder_id, after_id, through_id, limit)
        moved: list[tuple[Unfinished, Path | None]] = []
        trouble = ""
        for film in films:
            self._put_away_after_id = film.prediction_id
            try:
                moved.append((film, self._move(film)))
            except _NotSeenYetError:
                continue
            except OSError as exc:
                trouble = Message(
                    "Film {number} cannot be put away ({why}).", number=film.file_id, why=why(exc)
                )
        if films:
            self._say("afterwards", trouble)
        with self.ledger.transaction():
            for film, place in moved:
                set_aside = film.status != "ok" and place is not None
                self.ledger.finish(film.file_id, film.status, place, set_aside)
        for film, _ in moved:
            self._answered.pop(film.name, None)
        return len(films) == limit

    def _move(self, film: Unfinished) -> Path | None:
        path = self._answered.get(film.name)
        if path is None and not self.settings.privacy.pseudonymise:
            path = self.settings.folder / film.name
        if path is None:
            # Its name is known by its hash alone: a scan tells whether it is still there.
            if not self._scanned:
                raise _NotSeenYetError
            return None
        try:
            if self.examiner.look(path) != film.look:
                return None  # replaced by another one, which is read in its turn
        except FileNotFoundError:
            # It was put away before this watcher was stopped, unless all are away.
            if not self.settings.folder.is_dir():
                raise
        return self._afterwards.put_away(path, film.name, film.status, film.reason)

    # How it does

    def _beat(self, now_s: float) -> None:
        if now_s < self._beat_due_s:
            return
        self._beat_due_s = now_s + _BEAT_S
        self._compare(now_s)
        facts = replace(
            self.watcher,
            beat_at=self.wall().isoformat(timespec="seconds"),
            n_waiting=self.n_waiting,
            # What became of a CSV of an earlier version keeps nobody from anything, and is told.
            trouble=Message.joined((self.trouble, self.view.kept_aside if self.view else "")),
            drift=None if self._comparison is None else asdict(self._comparison),
        )
        try:
            self.ledger.beat(self.owner, facts)
            if now_s >= self._retention_due_s:
                self._retention_due_s = now_s + _RETENTION_S
                remove_old(self.settings, self.ledger, self.wall())
        except LedgerError as exc:
            self._say("ledger", sentence(exc))
        self.told.beat(self.n_waiting)

    def _compare(self, now_s: float) -> None:
        """Whether the site's films still look like those that the model learned from."""
        if self._comparing is not None and self._comparing.done():
            future, self._comparing = self._comparing, None
            try:
                self._heed(future.result())
            except LedgerError as exc:
                message = Message("The last week's films cannot be compared: %s")
                logger.warning(message, sentence(exc))
        if self._comparing is None and now_s >= self._compare_due_s:
            self._compare_due_s = now_s + _COMPARE_S
            self._comparing = self.executor.submit(self.compared)

    def _heed(self, week: Comparison | None) -> None:
        before, self._comparison = self._comparison, week
        differs = week is not None and bool(week.differences)
        if week is not None and week != before and not differs:
            logger.info("%s", summary(week))
        said = Message.joined((summary(week), next_step(week))) if week and differs else ""
        self._say("drift", said)

    def _say(self, what: str, trouble: str) -> None:
        """Log a trouble when it comes, changes, and has gone."""
        before = self._troubles.get(what, "")
        if trouble and trouble != before:
            self._troubles[what] = trouble
            logger.warning("%s", trouble)
        elif before and not trouble:
            del self._troubles[what]
            logger.info(Message("No longer: %s"), before)


class _NotSeenYetError(Exception):
    """No scan has told yet where the film is."""
