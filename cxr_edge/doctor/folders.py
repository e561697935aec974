"""The folders: whether they answer, can be written to, have room, and lie where they may."""

import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import CxrEdgeError
from ..status import answers, disks_of, of_disk, space_of
from ..watch.places import kind_of, refuse_ledger_on_share, refuse_mapped_drive
from ..windows_path import reachable
from .check import Check

# Windows' MAX_PATH counts the zero at the end.
MAX_PATH = 259
# A share that is away may not answer for minutes.
_ANSWER_S = 10.0
_SURVEY_S = 5.0
# The year 2200. A file may say that it is of a year that no calendar has.
_FAR_S = 7_258_118_400.0
# cxr-edge makes them itself where they are not there.
_MADE = ("ledger", "models", "cache", "log.file", "privacy.key_file")
_LONG_PATHS_KEY = r"SYSTEM\CurrentControlSet\Control\FileSystem"


@dataclass(frozen=True)
class Places:
    """Where cxr-edge works. written: the folders that it writes into, by what they hold. ledger:
    the file. films: the watched folder; None where none is named."""

    written: Mapping[str, Path]
    ledger: Path
    films: Path | None = None


@dataclass(frozen=True)
class Survey:
    """What a folder holds, as far as it was looked through. n_long: files whose path has more than
    MAX_PATH characters; longest: of the longest one. newest: when a file last changed."""

    n_files: int
    n_long: int
    longest: int
    newest: datetime | None
    is_whole: bool


def checks(places: Places, survey: Survey | None) -> Iterator[Check]:
    """survey: of the films' folder, None where it did not answer or none is named."""
    folders = dict(places.written)
    if places.films is not None:
        yield check_films(places.films, survey)
        folders = {"films": places.films, **folders}
    tried = answers(
        lambda holds: check_writing(holds, places.written[holds]), places.written, _ANSWER_S
    )
    for holds, folder in places.written.items():
        yield tried.get(holds) or Check(f"writing, {holds}", "warning", *_does_not_answer(folder))
    yield from check_free_space(folders)
    yield from check_drives(folders, places.ledger)
    enabled = long_paths_enabled()
    if enabled is not None:
        yield check_long_paths(enabled, survey)


def check_films(folder: Path, survey: Survey | None) -> Check:
    if survey is None:
        return Check("films", "warning", *_does_not_answer(folder))
    if not folder.is_dir():
        step = "Make it, or name another."
        return Check("films", "warning", f"there is no folder {folder}", step)
    more = "" if survey.is_whole else " and more"
    return Check("films", "ok", f"{folder}, {survey.n_files} files{more}")


def survey_in_time(folder: Path) -> Survey | None:
    """None where the folder does not answer."""
    return answers(survey, [folder], _ANSWER_S).get(folder)


def survey(folder: Path, seconds: float = _SURVEY_S) -> Survey:
    """Look through a folder for so long; folders that cannot be listed are passed over."""
    end_s = time.monotonic() + seconds
    n_files = n_long = longest = 0
    newest_s: float | None = None
    waiting, is_whole = [str(folder.absolute())], True
    while waiting and is_whole:
        below = waiting.pop()
        try:
            with os.scandir(reachable(Path(below))) as entries:
                for entry in entries:
                    if time.monotonic() > end_s:
                        is_whole = False
                        break
                    # Not entry.path, which may have the prefix that makes it reachable.
                    path, status = f"{below}{os.sep}{entry.name}", entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(path)
                    elif stat.S_ISREG(status.st_mode):
                        n_files, n_long = n_files + 1, n_long + (len(path) > MAX_PATH)
                        longest = max(longest, len(path))
                        newest_s = max(newest_s or 0.0, min(status.st_mtime, _FAR_S))
        except OSError:
            continue
    newest = None if newest_s is None else datetime.fromtimestamp(newest_s, UTC)
    return Survey(n_files, n_long, longest, newest, is_whole)


def check_writing(holds: str, folder: Path) -> Check:
    """Whether a file can be made in a folder; where cxr-edge makes that, in what it will lie in."""
    name = f"writing, {holds}"
    place = _nearest(folder) if holds in _MADE else folder
    try:
        _write_and_remove(place / f".cxr-edge-{secrets.token_hex(4)}")
    except OSError as exc:
        step = (
            "Get the right to write there; as a service, cxr-edge has folders of its own."
            if holds in _MADE
            else "Name a folder that is there and can be written to."
        )
        return Check(name, "warning", f"{folder} cannot be written to ({exc.strerror})", step)
    return Check(name, "ok", str(folder))


def check_free_space(
    folders: Mapping[str, Path], space_of: Callable[[Path], tuple[int, int]] = space_of
) -> Iterator[Check]:
    """Of each disk, with what lies on it. space_of: see status.space_of."""
    for disk in disks_of(folders, answers(space_of, set(folders.values()), _ANSWER_S)):
        if trouble := of_disk(disk):
            yield Check("free space", "warning", trouble.says, trouble.next_step)
        else:
            free = f"{(disk.free_bytes or 0) / 1e9:.1f} GB"
            yield Check("free space", "ok", f"{free} for {', '.join(disk.holds)}")


def check_drives(
    folders: Mapping[str, Path],
    ledger: Path,
    refuse_drive: Callable[[Path], None] = refuse_mapped_drive,
    refuse_ledger: Callable[[Path], None] = refuse_ledger_on_share,
) -> Iterator[Check]:
    """Mapped drives, which no service sees, and a ledger on a share. refuse_...: raise
    CxrEdgeError where it is so."""
    found = []
    for holds, folder in folders.items():
        try:
            refuse_drive(folder)
        except CxrEdgeError as exc:
            found.append(Check(f"drive, {holds}", "warning", exc.message, exc.next_step))
    try:
        refuse_ledger(ledger)
    except CxrEdgeError as exc:
        found.append(Check("drive, ledger", "warning", exc.message, exc.next_step))
    if found:
        yield from found
        return
    kinds = answers(kind_of, set(folders.values()), _ANSWER_S)
    shares = [holds for holds, folder in folders.items() if kinds.get(folder) != "local"]
    yield Check("drives", "ok", f"on shares: {', '.join(shares)}" if shares else "this PC's own")


def check_long_paths(enabled: bool, survey: Survey | None) -> Check:
    """enabled: see long_paths_enabled."""
    state = f"more than {MAX_PATH} characters are {'on' if enabled else 'off'}"
    if enabled or survey is None or not survey.n_long:
        return Check("long paths", "ok", state)
    return Check(
        "long paths",
        "warning",
        f"{state}, and {survey.n_long} files in the films' folder have such a path, the longest "
        f"of {survey.longest}: cxr-edge reads them, other programs may not open them",
        "Use shorter names, or have an administrator set LongPathsEnabled to 1 in the registry "
        rf"(HKLM\{_LONG_PATHS_KEY}) and start the PC anew.",
    )


def long_paths_enabled() -> bool | None:
    """Whether Windows lets programs use paths of more than MAX_PATH characters; None elsewhere.

    Learn.microsoft.com: "Maximum Path Length Limitation".
    """
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _LONG_PATHS_KEY) as key:
                return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        except OSError:  # never set: off
            return False
    return None


def _write_and_remove(path: Path) -> None:
    """Not tempfile, which on Windows tries ten thousand names where it may not write."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_TEMPORARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, b"x")  # a full disk still takes a name
    finally:
        os.close(descriptor)
        if os.name != "nt":  # where closing it removes it
            path.unlink()


def _nearest(folder: Path) -> Path:
    """It, or the first above it that is there."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), folder)


def _does_not_answer(folder: Path) -> tuple[str, str]:
    return (
        f"{folder} does not answer within {_ANSWER_S:.0f} s",
        "Check the network, and whether the machine that shares it runs.",
    )
