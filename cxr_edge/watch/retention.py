"""What is too old to be kept is removed, where the settings say after how many days."""

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..heatmap_folder import HEATMAP_NAME
from ..ledger import Ledger
from .afterwards import delete
from .settings import Settings

logger = logging.getLogger(__name__)


def remove_old(settings: Settings, ledger: Ledger, now: datetime) -> None:
    """Raises LedgerError. Files that cannot be deleted are left for the next time."""
    keep = settings.retention
    if keep.films_days:
        _remove_films(ledger, now - timedelta(days=keep.films_days))
    if keep.heatmaps_days and settings.heatmaps.folder:
        _remove_heatmaps(settings.heatmaps.folder, now - timedelta(days=keep.heatmaps_days))
    if keep.results_days:
        n_results = ledger.forget_results(now - timedelta(days=keep.results_days))
        if n_results:
            logger.info("%d results older than %d days forgotten", n_results, keep.results_days)
        _forget_files(ledger, now - timedelta(days=keep.results_days))


def _forget_files(ledger: Ledger, before: datetime) -> None:
    """The names of files that are gone; one that still lies there would be read again."""
    for file_id, folder, name in ledger.files_without_result(before):
        if folder.is_dir() and not os.path.lexists(folder / name):
            ledger.forget_file(file_id)


def _remove_films(ledger: Ledger, before: datetime) -> None:
    """Only films that were moved, and thus are the ledger's to look after."""
    n_films = 0
    for file_id, path in ledger.moved_before(before):
        try:
            delete(path)
            path.with_name(f"{path.name}.reason.txt").unlink(missing_ok=True)
        except OSError as exc:
            logger.warning("film %d cannot be deleted (%s)", file_id, exc.strerror)
            continue
        ledger.forget_place(file_id)
        n_films += 1
    if n_films:
        logger.info("%d films deleted that had been moved before %s", n_films, before.date())


def _remove_heatmaps(folder: Path, before: datetime) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                made = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
                if HEATMAP_NAME.search(entry.name) and made < before:
                    Path(entry.path).unlink()
    except OSError as exc:
        logger.warning("Old heatmaps cannot be deleted (%s).", exc.strerror)
