"""How far the CSV files show what the ledger has."""

import os
from dataclasses import dataclass
from pathlib import Path

from .database import Database
from .predictions import Prediction
from .schema import SAME_CONTENT


@dataclass(frozen=True)
class View:
    """A CSV file, and how far a folder's predictions are in it."""

    path: Path
    folder: Path
    folder_id: int
    through_id: int
    dialect: str
    rotate: str


class CsvFiles(Database):
    """What csv_view keeps of each CSV."""

    def view_through(self, csv_path: Path, folder_id: int) -> int:
        """The last prediction of the folder that is known to be in the CSV; 0: none."""
        row = self.one(
            "SELECT through_id FROM csv_views WHERE path = ? AND folder_id = ?",
            *(os.fsencode(csv_path), folder_id),
        )
        return 0 if row is None else int(row[0])

    def set_view_through(
        self,
        csv_path: Path,
        folder_id: int,
        through_id: int,
        dialect: str = "standard",
        rotate: str = "never",
    ) -> None:
        self.run(
            "INSERT INTO csv_views VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "through_id = excluded.through_id, dialect = excluded.dialect, "
            "rotate = excluded.rotate",
            *(os.fsencode(csv_path), folder_id, through_id, dialect, rotate),
        )

    def views(self, csv_path: Path | None = None, folder: Path | None = None) -> list[View]:
        """The CSV files that rows have gone to: that one, those of the folder, or all."""
        rows = self.all(
            "SELECT csv_views.path, folders.path, folder_id, through_id, dialect, rotate "
            "FROM csv_views JOIN folders ON folders.id = folder_id "
            "WHERE csv_views.path = coalesce(?, csv_views.path) "
            "AND folders.path = coalesce(?, folders.path) ORDER BY 1, 2",
            *(None if path is None else os.fsencode(path) for path in (csv_path, folder)),
        )
        return [View(Path(os.fsdecode(r[0])), Path(os.fsdecode(r[1])), *r[2:]) for r in rows]

    def csv_size(self, path: Path) -> int | None:
        """How large the file was after the last row that is known to be in it; None: never seen,
        -1: what is in it is to be looked at."""
        row = self.one("SELECT size_bytes FROM csv_files WHERE path = ?", os.fsencode(path))
        return None if row is None else int(row[0])

    def csv_mount_point(self, path: Path) -> Path | None:
        """Of the disk or share that the file was last written to; None: it never was."""
        row = self.one("SELECT mount_point FROM csv_files WHERE path = ?", os.fsencode(path))
        return None if row is None else Path(os.fsdecode(row[0]))

    def set_csv_size(self, path: Path, size_bytes: int, mount_point: Path) -> None:
        self.run(
            "INSERT INTO csv_files VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
            "size_bytes = excluded.size_bytes, mount_point = excluded.mount_point",
            *(os.fsencode(path), size_bytes, os.fsencode(mount_point)),
        )

    def forget_csv(self, path: Path, others: Path | None = None) -> None:
        """The file is to be begun anew; others: what the rest of its rotated view is in, by the
        beginning of their paths, is to be looked at."""
        self.run("DELETE FROM csv_files WHERE path = ?", os.fsencode(path))
        if others is not None:
            start = os.fsencode(others)
            self.run(
                "UPDATE csv_files SET size_bytes = -1 WHERE substr(path, 1, ?) = ?",
                *(len(start), start),
            )

    def n_said_before(self, prediction: Prediction) -> int:
        """How many earlier predictions there are of the same content under the same name by the
        same model."""
        row = self.one(
            f"SELECT count(*) FROM predictions WHERE {SAME_CONTENT} AND model_sha256 = ?2 "
            "AND source = ?3 AND id < ?4",
            *(prediction.result.sha256, prediction.result.model_sha256),
            *(os.fsencode(prediction.result.source), prediction.id),
        )
        return int(row[0])
