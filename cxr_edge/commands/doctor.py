"""`cxr-edge doctor`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option

if TYPE_CHECKING:
    from ..doctor import Check


@click.command(
    "doctor",
    epilog="""\b
Examples:
  cxr-edge doctor
  cxr-edge doctor --json > report.json

\b
Exit codes:
  0  every model may be used here
  4  a model does not hold on this PC, or was changed
""",
)
@json_option
def command(as_json: bool) -> None:
    """Tell what works on this PC, and what to do about what does not.

    Every model is put to its golden vectors. The report holds nothing of any patient.
    """
    from ..doctor import examine
    from ..store import Store, user_models_folder

    found = []
    for check in examine(Store(user_models_folder()), Path.cwd()):
        found.append(check)
        if not as_json:
            show_check(check)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in found], indent=1))
    if any(check.verdict == "failed" for check in found):
        sys.exit(4)


def show_check(check: "Check") -> None:
    """A line for a person, and one with the next step where there is one."""
    click.echo(f"{check.verdict:8} {check.name}: {check.found}")
    if check.next_step:
        click.echo(f"{'':8} -> {check.next_step}")
