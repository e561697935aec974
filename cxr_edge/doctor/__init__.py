"""What works on this PC and what does not: nothing about patients, and a next step for every
trouble.

It has to work where little else does: what may not load is imported when it is looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..errors import CxrEdgeError, ProgramError
from ..not_loaded import not_loaded
from ..store import Store
from . import folders, pc, program
from .check import Check, Group, Verdict, exit_code, without_home
from .folders import Places
from .program import installed_flavours

__all__ = [
    "Check",
    "Group",
    "Places",
    "Verdict",
    "examine",
    "exit_code",
    "installed_flavours",
    "without_home",
]


def examine(store: Store, places: Places) -> Iterator[Check]:
    """Look at this PC, group by group. Nothing is changed, but for a file that is made and removed
    in each folder that cxr-edge writes into."""
    survey = folders.survey_in_time(places.films) if places.films else None

    def models() -> Iterator[Check]:
        from .models import checks

        return checks(store)

    groups: tuple[tuple[Group, Callable[[], Iterator[Check]]], ...] = (
        ("PC", lambda: pc.checks(places.ledger, survey)),
        ("program", lambda: program.checks(places.written)),
        ("models", models),
        ("folders", lambda: folders.checks(places, survey)),
    )
    for group, look in groups:
        try:
            for check in look():
                yield replace(check, group=group)
        except (ImportError, ProgramError) as exc:
            error = not_loaded(exc) if isinstance(exc, ImportError) else exc
            yield Check("loading", "failed", error.message, error.next_step, "program")
        except CxrEdgeError as exc:
            yield Check(group, "failed", exc.message, exc.next_step, group)
