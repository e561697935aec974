"""What a fault gave: one row of the table."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Outcome:
    """figures: what was done and counted, in one line. holds: whether that is what must be.

    undone: what of it this machine, or this user, cannot imitate.
    """

    fault: str
    figures: str
    holds: bool
    undone: str = ""


@dataclass(frozen=True)
class Scale:
    """How much is done, and where: `folder` is empty, on a real disk, and the fault's own."""

    folder: Path
    full: bool = False
    seed: int = 0

    def say(self, done: int, of: int, what: str) -> None:
        """How far it is, ten times in all, on the error stream."""
        if done * 10 // of != (done - 1) * 10 // of:
            print(f"{done:,} of {of:,} {what}", file=sys.stderr, flush=True)

    def of(self, short: _T, full: _T) -> _T:
        return full if self.full else short


class CannotRunError(Exception):
    """This machine, or this user, cannot imitate the fault; the message says why."""
