"""The child process of isolation.Decoder: opens, decodes and prepares films until nobody asks.

Imports little by itself: the process is to say first how it wants to be treated.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import RadiographError
from .starting import starting

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from .model_card import InputSpec
    from .radiograph import Radiograph

# What a message starts with. Of a film that is read: OPENED, IDENTIFIED, SHOWN and DECODED, in this
# order, the middle ones where they are wanted; FAILED ends it at any point.
READY, OPENED, IDENTIFIED, SHOWN, DECODED, FAILED = (
    *(b"redy", b"open", b"ids_", b"show", b"grey", b"fail"),
)
_PR_SET_PDEATHSIG = 1
# No box that waits for a click: SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILE...
_WINDOWS_NO_BOXES = 0x8003


@dataclass(frozen=True)
class Failure:
    """A RadiographError on its way; where: the line that raised an internal_error."""

    status: str
    code: str
    message: str
    next_step: str
    where: str = ""


@dataclass(frozen=True)
class Shown:
    """A Radiograph without its pixels, which are the next message."""

    shape: tuple[int, int]
    dtype: str
    white: float
    bits_stored: int
    photometric: str
    full_shape: tuple[int, int]


def serve(
    requests: "Connection",
    answers: "Connection",
    spec: "InputSpec",
    memory_bytes: int,
    with_radiograph: bool,
    with_identifiers: bool,
    parent_pid: int,
) -> None:
    """Answer each path, until the other end of `requests` is closed."""
    _end_with(parent_pid)
    # Ctrl-C goes to all processes of a terminal; the parent decides what it means for this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # numpy's linear algebra is never asked here, and would start a thread for each core.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with starting():
        import cv2

        from . import preprocess  # noqa: F401  before memory is limited
    cv2.setNumThreads(1)
    _limit_memory(memory_bytes)
    _silence()
    with suppress(EOFError, OSError):  # the parent is gone
        answers.send_bytes(READY)
        goes_on = True
        while goes_on:
            path = Path(os.fsdecode(requests.recv_bytes()))
            goes_on = _answer(path, answers, spec, with_radiograph, with_identifiers)
    os._exit(0)  # nothing is left to be tidied up, and it takes a while


def _answer(
    path: Path,
    answers: "Connection",
    spec: "InputSpec",
    with_radiograph: bool,
    with_identifiers: bool,
) -> bool:
    """Send what becomes of one film; False where the process had better end after that."""
    from .preprocess import min_side_px, to_grey
    from .radiograph import decode_radiograph, is_out_of_memory, open_radiograph, out_of_memory

    goes_on, where = True, ""
    try:
        file = open_radiograph(path)
        answers.send_bytes(OPENED + file.sha256.encode())
        if with_identifiers:
            _send_identifiers(answers, file.data)
        radiograph = decode_radiograph(file, min_side_px(spec))
        del file  # as large as its pixels, and not needed beside them
        grey = to_grey(radiograph, spec)  # (H, W); a third of the network's input
        if with_radiograph:
            _send_radiograph(answers, radiograph)
        answers.send_bytes(DECODED + grey.tobytes())
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


def _send_identifiers(answers: "Connection", data: bytes) -> None:
    from .radiograph import looks_like_dicom
    from .result import Identifiers

    identifiers = Identifiers()
    if looks_like_dicom(data):
        from .dicom import identifiers as read_identifiers

        identifiers = read_identifiers(data)
    answers.send_bytes(IDENTIFIED + json.dumps(asdict(identifiers)).encode())


def _send_radiograph(answers: "Connection", radiograph: "Radiograph") -> None:
    pixels = radiograph.pixels
    shown = Shown(
        (pixels.shape[0], pixels.shape[1]),
        pixels.dtype.name,
        radiograph.white,
        radiograph.bits_stored,
        radiograph.photometric,
        radiograph.full_shape,
    )
    answers.send_bytes(SHOWN + json.dumps(asdict(shown)).encode())
    answers.send_bytes(pixels.reshape(-1).view("u1").data)


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
