"""What was said of films, as it was said."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..result import HEALING_CODES, Finding, Identifiers, Result
from .database import Database, iso, translated
from .schema import SAME_CONTENT


@dataclass(frozen=True)
class Prediction:
    """What was said of a film once, by one model."""

    id: int
    folder: Path
    file_id: int
    result: Result
    version: str
    identifiers: Identifiers


@dataclass(frozen=True)
class Bearer:
    """A file with a film. name: below the folder, or the pseudonym of that. place: where it should
    lie; None: only the pseudonym of its name is known. sha256: of what it last held."""

    file_id: int
    folder: Path
    name: str
    place: Path | None
    sha256: str


# What `prediction_of` makes a prediction of.
COLUMNS = (
    "predictions.id, folders.path, file_id, source, status, reason, findings, predictions.model, "
    "model_sha256, provider, duration_ms, predictions.processed_at, sha256, version, patient, "
    "study, instance, distance, profile"
)
PREDICTIONS = f"SELECT {COLUMNS} FROM predictions JOIN folders ON folders.id = folder_id"


class Predictions(Database):
    """What is written of them elsewhere, and who bears them."""

    def predictions(
        self,
        folder: Path | None = None,
        after_id: int = 0,
        limit: int = -1,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str = "",
        status: str = "",
        latest: bool = False,
    ) -> Iterator[Prediction]:
        """In the order in which they were made. until: before that time.

        model: as its rows name it, its name alone, or its sha256 or the beginning of that. latest:
        of each film only the last of those that all else allows.
        """
        conditions: list[str] = ["predictions.id > ?"]
        values: list[Any] = [after_id]
        for condition, value in (
            ("folders.path = ?", None if folder is None else os.fsencode(folder)),
            ("processed_at >= ?", since and iso(since)),
            ("processed_at < ?", until and iso(until)),
            ("status = ?", status or None),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if model:
            conditions.append(
                "(model = ? OR substr(model, 1, ?) = ? OR substr(model_sha256, 1, ?) = ?)"
            )
            values += [model, len(model) + 1, model + " ", max(len(model), 8), model.lower()]
        if latest:
            # One of which not even the content is known is told by its file.
            conditions.append(
                "predictions.id IN (SELECT max(predictions.id) FROM predictions "
                f"JOIN folders ON folders.id = folder_id WHERE {' AND '.join(conditions)} "
                "GROUP BY CASE sha256 WHEN '' THEN file_id ELSE sha256 END)"
            )
            values += values
        query = f"{PREDICTIONS} WHERE {' AND '.join(conditions)} ORDER BY predictions.id LIMIT ?"
        with translated(self.path):
            for row in self._db.execute(query, (*values, limit)):
                yield prediction_of(row)

    def last_prediction_id(self, folder_id: int | None = None) -> int:
        """Of that folder, or of all; 0: there is none."""
        if folder_id is None:
            row = self.one("SELECT max(id) FROM predictions")
        else:
            row = self.one("SELECT max(id) FROM predictions WHERE folder_id = ?", folder_id)
        return int(row[0] or 0)

    def bearers(self, prediction: Prediction) -> list[Bearer]:
        """The film's file, and then the others of the same content that it answers for."""
        rows = self.all(
            "SELECT files.id, folders.path, name, moved_to, sha256 FROM files "
            "JOIN folders ON folders.id = folder_id WHERE files.id = ? OR prediction_id = ? "
            "ORDER BY files.id != ?, files.id",
            *(prediction.file_id, prediction.id, prediction.file_id),
        )
        # Rows name a film by its path, or by the pseudonym of its name.
        is_path = bool(rows) and prediction.result.source != Path(os.fsdecode(rows[0][2]))
        bearers = []
        for row in rows:
            folder, name = Path(os.fsdecode(row[1])), os.fsdecode(row[2])
            place = folder / name if is_path else None
            if row[3] is not None:
                place = Path(os.fsdecode(row[3]))
            bearers.append(Bearer(row[0], folder, name, place, row[4]))
        return bearers

    def has_answer(self, sha256: str, model_sha256: str) -> bool:
        """Whether that model has read that content, with an outcome that time does not change."""
        rows = self.all(
            f"SELECT DISTINCT code FROM predictions WHERE {SAME_CONTENT} AND model_sha256 = ?2",
            *(sha256, model_sha256),
        )
        return any(row[0] not in HEALING_CODES for row in rows)

    def finding_names(self) -> list[str]:
        """Every finding that any model has ever looked for here."""
        rows = self.all(
            "SELECT DISTINCT json_extract(value, '$[0]') FROM predictions, json_each(findings) "
            "ORDER BY 1"
        )
        return [str(row[0]) for row in rows]


def prediction_of(row: Sequence[Any]) -> Prediction:
    result = Result(
        source=Path(os.fsdecode(row[3])),
        status=row[4],
        reason=row[5],
        findings=tuple(Finding(*one) for one in json.loads(row[6])),
        model=row[7],
        model_sha256=row[8],
        provider=row[9],
        duration_ms=row[10],
        processed_at=datetime.fromisoformat(row[11]),
        sha256=row[12],
        distance=row[17],
        profile=row[18],
    )
    return Prediction(
        row[0], Path(os.fsdecode(row[1])), row[2], result, row[13], Identifiers(*row[14:17])
    )
