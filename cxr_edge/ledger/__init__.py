"""RECORD: the ledger, a SQLite file, is the truth about every film seen; a CSV is a view of it.

Every change is on the disk when its transaction ends (WAL with synchronous=FULL: see
sqlite.org/wal.html), so that a power cut takes nothing back that was said to be recorded.
"""

from .csv_files import CsvFiles, View
from .database import fsync_folder
from .files import DONE, NO_IDENTIFIERS, STATE_OF_STATUS, File, Files, Recorded, Unfinished
from .predictions import Bearer, Prediction, Predictions
from .watchers import Failure, Watcher, Watchers

__all__ = [
    "DONE",
    "NO_IDENTIFIERS",
    "STATE_OF_STATUS",
    "Bearer",
    "Failure",
    "File",
    "Ledger",
    "Prediction",
    "Recorded",
    "Unfinished",
    "View",
    "Watcher",
    "fsync_folder",
]


class Ledger(Files, Predictions, CsvFiles, Watchers):
    """The whole ledger: a file of this package for each of its users."""
