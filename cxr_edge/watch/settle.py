"""When a file has stopped changing: pure code, from what was seen and an injected clock."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Look:
    """What is seen of a file without opening it; two looks are equal where nothing has changed.

    changed_ns: when its name, place or rights last changed (st_ctime_ns); 0 where the system does
    not tell or, on a share, does not keep to it.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int = 0


class SettleTracker:
    """The files that are waited for, each since it last changed.

    A file that keeps changing is never given up; only time that passes ends the wait, and that on a
    clock that nobody sets back.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        # In the order of the last change: the longest unchanged first.
        self._waiting: dict[Path, tuple[Look, float]] = {}

    def saw(self, path: Path, look: Look, now_s: float) -> bool:
        """Whether the file is new here or has changed since it was last seen."""
        seen = self._waiting.get(path)
        if seen is not None and seen[0] == look:
            return False
        self._waiting.pop(path, None)
        self._waiting[path] = (look, now_s)
        return True

    def forget(self, path: Path) -> None:
        self._waiting.pop(path, None)

    def settled(self, now_s: float) -> list[tuple[Path, Look]]:
        """The files to read now, which are waited for no longer; reading one is the second look."""
        ready = []
        for path, (look, since_s) in self._waiting.items():
            if now_s - since_s < self._settle_s:
                break
            ready.append((path, look))
        for path, _ in ready:
            del self._waiting[path]
        return ready

    def next_s(self) -> float | None:
        """When the next file will have settled, if none changes; None where none is waited for."""
        for _, since_s in self._waiting.values():
            return since_s + self._settle_s
        return None
