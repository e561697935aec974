"""The worklist's form: what a person fills in, and what is asked of the ledger then."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from itertools import takewhile

from ..ledger import Wanted, midnight
from ..result import OUTCOMES

# A page before this many others cannot be gone back to step by step.
_MAX_TRAIL = 200
_MAX_TEXT = 200


@dataclass(frozen=True)
class Filter:
    """What the form holds, as text; "" where it asks for nothing. since, until: days, both are
    wanted too. order: "newest" or "score"."""

    finding: str = ""
    status: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    verdict: str = ""
    order: str = "newest"

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Filter":
        """What cannot be meant is taken for nothing, so that an old link still shows films."""
        texts = {field.name: given.get(field.name, "").strip()[:_MAX_TEXT] for field in fields(cls)}
        if texts["status"] not in ("ok", *OUTCOMES):
            texts["status"] = ""
        if texts["verdict"] not in ("none", "agree", "disagree", "unsure"):
            texts["verdict"] = ""
        if texts["order"] != "score":
            texts["order"] = "newest"
        for name in ("since", "until"):
            texts[name] = texts[name] if _day(texts[name]) else ""
        return cls(**texts)

    @property
    def is_empty(self) -> bool:
        """Whether it lets every film through."""
        return not any(value for name, value in asdict(self).items() if name != "order")

    def wanted(self) -> Wanted:
        since, until = _day(self.since), _day(self.until)
        return Wanted(
            finding=self.finding,
            status=self.status,
            since=midnight(since) if since else None,
            until=midnight(until + timedelta(days=1)) if until else None,
            text=self.text,
            verdict=self.verdict,
            by_score=self.order == "score",
        )


@dataclass(frozen=True)
class Place:
    """Where in the list a person is: the cursor of the page, and of those before it."""

    cursor: str = ""
    trail: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Place":
        """Where the button that was pressed leads from the page that the form was on."""
        cursor = given.get("cursor", "")
        trail = tuple(given.get("trail", "").split("|")[-_MAX_TRAIL:]) if cursor else ()
        going = given.get("go", "")
        if going == "next":
            return cls(given.get("next", ""), (*trail, cursor))
        if going == "back" and trail:
            return cls(trail[-1], trail[:-1])
        if going == "stay":
            return cls(cursor, trail)
        return cls()

    @property
    def number(self) -> int:
        """Of the page, from 1 on."""
        return len(self.trail) + 1

    @property
    def trail_text(self) -> str:
        return "|".join(self.trail)


def _day(text: str) -> date | None:
    """A day of ISO 8601 that a calendar can go a day beyond."""
    digits = list(takewhile(lambda letter: letter in "0123456789-", text))
    try:
        day = date.fromisoformat("".join(digits)) if len(digits) == len(text) == 10 else None
    except ValueError:
        return None
    return day if day and 1900 <= day.year < 9000 else None
