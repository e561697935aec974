"""RECORD: the ledger, a SQLite file, is the truth about every film seen; a CSV is a view of it.

Every change is on the disk when its transaction ends (WAL with synchronous=FULL: see
sqlite.org/wal.html), so that a power cut takes nothing back that was said to be recorded.
"""

from .counts import Agreement, Answers, Counts, Day, Week
from .csv_files import CsvFiles, View
from .database import fsync_folder, midnight
from .files import DONE, NO_IDENTIFIERS, STATE_OF_STATUS, File, Files, Recorded, Unfinished
from .films import Films, Page, Wanted
from .predictions import Bearer, Prediction, Predictions
from .verdicts import VERDICTS, Verdict, Verdicts
from .watchers import Failure, Watcher, Watchers

__all__ = [
    "DONE",
    "NO_IDENTIFIERS",
    "STATE_OF_STATUS",
    "VERDICTS",
    "Agreement",
    "Answers",
    "Bearer",
    "Counts",
    "Day",
    "Failure",
    "File",
    "Ledger",
    "Page",
    "Prediction",
    "Recorded",
    "Unfinished",
    "Verdict",
    "View",
    "Wanted",
    "Watcher",
    "Week",
    "fsync_folder",
    "midnight",
]


class Ledger(Files, Films, Predictions, Verdicts, Counts, CsvFiles, Watchers):
    """The whole ledger: a file of this package for each of its users."""
