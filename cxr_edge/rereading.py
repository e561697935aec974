"""Films that the ledger knows are read again, by another model or by the same one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .csv_export import Selection
from .csv_view import CsvView
from .errors import RecordError
from .isolation import Limits
from .ledger import Ledger, Prediction
from .model import Model
from .record import DIALECTS
from .result import HEALING_CODES, Result
from .terms import Terms
from .watch.readers import Readers, Reading
from .watch.scan import look_of
from .watch.settle import Look


@dataclass(frozen=True)
class Plan:
    """What is to be read again, by its prediction and where it lies.

    n_known: films that this model has read before. n_gone: they lie nowhere any more. n_hidden:
    only the pseudonyms of their names are known, so that they cannot be found.
    """

    films: tuple[tuple[int, Path], ...]
    folders: frozenset[Path]
    n_known: int
    n_gone: int
    n_hidden: int


@dataclass
class Tally:
    """The films of a plan without a new answer. n_changed: another film lies there now, which is
    the watcher's to read. n_unreadable: they could not be had now, and keep their earlier answer.
    """

    n_changed: int = 0
    n_gone: int = 0
    n_unreadable: int = 0


def plan(ledger: Ledger, selection: Selection, model_sha256: str, again: bool) -> Plan:
    """again: also what that very model has read before. Raises LedgerError, SettingsError."""
    films, folders = [], set()
    n_known = n_gone = n_hidden = 0
    for prediction in replace(selection, latest=True).of(ledger):
        sha256 = prediction.result.sha256
        if not sha256:  # nobody ever had a byte of it
            continue
        if not again and ledger.has_answer(sha256, model_sha256):
            n_known += 1
            continue
        path, is_hidden = find_film(ledger, prediction)
        if path is not None:
            films.append((prediction.id, path))
            folders.add(prediction.folder)
        n_gone += path is None and not is_hidden
        n_hidden += path is None and is_hidden
    return Plan(tuple(films), frozenset(folders), n_known, n_gone, n_hidden)


def find_film(ledger: Ledger, prediction: Prediction) -> tuple[Path | None, bool]:
    """Where a film, or a copy of it, lies; and whether it could lie where no one can tell."""
    is_hidden = False
    for bearer in ledger.bearers(prediction):
        if bearer.sha256 != prediction.result.sha256:  # replaced by another film
            continue
        if bearer.place is None:
            is_hidden = True
            continue
        try:
            if bearer.place.is_file():
                return bearer.place, False
        except OSError:  # it may be there; whether it can be had is found out when it is read
            return bearer.place, False
    return None, is_hidden


@contextmanager
def readers_for(
    model: Model, terms: Terms, n_workers: int
) -> Iterator[tuple[Readers, threading.Event]]:
    """Readers, and what is set whenever they have finished a film."""
    wake = threading.Event()
    readers = Readers(
        model,
        terms,
        n_workers,
        Limits(),
        draw=False,
        with_identifiers=False,
        look=_look,
        wake=wake.set,
    )
    try:
        yield readers, wake
    finally:
        readers.close(2.0)


def _look(path: Path) -> Look:
    """Raises OSError."""
    return look_of(path.lstat(), keeps_ctime=False)


def reread(
    ledger: Ledger,
    films: tuple[tuple[int, Path], ...],
    readers: Readers,
    wake: threading.Event,
    n_ahead: int,
    done: Callable[[Result | None], object],
) -> Tally:
    """Read the films of a plan and add to the ledger what is said of them.

    n_ahead: films in hand at a time. done: told of each film that is over with. What has been read
    before an exception of the caller's, or Ctrl-C, is in the ledger. Raises LedgerError.
    """
    tally = Tally()
    waiting = iter(films)
    ids: dict[Path, int] = {}
    while True:
        while len(ids) < n_ahead and (film := next(waiting, None)) is not None:
            prediction_id, path = film
            try:
                readers.submit(path, _look(path))
                ids[path] = prediction_id
            except OSError as exc:
                tally.n_gone += isinstance(exc, FileNotFoundError)
                tally.n_unreadable += not isinstance(exc, FileNotFoundError)
                done(None)
        if not ids:
            return tally
        if readings := readers.finished():
            with ledger.transaction():
                results = [
                    _record(ledger, ids.pop(reading.path), reading, tally) for reading in readings
                ]
            for result in results:
                done(result)
        else:
            wake.wait(1.0)
            wake.clear()


def _record(ledger: Ledger, prediction_id: int, reading: Reading, tally: Tally) -> Result | None:
    """What the ledger got, if it got anything."""
    before = next(ledger.predictions(after_id=prediction_id - 1, limit=1))
    result = reading.result
    if result is None:
        tally.n_gone += reading.gone
        tally.n_changed += not reading.gone
    elif result.code in HEALING_CODES or not result.sha256:
        tally.n_unreadable += 1
    elif result.sha256 != before.result.sha256:
        tally.n_changed += 1
    else:
        named = replace(result, source=before.result.source)
        ledger.record_again(before, named, before.identifiers)
        return named
    return None


def fill_views(ledger: Ledger, folders: frozenset[Path]) -> list[str]:
    """Write what is new into the CSV files of these folders; returns what hinders it.

    A CSV that is not there any more is left to the watcher, which knows whether it is wanted.
    """
    troubles = []
    for view in ledger.views():
        if view.folder not in folders or (view.rotate == "never" and not _is_there(view.path)):
            continue
        dialect = DIALECTS[view.dialect]
        csv_view = CsvView(view.path, view.folder, ledger, dialect, view.rotate)
        try:
            while csv_view.fill(1000) == 1000:
                pass
        except RecordError as exc:
            troubles.append(str(exc))
    return troubles


def _is_there(path: Path) -> bool:
    """Also where that cannot be told now."""
    try:
        return path.exists()
    except OSError:
        return True
