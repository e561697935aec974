"""Films that are uploaded wait here for their turn, and no more of them than there is room for.

They are decoded in processes that may die (decoding.py) and judged in this one, so that on a card
those that wait at the same time run as one batch (batching.py).
"""

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import LifoQueue

from ..decoding import IsolatedDecoder
from ..errors import UnreadableError
from ..gate import check_header
from ..language import Message
from ..model import Model
from ..reading import Answer, answer_by, internal_error, result_by
from ..refusals import Refusals
from ..result import Identifiers, Result
from ..terms import Terms
from .problems import Problem

logger = logging.getLogger(__name__)

# What a film is taken to need until some were read.
_FIRST_FILM_S = 0.2
_MAX_RETRY_S = 60


class Decoders:
    """Some processes that decode, for as many threads at a time."""

    def __init__(self, make: Callable[[], IsolatedDecoder], n: int) -> None:
        self._all = [make() for _ in range(n)]
        # Who was used last is taken first: few films need few processes.
        self._idle: LifoQueue[IsolatedDecoder] = LifoQueue()
        for one in self._all:
            self._idle.put(one)

    def start(self) -> None:
        """Start one now, so that the first film need not wait for it; this waits for nothing."""
        threading.Thread(target=self._start, name="starting", daemon=True).start()

    @contextmanager
    def one(self) -> Iterator[IsolatedDecoder]:
        """One of them, once there is one."""
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)

    def _start(self) -> None:
        # What keeps it from starting, the first film tells.
        with self.one() as decoder, suppress(UnreadableError):
            decoder.start()

    def close(self) -> None:
        """End the processes; films in hand end with "stopped"."""
        for one in self._all:
            one.close()


@dataclass(frozen=True, eq=False)
class Read:
    """What became of a film, and whose it is where that is kept."""

    result: Result
    identifiers: Identifiers


class ReadingQueue:
    """n_places: films that wait or are read at a time; n_workers: those of them that are read."""

    def __init__(
        self,
        model: Model,
        terms: Terms,
        decoders: Decoders,
        n_workers: int,
        n_places: int,
    ) -> None:
        self.n_places = n_places
        self._model = model
        self._terms = terms
        self._decoders = decoders
        self._n_workers = n_workers
        self._pool = ThreadPoolExecutor(n_workers, "reading")
        self._changing = threading.Lock()  # for the two below
        self._n_taken = 0
        self._film_s = _FIRST_FILM_S

    @property
    def n_waiting(self) -> int:
        """The places that are taken."""
        return self._n_taken

    @contextmanager
    def places(self, n: int = 1) -> Iterator[None]:
        """Keep room for so many films, before anything of them is read from the network.

        Raises Problem (503, with Retry-After): there is none.
        """
        with self._changing:
            if self._n_taken + n > self.n_places:
                raise self._full()
            self._n_taken += n
        try:
            yield
        finally:
            with self._changing:
                self._n_taken -= n

    def read(self, path: Path, name: str) -> "Future[Read]":
        """Read a film that has a place. name: as its result is to call it."""
        return self._pool.submit(self._read, path, name)

    def close(self) -> None:
        """Films in hand end with "stopped"."""
        self._decoders.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, path: Path, name: str) -> Read:
        started_s = time.monotonic()
        with self._decoders.one() as decoder:
            way = _Way(decoder, self._model, self._terms)
            try:
                result = result_by(way, path, self._model, self._terms)
            # As reading.predict_contained does it; the log is told no name of a file.
            except Exception as exc:
                lines = "".join(traceback.format_tb(exc.__traceback__))
                logger.error(
                    "A film met a fault of this program, %s:\n%s", type(exc).__name__, lines
                )
                result = internal_error(path, self._model, self._terms, exc)
            identifiers = decoder.identifiers
        took_s = time.monotonic() - started_s
        with self._changing:
            self._film_s += 0.1 * (took_s - self._film_s)
        return Read(replace(result, source=Path(name)), identifiers)

    def _full(self) -> Problem:
        until_free_s = self._film_s * self._n_taken / self._n_workers
        retry_s = min(_MAX_RETRY_S, max(1, math.ceil(until_free_s)))
        return Problem(
            503,
            "queue_full",
            Message("Too many films wait"),
            Message("{n} films wait to be read, and there is room for no more.", n=self.n_places),
            Message("Send it again in a moment."),
            {"Retry-After": str(retry_s)},
        )


class _Way:
    """The way of an X-ray: decoded and prepared over there, judged here."""

    def __init__(self, decoder: IsolatedDecoder, model: Model, terms: Terms) -> None:
        self.sha256 = ""
        self._decoder, self._model, self._terms = decoder, model, terms

    def read(self, path: Path) -> Answer:
        try:
            film = self._decoder.prepare(path)
        finally:
            self.sha256 = self._decoder.sha256
        card = self._model.card
        refusals = Refusals(self._terms.accepted, film.overruled)
        check_header(film.header, card, refusals)
        return answer_by(self._model.answer(film.inputs), card, self._terms, refusals)
