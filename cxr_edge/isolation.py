"""Films are read in a process that may die: one film that crashes it, takes forever or needs too
much memory ends alone.

Nothing that the process sends is believed more than a file would be: a made-up image may have taken
it over. So its answers are never unpickled, and are checked before they are used.
"""

import json
import logging
import math
import os
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from . import reader_process
from .errors import ModelError, RadiographError, RefusedError, UnreadableError
from .heatmap import Overlay
from .interpret import to_findings
from .model import Model
from .radiograph import out_of_memory
from .reader_process import (
    DRAWN,
    FAILED,
    IDENTIFIED,
    JUDGED,
    OPENED,
    READ,
    READY,
    REQUEST,
    Failure,
    Limited,
    Task,
)
from .reading import Answer
from .result import Identifiers
from .session import DEVICE_OF
from .strict import from_data
from .terms import STANDARD_TERMS, Terms

if sys.platform == "win32":
    from .windows_job import Job

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
# The kind and the data of each.
Messages = Iterator[tuple[bytes, bytes]]

# It takes a second, and half a minute on an old PC whose virus scanner looks at every library.
_START_S = 120.0
# A killed process that is not gone after so long hangs inside a system call.
_END_S = 5.0
_OVERSLEPT_S = 10.0
_MAX_TEXT_BYTES = 1 << 16
_MAX_TEXT = 2000
# Of an overlay, which is 640 pixels high or wide at most.
_MAX_PNG_BYTES = 1 << 22
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS: dict[str, type[RadiographError]] = {"failed": UnreadableError, "refused": RefusedError}
# Deaths that say nothing about the film, since somebody else brought them about: systemd, a logoff.
if sys.platform == "win32":
    _FROM_OUTSIDE = {1, -15, 0xC000013A, 0x40010004}  # the Task Manager, terminate, Ctrl-C, logoff
else:
    _FROM_OUTSIDE = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT}

# multiprocessing reaps every dead child when it starts one; of two threads that reap the same child
# the later one believes that it lives.
_processes = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """What a film may take: film_s to be opened and as long again to be decoded and judged;
    memory_bytes beside what the process needs without a film."""

    film_s: float = 60.0
    memory_bytes: int = 2 * 1024**3


class Isolated:
    """Gives films to a child process, which is started when it is first needed and anew after it
    died.

    For one thread at a time, but for `close`.

    sha256, identifiers: of the film that was given to it last, as far as it got: of one that
    crashed the process, nothing else is known.
    """

    def __init__(
        self, serve: Callable[..., None], task: Limited, ready: bytes, limits: Limits
    ) -> None:
        """serve: what the process does (see reader_process.serve). ready: what it says when it has
        started."""
        self.sha256 = ""
        self.identifiers = Identifiers()
        self._limits = limits
        self._start = _Start(serve, task, ready)
        self._child: _Child | None = None
        self._closed = False
        self._changing = threading.Lock()  # _child and _closed
        self._in_hand = threading.Lock()  # a film

    @property
    def pid(self) -> int | None:
        """The process; None where there is none now."""
        child = self._child
        return child.pid if child is not None else None

    def start(self) -> None:
        """Start the process now, so that the first film need not wait for it.

        Raises UnreadableError: no_reader, stalled, stopped.
        """
        with self._in_hand:
            self._living()

    def close(self) -> None:
        """End the process; a film in hand in another thread ends with "stopped"."""
        with self._changing:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        if self._in_hand.acquire(timeout=2 * _END_S):
            try:
                self._clear_away(_END_S)
            finally:
                self._in_hand.release()

    def _living(self) -> "_Child":
        """The process that is there, or a new one."""
        self.sha256, self.identifiers = "", Identifiers()
        if self._child is not None and self._child.lives:
            return self._child
        # One that hangs on a dead share cannot even be killed; a second would hang beside it.
        if not self._clear_away(self._limits.film_s):
            raise _stalled()
        with self._changing:
            if self._closed:
                raise _stopped()
            try:
                child = self._child = _Child(self._start, self._limits.film_s)
            except OSError as exc:  # no memory, or too many processes or open files
                raise _no_reader(exc) from exc
        try:
            child.begin(self._start)
        except (EOFError, OSError, ModelError) as exc:
            child.kill()
            self._clear_away(_END_S)
            raise _stopped() if self._closed else _no_reader(exc) from exc
        return child

    def _ask(
        self,
        kind: bytes,
        n_px: int,
        path: Path,
        answer: Callable[[Messages], _T],
        max_bytes: int = 0,
    ) -> _T:
        """What the process answers of a film.

        kind, n_px: see reader_process.REQUEST. answer: made of the messages that are sent for this
        kind; raises Nonsense. max_bytes: of a message, where it may be longer than a text.
        Raises what `IsolatedReader.read` does.
        """
        asked = partial(self._asked, REQUEST.pack(kind, n_px), path, answer, max_bytes)
        with self._in_hand:
            child = self._living()
            was_new = not child.n_films
            try:
                return asked(child)
            except UnreadableError as exc:
                # What an earlier film left behind may have crashed it; a new one judges this film.
                if exc.code != "reader_crashed" or was_new:
                    raise
            return asked(self._living())

    def _asked(
        self,
        request: bytes,
        path: Path,
        answer: Callable[[Messages], _T],
        max_bytes: int,
        child: "_Child",
    ) -> _T:
        self.sha256, self.identifiers = "", Identifiers()
        try:
            # Absolute, since this process may have changed its folder meanwhile.
            child.ask(request + os.fsencode(path.absolute()))
            return answer(self._messages(child, max(max_bytes, _MAX_TEXT_BYTES)))
        except (EOFError, OSError) as exc:
            raise self._why_it_ended(child) from exc
        except Nonsense as exc:
            child.is_spent = True  # also while it has been killed and is not dead yet
            child.kill()
            self._clear_away(_END_S)
            raise _crashed("it gave no proper answer") from exc
        finally:
            child.end_phase()

    def _messages(self, child: "_Child", max_bytes: int) -> Messages:
        """The kind and the data of what it sends, but for what it sends of any film."""
        while True:
            message = child.receive(max_bytes)
            kind, data = message[:4], message[4:]
            if kind == OPENED and not self.sha256 and re.fullmatch(b"[0-9a-f]{64}", data):
                self.sha256 = data.decode()
                child.begin_phase()
            elif kind == IDENTIFIED and self._start.task.with_identifiers:
                self.identifiers = _checked_identifiers(parsed(Identifiers, data))
            elif kind == FAILED:
                error = _error(parsed(Failure, data))
                if error.code == "out_of_memory":
                    child.is_spent = True
                raise error
            elif self.sha256:
                yield kind, data
            else:
                raise Nonsense

    def _why_it_ended(self, child: "_Child") -> UnreadableError:
        """The error for a film whose answer did not come; the process is cleared away."""
        exit_code = child.exit_code(_END_S)
        if not self._clear_away(_END_S):
            logger.warning("A reading process that was killed hangs in the system.")
        if self._closed:
            return _stopped()
        if child.is_late:
            return _took_too_long(self._limits.film_s) if self.sha256 else _stalled()
        if exit_code in _FROM_OUTSIDE:
            return _stopped()
        # Nobody here has killed it: the system did, which ran out of memory.
        if sys.platform != "win32" and exit_code == -signal.SIGKILL:
            return out_of_memory()
        return _crashed("it closed its pipe" if exit_code is None else f"exit code {exit_code}")

    def _clear_away(self, timeout_s: float) -> bool:
        """End the process and what belongs to it; False where it cannot be ended."""
        if self._child is None:
            return True
        self._child.kill()
        if not self._child.clear_away(timeout_s):
            return False
        with self._changing:
            self._child = None
        return True


class IsolatedReader(Isolated):
    """Reads films in a child process with a model of its own."""

    def __init__(
        self,
        model: Model,
        terms: Terms = STANDARD_TERMS,
        limits: Limits = Limits(),
        *,
        threads: int = 1,
        draw: bool = False,
        with_identifiers: bool = False,
    ) -> None:
        """model: which the process loads for itself, on the same provider. threads: see load_model.
        draw: with the findings drawn over the film; the model gives heatmaps. with_identifiers:
        they are looked for."""
        self._card = model.card
        self._terms = terms
        self._draw = draw
        task = Task(
            model.path,
            model.sha256,
            DEVICE_OF[model.provider],
            threads,
            model.session.cached_at and model.session.cached_at.parent,
            terms,
            draw,
            with_identifiers,
            limits.memory_bytes,
        )
        super().__init__(reader_process.serve, task, model.sha256.encode(), limits)

    def read(self, path: Path) -> Answer:
        """What the model says of a film.

        Raises what radiograph.read_radiograph and preprocess.prepare raise; UnreadableError for a
        fault of this program (internal_error) and for the process: stalled (the file could not be
        had in time), took_too_long (to be decoded), out_of_memory, reader_crashed, no_reader (it
        cannot be started), stopped (it was ended from outside, or `close` was called).
        """
        return self._ask(READ, 0, path, self._answer, _MAX_PNG_BYTES if self._draw else 0)

    def _answer(self, messages: Messages) -> Answer:
        overlays: list[Overlay] = []
        for kind, data in messages:
            if kind == DRAWN and self._draw and len(overlays) < len(self._card.findings):
                overlays.append(_overlay(data, self._card.findings))
            elif kind == JUDGED:
                probabilities, distance, accepted = self._judged(data)
                findings = to_findings(probabilities, self._card, self._terms)
                return Answer(findings, probabilities, distance, accepted, tuple(overlays))
            else:
                break
        raise Nonsense

    def _judged(self, data: bytes) -> tuple[tuple[float, ...], float | None, tuple[str, ...]]:
        """The probabilities, the distance, the codes. Raises Nonsense."""
        numbers = struct.Struct(f"<{len(self._card.findings) + 1}d")
        try:
            *probabilities, distance = numbers.unpack_from(data)
            codes = tuple(filter(None, data[numbers.size :].decode("ascii").split(",")))
        except (struct.error, UnicodeDecodeError) as exc:
            raise Nonsense from exc
        has_distance = self._card.gate is not None
        if (
            not all(0 <= probability <= 1 for probability in probabilities)
            or has_distance != (0 <= distance < math.inf)
            or not self._terms.accepted.issuperset(codes)
            or len(set(codes)) != len(codes)
        ):
            raise Nonsense
        return tuple(probabilities), distance if has_distance else None, codes


class Nonsense(Exception):
    """An answer that the process does not give by itself."""


@dataclass(frozen=True)
class _Start:
    """How the process begins; see Isolated."""

    serve: Callable[..., None]
    task: Limited
    ready: bytes


class _Child:
    """The child process with its pipes, and a thread that kills it when its time is up.

    That thread, and not a time limit on reading from the pipe: part of an answer may come in time.
    It starts the process too: on Linux that ends with the thread that started it, and whoever asks
    first may be gone before the next film.
    """

    def __init__(self, start: _Start, film_s: float) -> None:
        """Raises OSError."""
        context = get_context("spawn")
        self.n_films = 0
        self.is_late = False
        self.is_spent = False  # it ends by itself, or should
        self._is_cleared_away = False
        self._is_over = threading.Event()
        self._film_s = film_s
        self._deadline_s: float | None = None
        self._changing = threading.Lock()  # is_late and _deadline_s
        its_requests, self._requests = context.Pipe(duplex=False)
        try:
            self._answers, its_answers = context.Pipe(duplex=False)
        except OSError:
            _close(its_requests, self._requests)
            raise
        try:
            # A daemon, so that a program that forgets it can end.
            self._process = context.Process(
                target=start.serve,
                args=(its_requests, its_answers, start.task, os.getpid()),
                name="reader",
                daemon=True,
            )
            started: SimpleQueue[Exception | None] = SimpleQueue()
            self._timekeeper = threading.Thread(
                target=self._start_and_keep_time, args=(started,), daemon=True
            )
            self._timekeeper.start()
            trouble = started.get()
            if trouble is not None:
                raise trouble
        except Exception:
            _close(self._requests, self._answers)
            raise
        finally:
            _close(its_requests, its_answers)
        pid = self._process.pid
        assert pid is not None
        self.pid = pid
        self._timekeeper.name = f"reader-{pid}-time"
        if sys.platform == "win32":
            try:
                self._job = Job(pid)
            except OSError:
                self.kill()
                self._is_over.set()
                _close(self._requests, self._answers)
                raise

    @property
    def lives(self) -> bool:
        """Whether it can be asked for another film."""
        return not self.is_late and not self.is_spent and not wait([self._process.sentinel], 0)

    def begin(self, start: _Start) -> None:
        """Wait until it has started. Raises EOFError, OSError, ModelError: it has not."""
        if not wait([self._answers, self._process.sentinel], _START_S):
            raise TimeoutError(f"it has not started within {_START_S:.0f} s")
        message = self._answers.recv_bytes(_MAX_TEXT_BYTES)
        if message != READY + start.ready:
            raise ModelError(_plain(message[4:].decode(errors="replace")))
        if sys.platform == "win32":
            self._job.limit_memory(start.task.memory_bytes)

    def ask(self, request: bytes) -> None:
        """Begin with a film. Raises OSError: the process is gone."""
        self.n_films += 1
        self.begin_phase()
        self._requests.send_bytes(request)

    def receive(self, max_bytes: int) -> bytes:
        """Its next message. Raises EOFError, OSError: it is gone, or hangs, or sends too much."""
        while not self._answers.poll(_END_S):
            if self.is_late:  # killed, and it has not even closed its pipe
                raise EOFError
        return self._answers.recv_bytes(max_bytes)

    def begin_phase(self) -> None:
        with self._changing:
            self._deadline_s = time.monotonic() + self._film_s

    def end_phase(self) -> None:
        with self._changing:
            self._deadline_s = None

    def kill(self) -> None:
        with _processes:
            if not self._is_cleared_away:
                self._process.kill()

    def exit_code(self, timeout_s: float) -> int | None:
        """None where it lives on after so long; a signal as a negative number."""
        end_s = time.monotonic() + timeout_s
        wait([self._process.sentinel], timeout_s)
        # The sentinel is a pipe, which is closed somewhat before the process is dead.
        while True:
            with _processes:
                exit_code = self._process.exitcode
            if exit_code is not None or time.monotonic() >= end_s:
                return exit_code
            time.sleep(0.002)

    def clear_away(self, timeout_s: float) -> bool:
        """Let go of everything, after `kill`; False where it is not dead after so long."""
        if self.exit_code(timeout_s) is None:
            return False
        self._is_over.set()
        self._timekeeper.join()
        with _processes:
            self._process.close()
            self._is_cleared_away = True
        _close(self._requests, self._answers)
        if sys.platform == "win32":
            self._job.close()
        return True

    def _start_and_keep_time(self, started: "SimpleQueue[Exception | None]") -> None:
        try:
            with _processes, _no_ctrl_c():
                self._process.start()
        except Exception as exc:  # for the thread that waits for it
            started.put(exc)
            return
        started.put(None)
        self._kill_when_late()

    def _kill_when_late(self) -> None:
        # It wakes up about once per film_s, not once per film: a phase that begins while it sleeps
        # cannot be late before it wakes up.
        sleep_s = self._film_s
        while not self._is_over.wait(sleep_s):
            with self._changing:
                sleep_s = self._film_s
                if self._deadline_s is None:
                    continue
                sleep_s = self._deadline_s - time.monotonic()
                # The whole machine has slept, or was stopped: nobody has had the time.
                if sleep_s < -_OVERSLEPT_S:
                    sleep_s = self._film_s
                    self._deadline_s = time.monotonic() + sleep_s
                self.is_late = sleep_s <= 0
            if self.is_late:
                self.kill()
                self._is_over.wait()


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """A process that starts inside is spared Ctrl-C from its first moment on."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(*ends: Any) -> None:
    for end in ends:
        with suppress(OSError):
            end.close()


def parsed(kind: type[_T], data: bytes) -> _T:
    if len(data) > _MAX_TEXT_BYTES:
        raise Nonsense
    try:
        return from_data(kind, json.loads(data))
    except (ValueError, TypeError, RecursionError) as exc:
        raise Nonsense from exc


def _checked_identifiers(found: Identifiers) -> Identifiers:
    for text in (found.patient, found.study, found.instance):
        if len(text) > 64 or not text.isprintable():
            raise Nonsense
    return found


def _error(failure: Failure) -> RadiographError:
    if failure.status not in _KINDS or not re.fullmatch("[a-z0-9_]{1,40}", failure.code):
        raise Nonsense
    if failure.code == "internal_error":
        logger.error("A film met a fault of this program at %s.", _plain(failure.where)[:80])
    message, next_step = _plain(failure.message), _plain(failure.next_step)
    return _KINDS[failure.status](failure.code, message, next_step)


def _plain(text: str) -> str:
    """One line that every file and database takes."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text[:_MAX_TEXT])


def _overlay(data: bytes, findings: tuple[str, ...]) -> Overlay:
    """Raises Nonsense."""
    index, png = int.from_bytes(data[:2], "big"), data[2:]
    if index >= len(findings) or not png.startswith(_PNG):
        raise Nonsense
    return Overlay(findings[index], png)


def _stalled() -> UnreadableError:
    return UnreadableError(
        "stalled",
        "The file could not be had in time.",
        "Check whether the disk or the share answers; it is tried again.",
    )


def _took_too_long(film_s: float) -> UnreadableError:
    return UnreadableError(
        "took_too_long",
        f"The image was not decoded within {film_s:g} s.",
        "Export the radiograph again as a single greyscale JPEG, PNG or DICOM file.",
    )


def _crashed(how: str) -> UnreadableError:
    return UnreadableError(
        "reader_crashed",
        f"The image ended the process that reads it ({how}).",
        "Export the radiograph again as a single greyscale JPEG, PNG or DICOM file.",
    )


def _no_reader(why: Exception) -> UnreadableError:
    message = "The process that reads radiographs cannot be started"
    # No film has reached it yet: what it says of the model can be believed.
    if isinstance(why, ModelError):
        step = "Start cxr-edge anew once the model is as it should be."
        return UnreadableError("no_reader", f"{message}: {why}", step)
    step = "Check free memory, and whether a virus scanner stops it."
    return UnreadableError("no_reader", f"{message}{str(why) and f' ({why})'}.", step)


def _stopped() -> UnreadableError:
    return UnreadableError("stopped", "The reading was ended from outside.", "Read it again.")
