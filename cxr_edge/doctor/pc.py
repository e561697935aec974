"""The PC itself: its system, processor, graphics card and clock."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from .. import __version__
from ..cpu import cpu_name, has_avx2, has_vnni
from ..errors import LedgerError
from ..ledger import Ledger
from ..status import answers
from .check import Check
from .folders import Survey

# No PC can have run this program before. To be moved on with each release.
RELEASED = date(2026, 11, 22)
# Cameras and PCs of another time zone may be ahead of this one; a disk's own PC is not.
_FILM_AHEAD, _LEDGER_AHEAD = timedelta(days=1), timedelta(minutes=5)
# Where the driver has just been started, or hangs.
_NVIDIA_SMI_S = 20.0


def checks(ledger: Path, survey: Survey | None) -> Iterator[Check]:
    """ledger: the file, which need not be there. survey: of the films' folder."""
    yield Check(
        "system",
        "ok",
        f"cxr-edge {__version__}, {platform.platform()}, Python {platform.python_version()}",
    )
    yield check_processor()
    yield check_graphics_card(nvidia_smi(), cuda_of_onnxruntime())
    yield check_clock(
        datetime.now().astimezone(), newest_recorded(ledger), survey.newest if survey else None
    )


def check_processor() -> Check:
    said = {True: "yes", False: "no", None: "not known"}
    avx2, vnni = has_avx2(), has_vnni()
    found = f"{cpu_name()}, AVX2 {said[avx2]}, VNNI {said[vnni]}"
    if avx2 is False and platform.machine().lower() in ("x86_64", "amd64"):
        return Check("processor", "warning", found, "Without AVX2 films are read slowly.")
    return Check("processor", "ok", found)


def check_graphics_card(
    nvidia_smi: str | None, built_for: str, timeout_s: float = _NVIDIA_SMI_S
) -> Check:
    """The NVIDIA card, its driver, and the CUDA that the driver is good for.

    nvidia_smi: the program that knows, None where there is none. built_for: the CUDA that
    onnxruntime was built for, "" for none.
    """
    name = "graphics card"
    if nvidia_smi is None:
        return Check(name, "ok", "no driver of NVIDIA's found")
    # One that hangs in the driver cannot even be killed, and is not waited for.
    log = answers(lambda program: _log_of(program, timeout_s), [nvidia_smi], timeout_s).get(
        nvidia_smi
    )
    if log is None:
        return Check(
            name,
            "warning",
            f"nvidia-smi, of NVIDIA's driver, gives no answer within {timeout_s:.0f} s",
            "Start the PC anew; if that does not help, install the driver again.",
        )
    cards = [card.text or "" for card in log.findall("gpu/product_name")]
    driver, cuda = (log.findtext(tag, "not known") for tag in ("driver_version", "cuda_version"))
    found = f"{', '.join(cards) or 'no NVIDIA card'}, driver {driver}, for CUDA up to {cuda}"
    if not built_for:
        return Check(name, "ok", found)
    found += f"; onnxruntime was built for CUDA {built_for}"
    # Within a major version an older driver will do: docs.nvidia.com/deploy/cuda-compatibility
    if cards and cuda[:1].isdigit() and _major(cuda) < _major(built_for):
        return Check(name, "warning", found, "Install a newer driver of NVIDIA's.")
    return Check(name, "ok", found)


def nvidia_smi() -> str | None:
    """Where NVIDIA's driver has put it."""
    if sys.platform != "win32":
        return shutil.which("nvidia-smi")
    # Not by name, for which Windows looks in the working folder first.
    places = (
        Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32"),
        Path(os.environ.get("PROGRAMFILES", "C:/Program Files"), "NVIDIA Corporation", "NVSMI"),
    )
    programs = [place / "nvidia-smi.exe" for place in places]
    return next((str(path) for path in programs if path.is_file()), None)


def cuda_of_onnxruntime() -> str:
    """Such as "12.8"; "" where it was built without."""
    with contextlib.suppress(ImportError):  # which is said elsewhere
        import onnxruntime

        return str(getattr(onnxruntime, "cuda_version", ""))
    return ""


def check_clock(now: datetime, recorded: datetime | None, film: datetime | None) -> Check:
    """Whether it may be right. now: local, with its time zone. recorded: the newest time in the
    ledger; film: of the newest film."""
    found = f"{_shown(now)} ({now.tzname()})"
    if now.date() < RELEASED:
        wrong = f", but this program is of {RELEASED}"
    elif recorded is not None and recorded > now + _LEDGER_AHEAD:
        wrong = f", but a film was read at {_shown(recorded)}"
    elif film is not None and film > now + _FILM_AHEAD:
        wrong = f", but a film is of {_shown(film)}"
    else:
        return Check("clock", "ok", found)
    return Check(
        "clock",
        "warning",
        found + wrong,
        "Set the date, the time and the time zone. If they are wrong again after the PC was off, "
        "its battery (CMOS) is empty.",
    )


def newest_recorded(path: Path) -> datetime | None:
    """When the last film got its answer; None where the ledger has none, or cannot be read."""
    # Somebody else's, which is said elsewhere where it matters.
    with contextlib.suppress(LedgerError, OSError), Ledger(path, read_only=True) as ledger:
        newest = ledger.one("SELECT max(processed_at) FROM predictions")[0]
        return None if newest is None else datetime.fromisoformat(newest)
    return None


def _log_of(nvidia_smi: str, timeout_s: float) -> ElementTree.Element | None:
    """What it says of every card; None where it says nothing that can be read. Raises OSError."""
    try:
        done = subprocess.run(
            [nvidia_smi, "-q", "-x"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=True,
        )
        return ElementTree.fromstring(done.stdout)
    except (subprocess.SubprocessError, ElementTree.ParseError):
        return None


def _shown(time: datetime) -> str:
    return time.astimezone().isoformat(" ", "seconds")


def _major(version: str) -> int:
    return int(version.partition(".")[0])
