"""The log file of a watcher: one JSON object per line, without patient data, rotated by size.

Only what cxr_edge itself logs goes there: other libraries name files and DICOM values. Of an
exception it takes the type and the lines of code, never the message, for the same reason.
"""

import errno
import json
import logging
import os
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from .settings import LogSettings

logger = logging.getLogger(__name__)
_PACKAGE = __name__.partition(".")[0]


def add_log_file(log: LogSettings) -> "LogFile | None":
    """What cxr_edge logs from now on goes into `log.file` too; None where none is asked for.

    Give the handler to `remove_log_file` in the end. Whatever becomes of the disk, nothing is
    raised.
    """
    if log.file is None:
        return None
    handler = LogFile(log.file, round(log.max_mb * 1_000_000), log.keep)
    level: int = getattr(logging, log.level.upper())
    handler.setLevel(level)
    package = logging.getLogger(_PACKAGE)
    package.setLevel(min(level, package.getEffectiveLevel()))
    package.addHandler(handler)
    if not log.file.parent.is_dir():
        logger.warning("There is no folder %s: nothing is logged until it is.", log.file.parent)
    return handler


def remove_log_file(handler: "LogFile | None") -> None:
    if handler is not None:
        package = logging.getLogger(_PACKAGE)
        package.removeHandler(handler)
        package.setLevel(logging.NOTSET)
        handler.close()


class LogFile(logging.Handler):
    """Appends lines to a file that is opened for each of them.

    So it may be read, moved or deleted meanwhile, and after a full disk or an absent folder the
    next line finds by itself what has come back; the lines lost until then are counted, and the
    count is the first thing written. (logging's RotatingFileHandler keeps what a full disk refused
    in its buffer, and stops for good where Windows lets it not rename the file.)
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        super().__init__()
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._n_lost = 0
        self.setFormatter(JsonLine())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if self._n_lost:
            lost = {
                "time": _utc(record.created),
                "level": "WARNING",
                "logger": __name__,
                "message": f"{self._n_lost} lines could not be written and are lost.",
                "lost": self._n_lost,
            }
            line = f"{json.dumps(lost)}\n{line}"
        try:
            self._append(f"{line}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            self._n_lost += 1
        else:
            self._n_lost = 0

    def _append(self, data: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(data) > self._max_bytes:
                self._rotate()
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(data) != len(data):  # the disk became full half-way
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _rotate(self) -> None:
        """file -> file.1 -> file.2 ...; where another program holds one, the file grows on."""
        with suppress(OSError):
            self._shift()  # one that was cut short
            self._path.replace(self._older(0))
            self._shift()

    def _shift(self) -> None:
        if self._older(0).exists():
            for n in range(self._keep, 0, -1):
                with suppress(FileNotFoundError):
                    self._older(n - 1).replace(self._older(n))

    def _older(self, n: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{n}")


class JsonLine(logging.Formatter):
    """time (UTC), level, logger, message; film (its number in the ledger); error and stack."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit it
            message = str(record.msg)
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        if (film := getattr(record, "film", None)) is not None:
            line["film"] = film
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line["error"] = _kind(error)
            if cause := error.__cause__ or error.__context__:
                line["cause"] = _kind(cause)
            line["stack"] = [
                f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno}:{frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line, ensure_ascii=False, default=str)


def _kind(error: BaseException) -> str:
    """The type, and the system's own words for its number."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        return f"{name} ({os.strerror(error.errno)})"
    return name


def _utc(timestamp_s: float) -> str:
    return datetime.fromtimestamp(timestamp_s, UTC).isoformat(timespec="milliseconds")
