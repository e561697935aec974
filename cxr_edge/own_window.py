"""A console window that is this program's own: it opened with it, by a double click, and closes
with it, whether or not what stands there was read."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .language import _


class Window:
    """own: whether it closes with this process. worth_reading: whether it says something that its
    person has to read."""

    def __init__(self, own: bool) -> None:
        self.own = own
        self.worth_reading = True


def is_own() -> bool:
    """Whether no other process uses this one's console, as a shell would."""
    if sys.platform == "win32":
        if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
            return False
        import ctypes

        # https://learn.microsoft.com/windows/console/getconsoleprocesslist
        return bool(ctypes.windll.kernel32.GetConsoleProcessList((ctypes.c_ulong * 2)(), 2) == 1)
    return False


@contextmanager
def kept_open(window: Window, wait: Callable[[str], object] = input) -> Iterator[None]:
    """Let a window of this program's own stay until its person has read it.

    wait: says its text and returns when Enter was pressed.
    """
    try:
        yield
    except Exception:
        if not window.own:
            raise
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        if window.own and window.worth_reading:
            sys.stdout.flush()
            with suppress(EOFError, KeyboardInterrupt):
                wait("\n" + _("Press Enter to close this window."))


def command_for(dropped: list[str]) -> list[str]:
    """The arguments that stand for what was dropped onto the program's icon: a folder is watched,
    files are read; arguments that are neither stay as they are."""
    from pathlib import Path

    if not dropped or not all(Path(name).exists() for name in dropped):
        return dropped
    if len(dropped) == 1 and Path(dropped[0]).is_dir():
        return ["start", *dropped]
    return ["predict", *dropped]
