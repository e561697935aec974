"""Films are read by threads, each with a reading process of its own."""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from ..errors import UnreadableError
from ..isolation import IsolatedReader, Limits
from ..model import Model
from ..reading import internal_error, n_cores, result_by
from ..result import HEALING_CODES, Identifiers, Result
from ..session import CPU
from ..terms import Terms
from .settle import Look

logger = logging.getLogger(__name__)

# What is left of a folder that cannot be listed is said by not_a_file; its rights may be mended.
_HEALING_CODES = HEALING_CODES | {"not_a_file"}
# A copy may have its full size from the start, and no bytes yet but zeros.
_UNFINISHED_CODES = frozenset({"corrupt", "empty", "unsupported_format"})
# Within this time a thread lets go of a film whose reading process was killed.
_LAST_S = 2.0
# Each process on a card takes some hundred megabytes of it before its first film.
_MAX_ON_CARD = 4

_Film = tuple[Path, Look]
_Inbox = SimpleQueue[_Film | None]


@dataclass(frozen=True, eq=False)
class Reading:
    """What became of a film that was handed in.

    look: that it was handed in with. result: None where it looked otherwise before or after it was
    read, or could not be looked at: there is nothing to record. gone: it is not there any more.
    """

    path: Path
    look: Look
    result: Result | None
    gone: bool = False
    identifiers: Identifiers = field(default_factory=Identifiers)

    @property
    def heals(self) -> bool:
        """Whether it failed in a way that time may mend."""
        return self._code in _HEALING_CODES

    @property
    def maybe_unfinished(self) -> bool:
        """Whether it failed as a film does that is still being copied."""
        return self._code in _UNFINISHED_CODES

    @property
    def _code(self) -> str:
        return self.result.code if self.result is not None else ""


def n_workers_for(model: Model) -> int:
    """As many as there are cores; on a card, where each process has a copy of the model, a few."""
    return n_cores() if model.provider == CPU else min(n_cores(), _MAX_ON_CARD)


class Readers:
    """Reads the films that are handed in, some at a time."""

    def __init__(
        self,
        model: Model,
        terms: Terms,
        n_workers: int,
        limits: Limits,
        *,
        draw: bool,
        with_identifiers: bool,
        look: Callable[[Path], Look],
        wake: Callable[[], object],
    ) -> None:
        """draw: with the findings drawn over the film. look: raises OSError. wake: called from a
        worker's thread whenever a film is finished."""
        self._model = model
        self._terms = terms
        self._look = look
        self._wake = wake
        self._changing = threading.Lock()  # for the five below
        self._waiting: deque[_Film] = deque()
        # Who became idle last is asked first: films that come one by one need one process only.
        inboxes: list[_Inbox] = [SimpleQueue() for _ in range(n_workers)]
        self._idle = inboxes[::-1]
        self._finished: list[Reading] = []
        self._n_in_hand = 0
        self._closing = False
        self._readers = [
            IsolatedReader(
                model,
                terms,
                limits,
                # Several keep every core busy by themselves.
                threads=1 if n_workers > 1 else 0,
                draw=draw,
                with_identifiers=with_identifiers,
            )
            for _ in range(n_workers)
        ]
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(reader, inboxes[i], i == 0),
                name=f"reader-{i}",
                daemon=True,
            )
            for i, reader in enumerate(self._readers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def n_in_hand(self) -> int:
        """The films that were handed in and not yet given back by `finished`."""
        with self._changing:
            return self._n_in_hand

    @property
    def n_unread(self) -> int:
        """Those of them that are not finished yet."""
        with self._changing:
            return self._n_in_hand - len(self._finished)

    def submit(self, path: Path, look: Look) -> None:
        """Hand in a film, which is read if it still looks so."""
        with self._changing:
            if self._closing:
                return
            self._n_in_hand += 1
            if self._idle:
                self._idle.pop().put((path, look))
            else:
                self._waiting.append((path, look))

    def finished(self) -> list[Reading]:
        """What has been finished since the last call; never waits."""
        with self._changing:
            finished, self._finished = self._finished, []
            self._n_in_hand -= len(finished)
        return finished

    def close(self, timeout_s: float) -> None:
        """Begin no more films, and wait so long for those that are being read.

        What is not finished then is left for the next time, and never given back.
        """
        with self._changing:
            self._closing = True
            self._n_in_hand -= len(self._waiting)
            self._waiting.clear()
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        # All at the same time: each waits for what it has killed.
        closers = [threading.Thread(target=reader.close, daemon=True) for reader in self._readers]
        for closer in closers:
            closer.start()
        end_s = time.monotonic() + _LAST_S
        for thread in closers + self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _work(self, reader: IsolatedReader, inbox: _Inbox, is_first: bool) -> None:
        if is_first:  # while the folder is looked through, its process starts
            with suppress(UnreadableError):
                reader.start()
        film = inbox.get()
        while film is not None:
            reading = self._read(reader, *film)
            with self._changing:
                # Its process was killed, and not on its account.
                if self._closing and reading.result and reading.result.code == "stopped":
                    self._n_in_hand -= 1
                    return
                self._finished.append(reading)
            del reading, film  # a picture is large, and the next film may not come for hours
            self._wake()
            film = self._next(inbox)

    def _next(self, inbox: _Inbox) -> _Film | None:
        """The next film, when there is one; None: there will be no more."""
        with self._changing:
            if self._closing:
                return None
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(inbox)
        return inbox.get()

    def _read(self, reader: IsolatedReader, path: Path, look: Look) -> Reading:
        try:
            if not self._looks_so(path, look):
                return Reading(path, look, None)
            result = self._result(reader, path)
            # Overwritten while it was read: half of it may be the old film's.
            if not self._looks_so(path, look):
                return Reading(path, look, None)
        except FileNotFoundError:
            return Reading(path, look, None, gone=True)
        return Reading(path, look, result, identifiers=reader.identifiers)

    def _looks_so(self, path: Path, look: Look) -> bool:
        """Raises FileNotFoundError."""
        try:
            return self._look(path) == look
        except FileNotFoundError:
            raise
        except OSError:  # nobody can tell now, and the next scan will
            return False

    def _result(self, reader: IsolatedReader, path: Path) -> Result:
        try:
            return result_by(reader, path, self._model, self._terms)
        # As reading.predict_contained does it; the log is told no name of a file.
        except Exception as exc:
            lines = "".join(traceback.format_tb(exc.__traceback__))
            logger.error("A film met a fault of this program, %s:\n%s", type(exc).__name__, lines)
            return internal_error(path, self._model, self._terms, exc)
