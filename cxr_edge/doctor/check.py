"""One thing that was looked at, and what is to be done about it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

# note: nothing was looked at, and it is good to know.
Verdict = Literal["ok", "note", "warning", "failed"]
Group = Literal["PC", "program", "models", "folders"]
# The exit codes of ProgramError and ModelError.
_BROKEN_PROGRAM, _BROKEN_MODEL = 8, 4


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. "failed": a part of the program, or a model, that must not be
    used as it is.

    next_step: "" where there is nothing to do. group: what it belongs to; `examine` says it.
    """

    name: str
    verdict: Verdict
    found: str
    next_step: str = ""
    group: Group = "PC"


def exit_code(checks: Iterable[Check]) -> int:
    """0, or that of what failed: with a broken program, its models cannot be right either."""
    failed = {check.group for check in checks if check.verdict == "failed"}
    return _BROKEN_PROGRAM if "program" in failed else _BROKEN_MODEL if failed else 0


def without_home(check: Check, home: Path) -> dict[str, str]:
    """The check for others to read: "~" for the person's own folder, whose name is a person's."""
    folders = [one for one in {str(home), str(home.resolve())} if len(one) > len(home.anchor)]
    named = re.compile(rf"({'|'.join(map(re.escape, folders))})(?![\w.-])", re.IGNORECASE)
    shown = {field.name: str(getattr(check, field.name)) for field in fields(check)}
    return {name: named.sub("~", text) if folders else text for name, text in shown.items()}
