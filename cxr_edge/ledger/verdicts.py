"""What people say of what was said of a film."""

import json
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from ..errors import LedgerError
from ..language import Message
from .database import Database, iso, utf8

VERDICTS = ("agree", "disagree", "unsure")
# As the triggers of schema.py add them up.
VERDICT_BITS = {"agree": 1, "disagree": 2, "unsure": 4}
MAX_NOTE_LENGTH, MAX_BY_LENGTH = 2000, 100
_FIRST_VERSION = 2


@dataclass(frozen=True)
class Verdict:
    """What somebody (`by`; "" where nobody is known) thinks of a finding in a film; finding "": of
    the film as a whole."""

    finding: str
    verdict: str
    note: str
    by: str
    at: datetime


class Verdicts(Database):
    """What is said stays; the last word on a finding counts."""

    def say(self, prediction_id: int, verdict: Verdict) -> None:
        """Raises ValueError: an unknown verdict, or a finding that this prediction says nothing of;
        a note or name that is too long, or has control characters in it (but for the line breaks
        of a note). LedgerError: there is no such prediction, or it cannot be written."""
        if verdict.verdict not in VERDICTS:
            raise ValueError(f"There is no verdict {verdict.verdict!r}; say {', '.join(VERDICTS)}.")
        note = verdict.note.replace("\r\n", "\n")
        _check("note", note.replace("\n", " "), MAX_NOTE_LENGTH)
        _check("name", verdict.by, MAX_BY_LENGTH)
        with self.transaction():
            row = self.one("SELECT findings FROM predictions WHERE id = ?", prediction_id)
            if row is None:
                raise LedgerError(
                    Message("The ledger has no film {number}.", number=prediction_id),
                    Message("It may have been forgotten; look at the list again."),
                )
            if verdict.finding not in ("", *(finding[0] for finding in json.loads(row[0]))):
                raise ValueError(f"This film was not read for {verdict.finding!r}.")
            self.run(
                "INSERT INTO verdicts (prediction_id, finding, verdict, note, said_by, said_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                *(prediction_id, utf8(verdict.finding), verdict.verdict, utf8(note)),
                *(utf8(verdict.by), iso(verdict.at)),
            )

    def verdicts(self, prediction_id: int) -> list[Verdict]:
        """The last one on each finding, and on the film as a whole, in the order they were said."""
        return self._said("last_verdicts", prediction_id)

    def verdict_history(self, prediction_id: int) -> list[Verdict]:
        """All of them, in the order they were said."""
        return self._said("verdicts", prediction_id)

    def _said(self, table: str, prediction_id: int) -> list[Verdict]:
        # An older ledger that is open for reading was not brought up to date.
        if self.schema_version() < _FIRST_VERSION:
            return []
        rows = self.all(
            f"SELECT finding, verdict, note, said_by, said_at FROM {table} "
            "WHERE prediction_id = ? ORDER BY id",
            prediction_id,
        )
        return [
            Verdict(row[0], row[1], row[2], row[3], datetime.fromisoformat(row[4])) for row in rows
        ]


def _check(what: str, text: str, max_length: int) -> None:
    if len(text) > max_length:
        raise ValueError(f"The {what} is longer than {max_length} characters.")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError(f"The {what} has control characters in it.")
