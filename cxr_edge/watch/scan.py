"""What lies in a watched folder now, and which of it the ledger does not know as it is."""

import heapq
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ..ledger import DONE, Ledger
from ..reading import may_be_radiograph
from ..windows_path import reachable
from .settle import Look

# So many files are waited for at a time; those beyond are found by a later scan, so that a folder
# of any size takes the same memory.
MAX_CANDIDATES = 10_000
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class Wanted:
    """Which files of the folder are read. Patterns (*, ?, [...]) are matched, whatever their case,
    against the path below the folder, with / between its parts, and against the bare name."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    subfolders: bool = True

    def takes(self, name: str) -> bool:
        """name: of the file below the folder."""
        names = (name.replace(os.sep, "/").casefold(), name.rpartition(os.sep)[2].casefold())
        if self.include and not _matches(names, self.include):
            return False
        return not _matches(names, self.exclude)


@dataclass(frozen=True)
class Candidate:
    """A file that may have to be read. name: as the ledger has it; file_id, state: there, 0 and ""
    where it is new, has changed or is back."""

    path: Path
    name: str
    look: Look
    file_id: int
    state: str

    @property
    def has_answer(self) -> bool:
        return self.state == "read" or self.state in DONE


@dataclass(frozen=True)
class Scan:
    """candidates: the first ones of them in the order asked for, of n_candidates in all.

    answered: films that have their result and are not yet where they belong.
    """

    candidates: list[Candidate]
    n_candidates: int
    n_links: int
    answered: list[Candidate]
    took_s: float


@dataclass
class Scanner:
    """Lists a folder again and again, in a thread of its own: a share may not answer for minutes.

    ledger: for this thread alone. name_of: a path below the folder as the ledger has it.
    passed_over: whether a file, as it looks, needs no candidate, as it is in hand already.
    stays: whether a film in that state is left in the folder when it is done.
    keeps_ctime: whether the folder's file system tells when a file was last renamed or replaced.
    """

    folder: Path
    ledger: Ledger
    folder_id: int
    wanted: Wanted
    name_of: Callable[[str], str]
    passed_over: Callable[[Path, Look], bool] = lambda *_: False
    stays: Callable[[str], bool] = lambda _: True
    newest_first: bool = False
    keeps_ctime: bool = True
    _no_radiographs: dict[str, Look] = field(default_factory=dict)
    _n_links: int = 0

    def scan(self) -> Scan:
        """Raises OSError where the folder cannot be listed, and LedgerError."""
        started_s = time.perf_counter()
        sign = -1 if self.newest_first else 1
        self._n_links = 0
        n_candidates = 0
        answered: list[Candidate] = []
        # The first ones are kept: the heap has the last of them on top, to be pushed out.
        heap: list[tuple[int, str, Candidate]] = []
        for one in self._changed():
            if one.has_answer:
                if len(answered) < MAX_CANDIDATES:
                    answered.append(one)
                continue
            n_candidates += 1
            item = (-sign * one.look.modified_ns, one.name, one)
            if len(heap) < MAX_CANDIDATES:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
        ordered = sorted(
            (one for *_, one in heap), key=lambda c: (sign * c.look.modified_ns, c.name)
        )
        took_s = time.perf_counter() - started_s
        return Scan(ordered, n_candidates, self._n_links, answered, took_s)

    def examine(self, path: Path) -> Candidate | None:
        """One file that an event was about; None where there is nothing to do."""
        relative = path.relative_to(self.folder)
        parts, name = relative.parts, str(relative)
        if any(part.startswith(".") for part in parts) or not self.wanted.takes(name):
            return None
        if len(parts) > 1 and not self.wanted.subfolders:
            return None
        try:
            if _below_link(self.folder, parts[:-1]):
                return None
            status = reachable(path).lstat()
        except OSError:  # gone, or its folder may not be entered: a scan will tell
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return self._candidate(str(path), name, look_of(status, self.keeps_ctime))

    def look(self, path: Path) -> Look:
        """Raises OSError."""
        return look_of(reachable(path).lstat(), self.keeps_ctime)

    def _changed(self) -> Iterator[Candidate]:
        for path, name, status in self._files(str(self.folder), ""):
            candidate = self._candidate(path, name, look_of(status, self.keeps_ctime))
            # Windows brings what it lists up to date when a file is closed; only the file itself
            # tells how it is now.
            if candidate is not None and sys.platform == "win32":
                if reachable(candidate.path).is_file():
                    candidate = self.examine(candidate.path)
            if candidate is not None:
                yield candidate

    def _candidate(self, path: str, name: str, look: Look) -> Candidate | None:
        if self._no_radiographs.get(path) == look:
            return None
        known_as = self.name_of(name)
        file = self.ledger.file(self.folder_id, known_as)
        file_id, state = 0, ""
        if file is not None and file.look == look:
            if file.state in DONE and self.stays(file.state):
                return None
            if file.state != "gone":
                file_id, state = file.id, file.state
        found = Path(path)
        if self.passed_over(found, look):
            return None
        if file is None and not may_be_radiograph(found):
            if len(self._no_radiographs) >= _MAX_REMEMBERED:
                self._no_radiographs.clear()
            self._no_radiographs[path] = look
            return None
        return Candidate(found, known_as, look, file_id, state)

    def _files(self, folder: str, below: str) -> Iterator[tuple[str, str, os.stat_result]]:
        with os.scandir(reachable(Path(folder))) as entries:
            for entry in entries:
                # Hidden files are a system's own (.DS_Store, ._film.jpg) or half-copied.
                if entry.name.startswith("."):
                    continue
                # Not entry.path, which may have the prefix that makes it reachable.
                name, path = below + entry.name, os.path.join(folder, entry.name)  # noqa: PTH118
                try:
                    if entry.is_symlink() or _is_junction(entry):
                        self._n_links += 1
                    elif entry.is_dir(follow_symlinks=False):
                        if self.wanted.subfolders:
                            yield from self._subfolder(entry, path, name)
                    elif entry.is_file(follow_symlinks=False) and self.wanted.takes(name):
                        yield path, name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # gone between listing and looking
                    continue

    def _subfolder(
        self, entry: "os.DirEntry[str]", path: str, name: str
    ) -> Iterator[tuple[str, str, os.stat_result]]:
        try:
            yield from self._files(path, name + os.sep)
        except PermissionError:
            # It is tried, and gets a row of its own if it stays so: nobody is to believe it read.
            yield path, name, entry.stat(follow_symlinks=False)


def look_of(status: os.stat_result, keeps_ctime: bool) -> Look:
    # On Windows st_ctime is when the file was made, and a copy may keep that of the original.
    ctime_ns = status.st_ctime_ns if keeps_ctime and sys.platform != "win32" else 0
    return Look(status.st_size, status.st_mtime_ns, ctime_ns)


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.casefold()) for pattern in patterns for name in names)


def _below_link(folder: Path, parts: Sequence[str]) -> bool:
    path = folder
    for part in parts:
        path = path / part
        if reachable(path).is_symlink():
            return True
    return False


def _is_junction(entry: "os.DirEntry[str]") -> bool:
    """A folder that stands for another one, on Windows (os.DirEntry.is_junction: Python 3.12)."""
    if sys.platform != "win32":
        return False
    status = entry.stat(follow_symlinks=False)
    return status.st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
