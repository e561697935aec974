"""`cxr-edge reprocess`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..result import OUTCOMES
from ..starting import starting
from ..terms import Terms
from .options import (
    EXIT_CODES,
    NOT_FOR_DIAGNOSIS,
    chosen_model,
    ledger_option,
    reading_options,
    selection_options,
    terms_for,
)
from .shown import judged_by, outcome

if TYPE_CHECKING:
    from ..model import Model
    from ..rereading import Plan, Tally
    from ..result import Result


@click.command(
    "reprocess",
    epilog="""\b
Examples:
  cxr-edge reprocess --model new.onnx --dry-run
  cxr-edge reprocess --model new.onnx --since 2026-11-01 --old-model pneumonia-children

It may be done while cxr-edge watch runs, and goes on where it was interrupted.

"""
    + EXIT_CODES,
)
@ledger_option
@selection_options
@click.option(
    "--old-model", default="", metavar="NAME|SHA256", help="Films that this model has read."
)
@click.option("--again", is_flag=True, help="Also films that this very model has read before.")
@click.option("--dry-run", is_flag=True, help="Only say how many films it would be.")
@click.option("--workers", "n_workers", type=click.IntRange(1), help="Films read at a time.")
@reading_options
def command(
    ledger_path: Path | None,
    folder: Path | None,
    since: datetime | None,
    until: datetime | None,
    finding: str,
    status: str | None,
    old_model: str,
    again: bool,
    dry_run: bool,
    n_workers: int | None,
    model: str | None,
    device: Any,
    threshold: float | None,
    accepted: tuple[str, ...],
    no_profile: bool,
) -> None:
    """Read films of the ledger again, by a new model.

    They are read where they lie now. The ledger and the CSV get a new row for each; the earlier
    ones stay.
    """
    with starting():
        from ..csv_export import Selection
        from ..ledger import Ledger
        from ..rereading import plan
        from ..watch.settings import default_ledger_path

        path = ledger_path or default_ledger_path()
        selection = Selection(
            folder=folder,
            since=since and since.date(),
            until=until and until.date(),
            model=old_model,
            finding=finding,
            status=status or "",
        )
        with Ledger(path, read_only=True) as ledger:
            loaded = chosen_model(model, device, 1)
            terms = terms_for(loaded, threshold, accepted, no_profile)
            planned = plan(ledger, selection, loaded.sha256, again)
    click.echo("\n".join([_described(planned, loaded), *judged_by(terms.profile)]), err=True)
    if dry_run:
        return
    sys.exit(_reprocess(path, planned, loaded, terms, n_workers))


def _reprocess(
    path: Path,
    planned: "Plan",
    model: "Model",
    terms: Terms,
    n_workers: int | None,
) -> int:
    """Returns the exit code. Raises RecordError."""
    from ..errors import RecordError
    from ..ledger import Ledger
    from ..rereading import fill_views, readers_for, reread
    from ..watch.readers import n_workers_for

    counts = dict.fromkeys(OUTCOMES, 0)

    def done(result: "Result | None") -> None:
        if result is not None:
            counts[outcome(result)] += 1
        bar.update(1)

    n_workers = max(1, min(n_workers or n_workers_for(model), len(planned.films)))
    with Ledger(path) as ledger:
        try:
            with (
                readers_for(model, terms, n_workers) as (readers, wake),
                click.progressbar(
                    length=len(planned.films), label="Reading", file=sys.stderr
                ) as bar,
            ):
                tally = reread(ledger, planned.films, readers, wake, 2 * n_workers, done)
        finally:
            # What was read before an interruption, too.
            troubles = fill_views(ledger, planned.folders)
    click.echo(_told(counts, tally, model), err=True)
    if troubles:
        raise RecordError(" ".join(troubles), "The rows are in the ledger and come later.")
    unread = counts["refused"] + counts["failed"] + tally.n_unreadable + tally.n_gone
    unread += planned.n_gone + planned.n_hidden
    return 3 if unread else 0


def _described(planned: "Plan", model: "Model") -> str:
    lines = [f"{len(planned.films)} radiographs are to be read by {model.card.label}."]
    if planned.n_known:
        lines.append(f"{planned.n_known} were read by it before. --again reads them too.")
    if planned.n_gone:
        lines.append(f"{planned.n_gone} are gone.")
    if planned.n_hidden:
        lines.append(
            f"{planned.n_hidden} cannot be found: of their names the ledger has pseudonyms only."
        )
    return "\n".join(lines)


def _told(counts: dict[str, int], tally: "Tally", model: "Model") -> str:
    said = ", ".join(f"{n} {name}" for name, n in counts.items())
    lines = [f"{sum(counts.values())} radiographs: {said}."]
    if tally.n_changed:
        lines.append(f"{tally.n_changed} have changed and are left to cxr-edge watch.")
    if tally.n_unreadable:
        lines.append(f"{tally.n_unreadable} could not be read now and keep their earlier rows.")
    if tally.n_gone:
        lines.append(f"{tally.n_gone} have gone meanwhile.")
    lines.append(
        f"{model.card.label} on {model.provider}, meant for {model.card.intended_use}.\n"
        f"{NOT_FOR_DIAGNOSIS}"
    )
    return "\n".join(lines)
