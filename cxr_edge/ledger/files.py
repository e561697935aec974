"""Files on their way from seen to recorded, and until they are forgotten."""

import json
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .. import __version__
from ..result import HEALING_CODES, Identifiers, Result
from ..watch.settle import Look
from .database import Database, iso, translated, utf8
from .predictions import Prediction
from .schema import SAME_CONTENT

# States that ask for nothing more, as long as the file stays as it is.
DONE = frozenset({"recorded", "refused", "failed", "set_aside"})
NO_IDENTIFIERS = Identifiers()
STATE_OF_STATUS = {"ok": "recorded", "refused": "refused", "failed": "failed"}


@dataclass(frozen=True)
class File:
    """What the ledger knows of a file in a watched folder."""

    id: int
    look: Look
    state: str
    owner: str
    lease_until_s: float


@dataclass(frozen=True)
class Recorded:
    """prediction_id: the one that answers for the film. copy_of: the film of another name, recorded
    before, that has the same content. repeated: the film itself was recorded before, and only its
    time stamps have changed."""

    prediction_id: int
    copy_of: Path | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A film with an answer whose row is in the CSV, and which is still to be moved or deleted."""

    file_id: int
    name: str
    look: Look
    prediction_id: int
    status: str
    reason: str


class Files(Database):
    """What the loop asks and says of files."""

    def file(self, folder_id: int, name: str) -> File | None:
        """name: of the file below its folder, or the pseudonym of that."""
        row = self.one(
            "SELECT id, size_bytes, modified_ns, changed_ns, state, owner, lease_until_s "
            "FROM files WHERE folder_id = ? AND name = ?",
            folder_id,
            os.fsencode(name),
        )
        return None if row is None else File(row[0], Look(*row[1:4]), *row[4:])

    def saw(self, folder_id: int, name: str, look: Look) -> int:
        """A file that is new, has changed or has come back; returns its number."""
        row = self.one(
            "INSERT INTO files (folder_id, name, size_bytes, modified_ns, changed_ns, state, "
            "seen_at, changed_at) VALUES (?, ?, ?, ?, ?, 'seen', ?, ?) "
            "ON CONFLICT (folder_id, name) DO UPDATE SET size_bytes = excluded.size_bytes, "
            "modified_ns = excluded.modified_ns, changed_ns = excluded.changed_ns, "
            "state = 'seen', changed_at = excluded.changed_at, moved_to = NULL RETURNING id",
            folder_id,
            os.fsencode(name),
            *vars(look).values(),
            self.stamp(),
            self.stamp(),
        )
        return int(row[0])

    def take(self, file_id: int, look: Look, owner: str, now_s: float, lease_s: float) -> bool:
        """Whether `owner` may read the file, which has settled: nobody else reads or has read it.

        now_s: of a clock that all processes of this machine share, such as time.monotonic. A lease
        that ends later than any can is of the time before this machine was started anew.
        """
        row = self.one(
            "UPDATE files SET state = 'settled', owner = ?, lease_until_s = ?, changed_at = ? "
            "WHERE id = ? AND (owner IN ('', ?) OR lease_until_s <= ? OR lease_until_s > ?) "
            "AND (state IN ('seen', 'settled', 'gone') "
            "OR (size_bytes, modified_ns, changed_ns) IS NOT (?, ?, ?)) RETURNING id",
            *(owner, now_s + lease_s, self.stamp(), file_id, owner, now_s, now_s + lease_s),
            *vars(look).values(),
        )
        return row is not None

    def release(self, file_id: int, state: str) -> None:
        """The file was not read: it is changing ("seen"), waits for the next try ("settled"), or
        has "gone"."""
        self.run(
            "UPDATE files SET state = ?, owner = '', changed_at = ? WHERE id = ?",
            *(state, self.stamp(), file_id),
        )

    def release_unseen(self, folder_id: int, seen: Container[str]) -> None:
        """Files that were to be read and that no scan finds any more have gone.

        seen: the names of those that it does find.
        """
        rows = self.all(
            "SELECT id, name FROM files WHERE folder_id = ? AND state IN ('seen', 'settled') "
            "AND owner = ''",
            folder_id,
        )
        with self.transaction():
            for file_id, name in rows:
                if os.fsdecode(name) not in seen:
                    self.run(
                        "UPDATE files SET state = 'gone', changed_at = ? "
                        "WHERE id = ? AND state IN ('seen', 'settled')",
                        *(self.stamp(), file_id),
                    )

    def put_off(self, file_id: int, code: str) -> None:
        """A reading that may heal did not succeed; the file is tried again later."""
        self.run(
            "INSERT INTO attempts (file_id, at, code) VALUES (?, ?, ?)",
            *(file_id, self.stamp(), code),
        )
        self.release(file_id, "settled")

    def record(
        self, file_id: int, look: Look, result: Result, identifiers: Identifiers = NO_IDENTIFIERS
    ) -> Recorded:
        """What was said of a file, as it looked; a film that was recorded before by the same model
        is not recorded again.

        A file that was replaced by another film is, even where that film is known from elsewhere:
        the last row of its name must be about what now bears it.
        """
        with self.transaction():
            folder_id, said_id, said_sha256 = self.one(
                "SELECT folder_id, prediction_id, sha256 FROM files WHERE id = ?", file_id
            )
            known = self._known(folder_id, result)
            replaced = said_id is not None and said_sha256 != result.sha256
            if known is not None and not replaced:
                prediction_id, source, known_file_id = known
                same = known_file_id == file_id
                recorded = Recorded(
                    prediction_id, None if same else Path(os.fsdecode(source)), same
                )
            else:
                recorded = Recorded(self._insert(folder_id, file_id, result, identifiers))
            self.run(
                "UPDATE files SET state = 'read', owner = '', prediction_id = ?, sha256 = ?, "
                "size_bytes = ?, modified_ns = ?, changed_ns = ?, changed_at = ? WHERE id = ?",
                *(recorded.prediction_id, result.sha256, *vars(look).values()),
                *(self.stamp(), file_id),
            )
        return recorded

    def record_again(
        self, prediction: Prediction, result: Result, identifiers: Identifiers = NO_IDENTIFIERS
    ) -> int:
        """What another model, or the same one again, says of a film that was recorded before."""
        folder_id = self.folder_id(prediction.folder)
        with self.transaction():
            new_id = self._insert(folder_id, prediction.file_id, result, identifiers)
            # Copies of the film, too.
            self.run(
                "UPDATE files SET prediction_id = ?, "
                "state = CASE WHEN state IN ('recorded', 'refused', 'failed') THEN ? "
                "ELSE state END "
                "WHERE id = ? OR prediction_id = (SELECT prediction_id FROM files WHERE id = ?)",
                *(new_id, STATE_OF_STATUS[result.status], prediction.file_id, prediction.file_id),
            )
        return new_id

    def unfinished(
        self, folder_id: int, after_id: int, through_id: int, limit: int = 100
    ) -> list[Unfinished]:
        """The films in state "read" with predictions after the one and up to the other, in their
        order."""
        rows = self.all(
            "SELECT files.id, name, size_bytes, modified_ns, changed_ns, prediction_id, status, "
            "reason FROM files JOIN predictions ON predictions.id = prediction_id "
            "WHERE files.folder_id = ? AND state = 'read' AND prediction_id > ? "
            "AND prediction_id <= ? ORDER BY prediction_id LIMIT ?",
            *(folder_id, after_id, through_id, limit),
        )
        return [Unfinished(row[0], os.fsdecode(row[1]), Look(*row[2:5]), *row[5:8]) for row in rows]

    def finish(self, file_id: int, status: str, moved_to: Path | None, set_aside: bool) -> None:
        """The film's row is written, and the file is where it is to stay."""
        self.run(
            "UPDATE files SET state = ?, moved_to = ?, changed_at = ? WHERE id = ?",
            "set_aside" if set_aside else STATE_OF_STATUS[status],
            None if moved_to is None else os.fsencode(moved_to),
            self.stamp(),
            file_id,
        )

    def reopen(self, file_ids: Sequence[int]) -> None:
        """The films are done and still lie where they should not stay."""
        with self.transaction():
            for file_id in file_ids:
                self.run(
                    "UPDATE files SET state = 'read', changed_at = ? "
                    "WHERE id = ? AND prediction_id IS NOT NULL",
                    *(self.stamp(), file_id),
                )

    def finish_in_place(self, folder_id: int, through_id: int, statuses: Sequence[str]) -> int:
        """`finish` for all films of these statuses up to that prediction; how many there were."""
        marks = ", ".join("?" * len(statuses))
        with translated(self.path):
            cursor = self._db.execute(
                "UPDATE files SET changed_at = ?, state = (SELECT CASE status WHEN 'ok' "
                "THEN 'recorded' ELSE status END FROM predictions WHERE id = prediction_id) "
                "WHERE folder_id = ? AND state = 'read' AND prediction_id <= ? AND "
                f"(SELECT status FROM predictions WHERE id = prediction_id) IN ({marks})",
                (self.stamp(), folder_id, through_id, *statuses),
            )
            return cursor.rowcount

    def moved_before(self, time: datetime) -> list[tuple[int, Path]]:
        """The films that were moved before that time, by number and place."""
        rows = self.all(
            "SELECT id, moved_to FROM files WHERE moved_to IS NOT NULL AND changed_at < ?",
            iso(time),
        )
        return [(row[0], Path(os.fsdecode(row[1]))) for row in rows]

    def forget_place(self, file_id: int) -> None:
        """The film lies no longer where it was moved to."""
        self.run("UPDATE files SET moved_to = NULL WHERE id = ?", file_id)

    def forget_results(self, before: datetime) -> int:
        """Delete predictions made before that time, whose rows are written; how many there were.

        What remains of their films is that they were seen, so that none is read again.
        """
        with self.transaction():
            row = self.one(
                "SELECT count(*) FROM predictions WHERE processed_at < ? AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE prediction_id = predictions.id AND state = 'read')",
                iso(before),
            )
            self.run(
                "DELETE FROM predictions WHERE processed_at < ? AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE prediction_id = predictions.id AND state = 'read')",
                iso(before),
            )
        return int(row[0])

    def files_without_result(self, before: datetime) -> list[tuple[int, Path, str]]:
        """Files whose results were forgotten: number, folder, name below it."""
        rows = self.all(
            "SELECT files.id, path, name FROM files JOIN folders ON folders.id = folder_id "
            "WHERE prediction_id IS NULL AND moved_to IS NULL AND changed_at < ? "
            "AND state IN ('recorded', 'refused', 'failed', 'set_aside', 'gone')",
            iso(before),
        )
        return [(row[0], Path(os.fsdecode(row[1])), os.fsdecode(row[2])) for row in rows]

    def forget_file(self, file_id: int) -> None:
        self.run("DELETE FROM files WHERE id = ?", file_id)

    def _known(self, folder_id: int, result: Result) -> tuple[int, bytes, int] | None:
        """The last prediction by the same model of the same content, but for what may heal.

        In the same folder: another one has a CSV of its own, which would lack the film.
        """
        if not result.sha256 or result.code in HEALING_CODES:
            return None
        # +: not by the index of the folder, in which all its predictions would be gone through.
        rows = self.all(
            "SELECT id, source, file_id, code FROM predictions "
            f"WHERE {SAME_CONTENT} AND model_sha256 = ?2 AND +folder_id = ?3 ORDER BY id DESC",
            *(result.sha256, result.model_sha256, folder_id),
        )
        return next(((row[0], row[1], row[2]) for row in rows if row[3] not in HEALING_CODES), None)

    def _insert(
        self, folder_id: int, file_id: int, result: Result, identifiers: Identifiers
    ) -> int:
        findings = [
            [f.name, f.probability, f.threshold, f.unsure_from, f.unsure_below]
            for f in result.findings
        ]
        row = self.one(
            "INSERT INTO predictions (folder_id, file_id, source, sha256, status, code, reason, "
            "findings, model, model_sha256, provider, version, duration_ms, processed_at, patient, "
            "study, instance, distance, profile) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            *(folder_id, file_id, os.fsencode(result.source), result.sha256, result.status),
            *(result.code, utf8(result.reason), json.dumps(findings), result.model),
            *(result.model_sha256, result.provider, __version__, result.duration_ms),
            *(iso(result.processed_at), *map(utf8, vars(identifiers).values())),
            *(result.distance, result.profile),
        )
        return int(row[0])
