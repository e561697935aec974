"""What only root can do to a file or a folder, on Linux: mount, and take away rights."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .outcome import CannotRunError


@contextmanager
def small_disk(folder: Path, size_mb: float) -> Iterator[None]:
    """A tmpfs of that size in the folder's place. Raises CannotRunError."""
    _refuse_others()
    _run("mount", "-t", "tmpfs", "-o", f"size={round(size_mb * 1024)}k", "none", folder)
    try:
        yield
    finally:
        unmount(folder)


def bind(source: Path, target: Path, read_only: bool = False) -> None:
    """Show a file or folder at another place too. Raises CannotRunError."""
    _refuse_others()
    _run("mount", "--bind", source, target)
    if read_only:
        _run("mount", "-o", "remount,bind,ro", target)


def unmount(folder: Path) -> None:
    """Even where a process is inside."""
    _run("umount", "-l", folder)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """PermissionError for everyone who writes to the file, root too."""
    if os.name == "nt" or os.geteuid():
        mode = path.stat().st_mode
        path.chmod(0o444)
        try:
            yield
        finally:
            path.chmod(mode)
        return
    _run("chattr", "+i", path)  # fails on file systems that know no such mark
    try:
        yield
    finally:
        _run("chattr", "-i", path)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A file system that takes no writing. Raises CannotRunError."""
    bind(folder, folder, read_only=True)
    try:
        yield
    finally:
        unmount(folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not one byte is free on the folder's disk, until this ends."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for n_bytes in (65536, 512, 1):
                with suppress(OSError):
                    while file.write(bytes(n_bytes)) == n_bytes:
                        pass
        yield
    finally:
        ballast.unlink()


def _refuse_others() -> None:
    if sys.platform != "linux" or os.geteuid():
        raise CannotRunError("it takes root on Linux")


def _run(*command: object) -> None:
    try:
        subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        said = exc.stderr if isinstance(exc, subprocess.CalledProcessError) else str(exc)
        raise CannotRunError(f"{command[0]} does not work here: {said.strip()}") from exc
