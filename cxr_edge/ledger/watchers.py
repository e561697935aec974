"""Who watches, and how it goes: what `cxr-edge status` asks."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from ..result import OUTCOMES, Finding
from .database import Database, iso


@dataclass(frozen=True)
class Watcher:
    """A running `cxr-edge watch`, as it last said itself. Times are UTC, ISO 8601.

    profile: the site profile that it judges by; "" for none. heatmaps, moved_to, failed_to, log:
    where it writes to; "" where it does not. drift: how the last full week compares with the
    profile or the model's card (drift.comparison.Comparison); None: not yet.
    """

    folder: str
    host: str
    pid: int
    started_at: str
    beat_at: str
    version: str
    model: str
    model_sha256: str
    provider: str
    csv: str
    n_waiting: int
    trouble: str
    heatmaps: str = ""
    moved_to: str = ""
    failed_to: str = ""
    log: str = ""
    drift: Mapping[str, Any] | None = None
    profile: str = ""


@dataclass(frozen=True)
class Failure:
    """A film that was put off or has failed: when, and the stable word for why. name: of its
    file."""

    at: datetime
    code: str
    name: str


class Watchers(Database):
    """What watchers say of themselves, and what their folders' files say."""

    def beat(self, owner: str, watcher: Watcher) -> None:
        """The watcher is alive, and this is how it does."""
        self.run(
            "INSERT INTO watchers VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET facts = excluded.facts",
            *(owner, self.folder_id(Path(watcher.folder)), json.dumps(asdict(watcher))),
        )

    def forget_watchers(self, folder_id: int) -> None:
        """What earlier watchers of the folder said, which have ended one way or another."""
        self.run("DELETE FROM watchers WHERE folder_id = ?", folder_id)
        self.run("UPDATE files SET owner = '' WHERE folder_id = ? AND owner != ''", folder_id)

    def forget_watcher(self, owner: str) -> None:
        """The watcher has ended, and what it had in hand is anyone's."""
        self.run("DELETE FROM watchers WHERE owner = ?", owner)
        self.run("UPDATE files SET owner = '' WHERE owner = ?", owner)

    def watchers(self, folder_id: int | None = None) -> list[Watcher]:
        """Of the folder, or of all, in no order."""
        rows = self.all(
            "SELECT facts FROM watchers WHERE folder_id = coalesce(?, folder_id)", folder_id
        )
        # A later version may say more of itself.
        known = {field.name for field in fields(Watcher)}
        return [
            Watcher(**{name: value for name, value in json.loads(row[0]).items() if name in known})
            for row in rows
        ]

    def n_waiting(self, folder_id: int) -> dict[str, int]:
        """How many files are in each state that is not the last: seen, settled, read."""
        rows = self.all(
            "SELECT state, count(*) FROM files WHERE folder_id = ? "
            "AND state IN ('seen', 'settled', 'read') GROUP BY state",
            folder_id,
        )
        return {"seen": 0, "settled": 0, "read": 0} | dict(rows)

    def n_put_off(self, folder_id: int) -> int:
        """How many of the films that wait could not be read before, and are tried again."""
        row = self.one(
            "SELECT count(*) FROM files WHERE folder_id = ? AND state = 'settled' AND owner = '' "
            "AND EXISTS (SELECT 1 FROM attempts WHERE file_id = files.id)",
            folder_id,
        )
        return int(row[0])

    def rows_after(self, folder_id: int, through_id: int) -> tuple[int, datetime | None]:
        """How many predictions come after that one, and when the first of them was made."""
        n_rows, first_id = self.one(
            "SELECT count(*), min(id) FROM predictions WHERE folder_id = ? AND id > ?",
            *(folder_id, through_id),
        )
        if first_id is None:
            return 0, None
        row = self.one("SELECT processed_at FROM predictions WHERE id = ?", first_id)
        return int(n_rows), None if row is None else datetime.fromisoformat(row[0])

    def n_done(self, folder_id: int, since: datetime, until: datetime) -> dict[str, int]:
        """How many films were positive, negative, unsure, refused and failed from one time to
        before the other; of a film with several answers the last one counts."""
        rows = self.all(
            # The plus has the index by time used, not the one of all that the folder ever had.
            "SELECT file_id, sha256, status, findings FROM predictions WHERE +folder_id = ? "
            "AND processed_at >= ? AND processed_at < ? ORDER BY id",
            *(folder_id, iso(since), iso(until)),
        )
        outcomes = {}
        for file_id, sha256, status, findings in rows:
            leading = next(iter(json.loads(findings)), None)
            if leading is not None:
                status = Finding(*leading).answer
            outcomes[file_id, sha256] = status
        counts = dict.fromkeys(OUTCOMES, 0)
        return counts | Counter(outcomes.values())

    def n_copies(self, folder_id: int, since: datetime, until: datetime) -> int:
        """How many files of that time have the content of another film, and no row of their own."""
        row = self.one(
            "SELECT count(*) FROM files JOIN predictions ON predictions.id = prediction_id "
            "WHERE files.folder_id = ? AND changed_at >= ? AND changed_at < ? "
            "AND file_id != files.id AND state != 'gone'",
            *(folder_id, iso(since), iso(until)),
        )
        return int(row[0])

    def last_done_at(self, folder_id: int) -> datetime | None:
        """When the last film got its answer."""
        row = self.one(
            "SELECT processed_at FROM predictions WHERE folder_id = ? ORDER BY id DESC LIMIT 1",
            folder_id,
        )
        return None if row is None else datetime.fromisoformat(row[0])

    def last_failure(self, folder_id: int) -> Failure | None:
        """The film that was put off or has failed last."""
        rows = [
            self.one(
                "SELECT processed_at, code, source FROM predictions "
                "WHERE folder_id = ? AND status = 'failed' ORDER BY id DESC LIMIT 1",
                folder_id,
            ),
            self.one(
                "SELECT at, code, name FROM attempts JOIN files ON files.id = file_id "
                "WHERE folder_id = ? ORDER BY attempts.id DESC LIMIT 1",
                folder_id,
            ),
        ]
        failures = [
            Failure(datetime.fromisoformat(row[0]), row[1], os.fsdecode(row[2]))
            for row in rows
            if row is not None
        ]
        return max(failures, key=lambda one: one.at, default=None)
