"""Films are read by threads, each with a decoding process of its own; the network is shared."""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import cv2

from ..isolation import Decoder, Limits
from ..model import Model
from ..reading import internal_error, result_by
from ..result import HEALING_CODES, Identifiers, Result
from .settle import Look

logger = logging.getLogger(__name__)

# What is left of a folder that cannot be listed is said by not_a_file; its rights may be mended.
_HEALING_CODES = HEALING_CODES | {"not_a_file"}
# A copy may have its full size from the start, and no bytes yet but zeros.
_UNFINISHED_CODES = frozenset({"corrupt", "empty", "unsupported_format"})
# Within this time a thread lets go of a film whose decoding process was killed.
_LAST_S = 2.0

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


class Readers:
    """Reads the films that are handed in, some at a time.

    The model should be loaded with threads=1 for several workers; see batching.batching for CUDA.
    """

    def __init__(
        self,
        model: Model,
        thresholds: Mapping[str, float] | None,
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
        self._thresholds = thresholds
        self._look = look
        self._wake = wake
        self._changing = threading.Lock()  # for the next six
        self._waiting: deque[_Film] = deque()
        # Who became idle last is asked first: films that come one by one need one process only.
        self._idle: list[_Inbox] = []
        self._finished: list[Reading] = []
        self._n_in_hand = 0
        self._closing = False
        # The workers keep every core busy by themselves.
        self._n_opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        spec = model.card.input
        self._decoders = [
            Decoder(spec, limits, with_radiograph=draw, with_identifiers=with_identifiers)
            for _ in range(n_workers)
        ]
        self._threads = [
            threading.Thread(target=self._work, args=(decoder,), name=f"reader-{i}", daemon=True)
            for i, decoder in enumerate(self._decoders)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def n_in_hand(self) -> int:
        """The films that were handed in and not yet given back by `finished`."""
        with self._changing:
            return self._n_in_hand

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
        closers = [
            threading.Thread(target=decoder.close, daemon=True) for decoder in self._decoders
        ]
        for closer in closers:
            closer.start()
        end_s = time.monotonic() + _LAST_S
        for thread in closers + self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        cv2.setNumThreads(self._n_opencv_threads)

    def _work(self, decoder: Decoder) -> None:
        inbox: _Inbox = SimpleQueue()
        while True:
            with self._changing:
                if self._closing:
                    return
                film = self._waiting.popleft() if self._waiting else None
                if film is None:
                    self._idle.append(inbox)
            film = film or inbox.get()
            if film is None:
                return
            reading = self._read(decoder, *film)
            with self._changing:
                # Its process was killed, and not on its account.
                if self._closing and reading.result and reading.result.code == "stopped":
                    self._n_in_hand -= 1
                    return
                self._finished.append(reading)
            del reading, film  # a picture is large, and the next film may not come for hours
            self._wake()

    def _read(self, decoder: Decoder, path: Path, look: Look) -> Reading:
        try:
            if not self._looks_so(path, look):
                return Reading(path, look, None)
            result = self._result(decoder, path)
            # Overwritten while it was read: half of it may be the old film's.
            if not self._looks_so(path, look):
                return Reading(path, look, None)
        except FileNotFoundError:
            return Reading(path, look, None, gone=True)
        return Reading(path, look, result, identifiers=decoder.identifiers)

    def _looks_so(self, path: Path, look: Look) -> bool:
        """Raises FileNotFoundError."""
        try:
            return self._look(path) == look
        except FileNotFoundError:
            raise
        except OSError:  # nobody can tell now, and the next scan will
            return False

    def _result(self, decoder: Decoder, path: Path) -> Result:
        try:
            return result_by(decoder, path, self._model, self._thresholds)
        # As reading.predict_contained does it; the log is told no name of a file.
        except Exception as exc:
            lines = "".join(traceback.format_tb(exc.__traceback__))
            logger.error("A film met a fault of this program, %s:\n%s", type(exc).__name__, lines)
            return internal_error(path, self._model, exc)
