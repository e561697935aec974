"""The child process of isolation.IsolatedReader: reads films, all the way, until nobody asks.

What it shares with other processes that films are given to: how such a process behaves
(`start_apart`) and answers (`answer_all`). Imports little by itself: the process is to say first
how it wants to be treated.
"""

import json
import math
import os
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import CxrEdgeError, RadiographError
from .starting import starting

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from .model import Model
    from .radiograph import RadiographFile
    from .reading import Answer
    from .session import Device
    from .terms import Terms

# What a message starts with. Of any film: OPENED with its sha256; IDENTIFIED, for DICOM where it is
# wanted; what was asked for; FAILED ends it at any point. Of a film that is to be read: DRAWN with
# the number of a finding and its PNG; and JUDGED with what an Answer has beside its pictures: a
# float64 of each probability and of the distance, and the accepted codes.
READY, OPENED, IDENTIFIED, DRAWN, JUDGED, FAILED = (
    *(b"redy", b"open", b"ids_", b"draw", b"judg", b"fail"),
)
# What is asked for, a number of pixels where it takes one, and the film's path.
REQUEST = struct.Struct("<4sI")
READ = b"read"
_PR_SET_PDEATHSIG = 1
# No box that waits for a click: SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILE...
_WINDOWS_NO_BOXES = 0x8003


@dataclass(frozen=True)
class Task:
    """What the process is to do. model_path, model_sha256, device: of a model that was loaded
    before, by the parent; threads, cache: see model.load_model."""

    model_path: Path
    model_sha256: str
    device: "Device"
    threads: int
    cache: Path | None
    terms: "Terms"
    draw: bool
    with_identifiers: bool
    memory_bytes: int


class Limited(Protocol):
    """What any such process is told."""

    @property
    def with_identifiers(self) -> bool: ...
    @property
    def memory_bytes(self) -> int: ...


@dataclass(frozen=True)
class Failure:
    """A RadiographError on its way; where: the line that raised an internal_error."""

    status: str
    code: str
    message: str
    next_step: str
    where: str = ""


def serve(requests: "Connection", answers: "Connection", task: Task, parent_pid: int) -> None:
    """Answer each request, until the other end of `requests` is closed."""
    start_apart(parent_pid)
    with starting():
        import cv2

        from .model import load_model

        cv2.setNumThreads(1)
        try:
            # It answers its first golden vector, and so has the memory that an answer takes.
            model = load_model(
                task.model_path,
                task.device,
                task.threads,
                sha256=task.model_sha256,
                cache=task.cache,
                heatmaps=task.draw,
            )
        except CxrEdgeError as exc:
            answers.send_bytes(FAILED + str(exc).encode())
            return

    def read(kind: bytes, _: int, open_film: "Callable[[], RadiographFile]") -> None:
        assert kind == READ
        _read(open_film, answers, model, task)

    answer_all(requests, answers, task, model.sha256.encode(), read)


def start_apart(parent_pid: int) -> None:
    """Let this process end with its parent, leave Ctrl-C to it, and start few threads."""
    _end_with(parent_pid)
    # Ctrl-C goes to all processes of a terminal; the parent decides what it means for this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # numpy's linear algebra is never asked here, and would start a thread for each core.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def answer_all(
    requests: "Connection",
    answers: "Connection",
    task: Limited,
    ready: bytes,
    answer: "Callable[[bytes, int, Callable[[], RadiographFile]], None]",
) -> None:
    """Say `ready`, and answer each request until nobody asks; then this process ends.

    answer: sends what is asked for: its kind, its number of pixels, and what opens the film; raises
    RadiographError. From here on memory is limited.
    """
    _limit_memory(task.memory_bytes)
    _silence()
    with suppress(EOFError, OSError):  # the parent is gone
        answers.send_bytes(READY + ready)
        goes_on = True
        while goes_on:
            request = requests.recv_bytes()
            kind, n_px = REQUEST.unpack_from(request)
            path = Path(os.fsdecode(request[REQUEST.size :]))
            open_film = partial(_open, path, answers, task.with_identifiers)
            goes_on = _contained(partial(answer, kind, n_px, open_film), answers)
    os._exit(0)  # nothing is left to be tidied up, and it takes a while


def _open(path: Path, answers: "Connection", with_identifiers: bool) -> "RadiographFile":
    """The film's bytes, once the parent has been told of them."""
    from .radiograph import looks_like_dicom, open_radiograph

    file = open_radiograph(path)
    answers.send_bytes(OPENED + file.sha256.encode())
    if with_identifiers and looks_like_dicom(file.data):
        from .dicom import identifiers

        answers.send_bytes(IDENTIFIED + json.dumps(asdict(identifiers(file.data))).encode())
    return file


def _contained(answer: "Callable[[], None]", answers: "Connection") -> bool:
    """Answer, or say why not; False where the process had better end after that."""
    from .radiograph import is_out_of_memory, out_of_memory

    goes_on, where = True, ""
    try:
        answer()
        return True
    except RadiographError as exc:
        error = exc
    # As reading.predict_contained does it: whatever one film does, the next one is read.
    except Exception as exc:
        if is_out_of_memory(exc):
            # What failed half-way stays as it is in this process: it may be an import.
            error, goes_on = out_of_memory(), False
        else:
            error, where = RadiographError(*_internal(exc)), _where(exc)
    failure = Failure(error.status, error.code, error.message, error.next_step, where)
    answers.send_bytes(FAILED + json.dumps(asdict(failure)).encode())
    return goes_on


def _read(
    open_film: "Callable[[], RadiographFile]", answers: "Connection", model: "Model", task: Task
) -> None:
    """Send what the model says of a film."""
    from .preprocess import min_side_px
    from .radiograph import decode_radiograph
    from .reading import judge

    file = open_film()
    radiograph = decode_radiograph(file, min_side_px(model.card.input), task.terms.accepted)
    del file  # as large as its pixels, and not needed beside them
    _send_answer(answers, judge(radiograph, model, task.terms, task.draw), model)


def _send_answer(answers: "Connection", answer: "Answer", model: "Model") -> None:
    for overlay in answer.overlays:
        index = model.card.findings.index(overlay.finding)
        answers.send_bytes(DRAWN + index.to_bytes(2, "big") + overlay.png)
    distance = math.nan if answer.distance is None else answer.distance
    numbers = (*answer.probabilities, distance)
    codes = ",".join(answer.accepted).encode()
    answers.send_bytes(JUDGED + struct.pack(f"<{len(numbers)}d", *numbers) + codes)


def _internal(exc: Exception) -> tuple[str, str, str]:
    said = f"{type(exc).__name__}: {exc}."
    return "internal_error", said[:1000], "Please report this film's kind."


def _where(exc: Exception) -> str:
    """The innermost line of this program that led to it."""
    place, trace = "", exc.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if Path(code.co_filename).parent == Path(__file__).parent:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _end_with(parent_pid: int) -> None:
    """Do not outlive a parent that was killed, even amid a film; on Windows its job sees to it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it was gone before it could be said
            os._exit(1)


def _limit_memory(n_bytes: int) -> None:
    """Let this process have so much memory beside what it has now; on Windows its job does it."""
    if sys.platform == "win32":
        import ctypes

        # A crash is to end the process at once, not when somebody has read about it.
        ctypes.windll.kernel32.SetErrorMode(_WINDOWS_NO_BOXES)
    elif sys.platform == "linux":
        import resource

        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
        n_bytes += n_pages * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            n_bytes = min(n_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
        # A core dump would hold a patient's film.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Where the system runs out of memory, let it end this process and not the parent.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def _silence() -> None:
    """libjpeg prints "Corrupt JPEG data" about each damaged film. Its row says so once and better,
    and thousands of them would fill the journal that the parent's stderr goes to."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
