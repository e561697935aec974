"""The films of a worklist, page by page; of each only what was said of it last."""

import math
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .database import iso, utf8
from .predictions import COLUMNS, PREDICTIONS, Prediction, Predictions, prediction_of
from .verdicts import VERDICT_BITS

MAX_TEXT_LENGTH = 1000
# By status: the outcomes, and where their ranks lie.
_OUTCOMES = {
    "positive": (("positive",), "rank >= 1"),
    "negative": (("negative",), "rank BETWEEN 0 AND 1"),
    "unsure": (("unsure",), "rank >= 0"),
    "ok": (("positive", "negative", "unsure"), "rank >= 0"),
    "refused": (("refused",), "rank < 0"),
    "failed": (("failed",), "rank < 0"),
}
_CURSOR = re.compile(r"(?:t([0-9a-f]{1,15})|s([0-9a-f]{16}))-([0-9a-f]{1,15})")
_YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Wanted:
    """Which films a worklist shows: those that fit everything that is given.

    finding: that reaches its operating point. status: "positive", "negative" or "unsure" (its
    leading finding), "ok" (any of them), "refused" or "failed". until: read before that time. text:
    part of the film's name below its folder or of its patient's identifier, in capitals or not.
    verdict: "none", "agree", "disagree" or "unsure": what was said last of `finding`, or, where
    that is not given, of any finding or of the whole film. by_score: the highest probability of
    `finding` first, or, where that is not given, films whose leading finding reaches its operating
    point first, and then its highest probability; otherwise the newest first.
    """

    finding: str = ""
    status: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    verdict: str = ""
    by_score: bool = False


@dataclass(frozen=True)
class Page:
    """next_cursor: says where the page after this one begins; "" on the last one."""

    films: list[Prediction]
    next_cursor: str


class Films(Predictions):
    """What a worklist asks."""

    def page(self, wanted: Wanted, n_films: int, cursor: str = "") -> Page:
        """The films from a cursor on, which an earlier page in the same order gave.

        Films that come in meanwhile move no other: none is shown twice or left out, unless it is
        itself read again.
        Raises ValueError: no page in this order gave that cursor; an unknown word in `wanted`.
        """
        tables, conditions, values = _chosen(wanted)
        key = "judged.rank" if wanted.by_score else "judged.processed_at"
        if wanted.by_score and wanted.text:
            # Not in the order of the index, which lacks the words: each would have to be looked up.
            key = f"+{key}"
        if cursor:
            conditions += f" AND ({key}, judged.prediction_id) < (?, ?)"
            values += _position(cursor, wanted.by_score)
        # Only those of the page are looked up with all that was said of them.
        rows = self.all(
            f"SELECT {COLUMNS}, listed.rank FROM (SELECT judged.prediction_id AS number, "
            f"judged.rank AS rank, {key} AS place FROM {tables} WHERE {conditions} "
            f"ORDER BY {key} DESC, judged.prediction_id DESC LIMIT ?) AS listed "
            "CROSS JOIN predictions ON predictions.id = number "
            "JOIN folders ON folders.id = folder_id ORDER BY place DESC, number DESC",
            *(*values, n_films + 1),
        )
        films = [prediction_of(row) for row in rows[:n_films]]
        if len(rows) <= n_films or not films:
            return Page(films, "")
        last = films[-1]
        if wanted.by_score:
            place = "s" + struct.pack(">d", rows[n_films - 1][-1]).hex()
        else:
            place = f"t{(last.result.processed_at - _YEAR_1) // _MICROSECOND:x}"
        return Page(films, f"{place}-{last.id:x}")

    def n_films(self, wanted: Wanted, at_most: int = 10_000) -> int:
        """How many films there are on all pages; counting stops at at_most. Raises ValueError."""
        tables, conditions, values = _chosen(wanted)
        row = self.one(
            f"SELECT count(*) FROM (SELECT 1 FROM {tables} WHERE {conditions} LIMIT ?)",
            *(*values, at_most),
        )
        return int(row[0])

    def film(self, number: int) -> Prediction | None:
        """What was said of a film once, whether something else was said later or not."""
        row = self.one(f"{PREDICTIONS} WHERE predictions.id = ?", number)
        return None if row is None else prediction_of(row)

    def is_latest(self, number: int) -> bool:
        """Whether nothing was said of that film later."""
        row = self.one("SELECT is_latest FROM predictions WHERE id = ?", number)
        return row is not None and bool(row[0])

    def findings(self) -> list[str]:
        """Every finding that was looked for in a film that the worklist has."""
        # From one to the next by the index, not past each film.
        rows = self.all(
            "WITH RECURSIVE names (name) AS (SELECT min(finding) FROM judged WHERE finding > '' "
            "UNION ALL SELECT (SELECT min(finding) FROM judged WHERE finding > name) FROM names "
            "WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
        )
        return [str(row[0]) for row in rows]

    def earlier_films(self, prediction: Prediction, limit: int = 5) -> list[Prediction]:
        """Other films of the same patient, read before that one, the newest first; none where the
        patient is not known."""
        rows = self.all(
            f"{PREDICTIONS} WHERE patient = ? AND patient != '' AND is_latest = 1 AND sha256 != ? "
            "AND (processed_at, predictions.id) < (?, ?) "
            "ORDER BY processed_at DESC, predictions.id DESC LIMIT ?",
            *(utf8(prediction.identifiers.patient), prediction.result.sha256),
            *(iso(prediction.result.processed_at), prediction.id, limit),
        )
        return [prediction_of(row) for row in rows]

    def places(self, prediction: Prediction) -> list[Path]:
        """Where a film, or a copy of it, should lie; none where only pseudonyms of names are
        known. Something else may have been put there since."""
        return [
            bearer.place
            for bearer in self.bearers(prediction)
            if bearer.place is not None and bearer.sha256 == prediction.result.sha256
        ]


def _chosen(wanted: Wanted) -> tuple[str, str, list[Any]]:
    """The tables, conditions and values of a query. Raises ValueError."""
    tables = "judged"
    conditions = ["judged.finding = ?"]
    values: list[Any] = [utf8(wanted.finding)]
    if wanted.finding or wanted.by_score:
        conditions.append("judged.rank IS NOT NULL")
    if wanted.status:
        if wanted.status not in _OUTCOMES:
            raise ValueError(f"There is no status {wanted.status!r}.")
        outcomes, ranks = _OUTCOMES[wanted.status]
        conditions.append(f"judged.outcome IN ({', '.join('?' * len(outcomes))})")
        values += outcomes
        if wanted.by_score and not wanted.finding and not wanted.text:
            conditions.append(f"judged.{ranks}")
    for sign, time in ((">=", wanted.since), ("<", wanted.until)):
        if time is not None:
            conditions.append(f"judged.processed_at {sign} ?")
            values.append(iso(time))
    if wanted.verdict == "none":
        conditions.append("judged.verdicts = 0")
    elif wanted.verdict:
        if wanted.verdict not in VERDICT_BITS:
            raise ValueError(f"There is no verdict {wanted.verdict!r}.")
        conditions.append("judged.verdicts & ?")
        values.append(VERDICT_BITS[wanted.verdict])
    if wanted.text:
        words = "judged.words"
        if wanted.finding:
            words = "film.words"
            tables += (
                " CROSS JOIN judged AS film ON film.finding = '' "
                "AND film.processed_at = judged.processed_at "
                "AND film.prediction_id = judged.prediction_id"
            )
        like, glob = _patterns(wanted.text)
        conditions.append(f"{words} LIKE ? ESCAPE '!'")
        values.append(like)
        if glob:
            conditions.append(f"{words} GLOB ?")
            values.append(glob)
    return tables, " AND ".join(conditions), values


def _patterns(text: str) -> tuple[str, str]:
    """What has that text in it, in capitals or not: for SQLite's LIKE, which is quick and knows the
    capitals of ASCII alone, and, where there are others, for GLOB, which looks at those.

    Raises ValueError: it is too long.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"The text to look for is longer than {MAX_TEXT_LENGTH} characters.")
    like = glob = ""
    for character in text:
        cases = {character, character.lower(), character.upper()}
        # Not one of several characters, such as the SS of ß.
        one_of = "".join(sorted(case for case in cases if len(case) == 1))
        if character.isascii() or len(one_of) == 1:
            like += f"!{character}" if character in "!%_" else character
            glob += "?"
        else:
            like += "_"
            glob += f"[{one_of}]"
    return utf8(f"%{like}%"), utf8(f"*{glob}*") if "[" in glob else ""


def _position(cursor: str, by_score: bool) -> tuple[str | float, int]:
    """Time or rank, and number, of the last film before the page. Raises ValueError."""
    match = _CURSOR.fullmatch(cursor)
    if match is None or by_score != (match[1] is None):
        raise ValueError("The page's cursor is not one of this list.")
    number = int(match[3], 16)
    if by_score:
        (rank,) = struct.unpack(">d", bytes.fromhex(match[2]))
        if not math.isfinite(rank):
            raise ValueError("The page's cursor is not one of this list.")
        return float(rank), number
    try:
        return iso(_YEAR_1 + int(match[1], 16) * _MICROSECOND), number
    except OverflowError:
        raise ValueError("The page's cursor is not one of this list.") from None
