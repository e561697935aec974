"""The system's word that a file has come, which only wakes the scan early: shares give none, a
queue overflows, and a dropped share ends them without a sign (see watchdog's README on CIFS)."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_MAX_PATHS = 1000
_QUIET_S = 0.1 if sys.platform == "win32" else 1.0


class Events:
    """Collects the paths of files that were made, written or moved into the folder."""

    def __init__(self, folder: Path, subfolders: bool, wake: Callable[[], object]) -> None:
        self._folder, self._subfolders, self._wake = folder, subfolders, wake
        self._lock = threading.Lock()
        self._paths: set[Path] = set()
        self._overflowed = False
        self._observer: Any = None

    def start(self) -> None:
        """Begin to listen, or say in the log why the scan has to do alone."""
        from watchdog.events import (
            FileClosedEvent,
            FileCreatedEvent,
            FileModifiedEvent,
            FileMovedEvent,
            FileSystemEvent,
            FileSystemEventHandler,
        )
        from watchdog.observers import Observer

        heard = self._heard

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                heard(event.dest_path if event.event_type == "moved" else event.src_path)

        # On Windows it keeps what it hears to itself until it has heard nothing for so long.
        observer = Observer(timeout=_QUIET_S)
        try:
            observer.schedule(
                Handler(),
                str(self._folder),
                recursive=self._subfolders,
                # Not those that are opened: each film of a backlog is, by this program.
                event_filter=[FileClosedEvent, FileCreatedEvent, FileModifiedEvent, FileMovedEvent],
            )
            observer.start()
        # Too many folders for inotify's limit, or the folder is away.
        except OSError as exc:
            logger.warning("No file events from the folder (%s); it is scanned.", exc.strerror)
            return
        self._observer = observer

    def take(self) -> tuple[set[Path], bool]:
        """The files heard of since the last call, and whether there were more than are kept."""
        with self._lock:
            paths, overflowed = self._paths, self._overflowed
            self._paths, self._overflowed = set(), False
        return paths, overflowed

    def renew(self) -> None:
        """Listen anew to a folder that was away and is back: the old one's events never come."""
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5)
            self._observer = None

    def _heard(self, path: bytes | str) -> None:
        with self._lock:
            if len(self._paths) < _MAX_PATHS:
                self._paths.add(Path(os.fsdecode(path)))
            else:
                self._overflowed = True
        self._wake()
