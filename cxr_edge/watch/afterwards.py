"""What becomes of a film's file once its answer is recorded: left, moved, deleted or set aside."""

import filecmp
import os
import shutil
import stat
import sys
from pathlib import Path

from ..ledger import fsync_folder
from ..windows_path import reachable
from .settings import AfterSettings


class Afterwards:
    """Puts films away as the settings say."""

    def __init__(self, settings: AfterSettings) -> None:
        self._settings = settings

    def stays(self, status: str) -> bool:
        """Whether films of that status are left where they are."""
        if status == "ok":
            return self._settings.success == "leave"
        return self._settings.failed_to is None

    def put_away(self, path: Path, name: str, status: str, reason: str) -> Path | None:
        """Move or delete one film; where it lies now, None if nowhere.

        name: below the watched folder, kept below the new one. A film that is no longer there was
        put away before, by a watcher that was stopped before it could say so.
        Raises OSError: it is where it was.
        """
        if status == "ok" and self._settings.success == "delete":
            delete(path)
            return None
        target = self._settings.moved_to if status == "ok" else self._settings.failed_to
        if target is None:
            return path
        moved_to = _move(path, target / name)
        if status != "ok" and moved_to is not None:
            beside = moved_to.with_name(f"{moved_to.name}.reason.txt")
            beside.write_text(f"{status}: {reason}\n", encoding="utf-8", errors="backslashreplace")
        return moved_to


def _move(path: Path, target: Path) -> Path | None:
    """Where the film went; one of that name which is there already keeps it."""
    path, target = reachable(path), reachable(target)
    if not os.path.lexists(path):
        return target if target.exists() else None
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted, number = target, 1
    while os.path.lexists(target):
        if target.is_file() and filecmp.cmp(path, target, shallow=False):
            delete(path)
            return target
        number += 1
        target = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    try:
        path.rename(target)
    # On another disk: whole there before it is gone here. (EXDEV; Windows has words of its own.)
    except OSError:
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.copyfile(path, partial)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            shutil.copystat(path, partial)  # last: the film may be read-only
            partial.rename(target)
        finally:
            delete(partial)
        fsync_folder(target.parent)
        delete(path)
    return target


def delete(path: Path) -> None:
    """A film, if it is there. Raises OSError."""
    path = reachable(path)
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        if sys.platform != "win32":
            raise
        path.chmod(stat.S_IWRITE)  # it is marked read-only, as everything is that was on a CD
        path.unlink()
