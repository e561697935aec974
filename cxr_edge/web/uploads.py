"""An uploaded film: onto this disk, and with its answer into the ledger.

On the disk it has a name of this program's own, its sha256: no path is ever made of what a client
says. The name that the client gave it is what its row shows.
"""

import hashlib
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ..errors import RecordError
from ..language import Message, why
from ..ledger import Ledger
from ..record import cannot_be_written
from ..result import Identifiers, Result
from ..watch.scan import look_of
from ..watch.settle import Look
from .problems import Problem

_MAX_NAME = 120
_UNNAMED = "film"


# What a request that still runs may have put there, perhaps one of another server.
_LEFT_BEHIND_S = 3600.0


@dataclass(frozen=True)
class _Waiting:
    """A result on its way into the ledger, and where its film lies now."""

    path: Path
    result: Result
    identifiers: Identifiers
    number: "Future[int]"


class Uploads:
    """The folder that uploaded films are kept in, and the way of their results into the ledger.

    For many threads at a time. incoming: where they are until they have their result.
    """

    def __init__(
        self,
        folder: Path,
        ledger_path: Path,
        disguise: Callable[[Identifiers], Identifiers] = lambda found: found,
        *,
        keeps: bool = True,
    ) -> None:
        """disguise: what replaces identifiers before they are recorded. keeps: whether films stay
        once they were read.

        Raises RecordError: the folder cannot be made. LedgerError.
        """
        self.folder = folder.absolute()
        self._disguise = disguise
        self._keeps = keeps
        self.incoming = self.folder / "incoming"
        try:
            self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in self.incoming.iterdir():
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND_S:
                    path.unlink(missing_ok=True)
        except OSError as exc:
            raise RecordError(
                Message(
                    "The folder {folder} cannot be used ({why}).", folder=self.folder, why=why(exc)
                ),
                Message("Check permission and free space."),
            ) from exc
        with Ledger(ledger_path) as ledger:
            self._folder_id = ledger.folder_id(self.folder)
        self._ledger_path = ledger_path
        self._ledger: Ledger | None = None  # the recording thread's
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._record_all, name="recording", daemon=True)
        self._thread.start()

    def new_file(self) -> IO[bytes]:
        """An empty file for what comes in; `.name` tells where. Raises RecordError."""
        path = self.incoming / secrets.token_hex(16)
        try:
            return path.open("xb")
        except OSError as exc:
            raise cannot_be_written(self.folder, exc) from exc

    def discard(self, path: Path) -> None:
        """Forget a film that came in and got no answer."""
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def record(self, path: Path, result: Result, identifiers: Identifiers) -> "Future[int]":
        """Keep the film and record its result; the prediction's number, once it is on the disk.

        A film that was recorded before by the same model has its earlier number. Its future raises
        LedgerError, RecordError, and Problem (503) where the server is being stopped.
        """
        number: Future[int] = Future()
        if result.code == "stopped":
            self.discard(path)
            number.set_exception(_stopping())
        else:
            self._waiting.put(_Waiting(path, result, identifiers, number))
        return number

    def close(self) -> None:
        """What waits is recorded first."""
        self._waiting.put(None)
        self._thread.join()

    def _record_all(self) -> None:
        goes_on = True
        while goes_on:
            # All that wait by now are synced to the disk together.
            waiting = [self._waiting.get()]
            with suppress(queue.Empty):
                while True:
                    waiting.append(self._waiting.get_nowait())
            goes_on = None not in waiting
            films = [one for one in waiting if one is not None]
            if films:
                self._record(films)
        self._close_ledger()

    def _record(self, films: list[_Waiting]) -> None:
        kept = [one for film in films if (one := self._kept(film)) is not None]
        try:
            if self._ledger is None:
                self._ledger = Ledger(self._ledger_path)
            with self._ledger.transaction():
                numbers = [self._record_one(self._ledger, one) for one in kept]
        # Nobody may go on waiting; each request raises it for itself.
        except BaseException as exc:
            self._close_ledger()  # another one may be at its place by the next time
            for one in kept:
                one.film.number.set_exception(exc)
            return
        for one, number in zip(kept, numbers, strict=True):
            one.film.number.set_result(number)

    def _close_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _kept(self, film: _Waiting) -> "_Kept | None":
        """The film at its place; None where that cannot be, which its request is told alone."""
        try:
            # Of an empty file, or after a fault of this program, the reader has no digest.
            sha256 = film.result.sha256 or hashlib.sha256(film.path.read_bytes()).hexdigest()
            look = look_of(film.path.stat(), keeps_ctime=False)
            name = Path(sha256[:2], sha256)
            if not self._keeps:
                film.path.unlink()
                return _Kept(film, sha256, look, name, None)
            place = self.folder / name
            place.parent.mkdir(exist_ok=True, mode=0o700)
            film.path.replace(place)
            return _Kept(film, sha256, look, name, place)
        except OSError as exc:
            film.number.set_exception(cannot_be_written(self.folder, exc))
            return None

    def _record_one(self, ledger: Ledger, kept: "_Kept") -> int:
        result = replace(kept.film.result, sha256=kept.sha256)
        file_id = ledger.saw(self._folder_id, str(kept.name), kept.look)
        identifiers = self._disguise(kept.film.identifiers)
        recorded = ledger.record(file_id, kept.look, result, identifiers)
        ledger.finish(file_id, result.status, kept.place, set_aside=False)
        return recorded.prediction_id


@dataclass(frozen=True)
class _Kept:
    """A film that waits for its row. name: below the folder. place: None where none is kept."""

    film: _Waiting
    sha256: str
    look: Look
    name: Path
    place: Path | None


def cleaned_name(given: str) -> str:
    """What a client calls a film, as a row may show it: the last part of a path, in one line."""
    last = given.replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if letter.isprintable()).strip()
    if shown in ("", ".", ".."):
        return _UNNAMED
    # The suffix stays, as it is what tells people apart from names.
    stem, dot, suffix = shown.rpartition(".")
    if len(shown) > _MAX_NAME and dot and len(suffix) < 10:
        return f"{stem[: _MAX_NAME - len(suffix) - 1]}.{suffix}"
    return shown[:_MAX_NAME]


def _stopping() -> Problem:
    return Problem(
        503,
        "stopping",
        Message("The server is being stopped"),
        "",
        Message("Send it again in a moment."),
        {"Retry-After": "5"},
    )
