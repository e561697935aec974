"""`cxr-edge export-csv`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import NOT_FOR_DIAGNOSIS, dialect_option, ledger_option, selection_options

if TYPE_CHECKING:
    from ..csv_export import Selection


@click.command(
    "export-csv",
    epilog="""\b
Examples:
  cxr-edge export-csv all.csv
  cxr-edge export-csv november.csv --since 2026-11-01 --until 2026-11-30
  cxr-edge export-csv - --finding pneumonia --latest --csv-dialect excel

\b
Exit codes:
  0  written
  1  interrupted
  2  wrong usage
  6  the ledger cannot be read, or the CSV cannot be written
""",
)
@click.argument("out", metavar="OUT.csv", type=click.Path(path_type=Path, allow_dash=True))
@ledger_option
@selection_options
@click.option("--model", default="", metavar="NAME|SHA256", help="Rows by this model.")
@click.option(
    "--latest",
    is_flag=True,
    help="Of each film only the last row, of those in that folder and time and by that model.",
)
@click.option(
    "--every-name",
    is_flag=True,
    help="A row for each file, also where several are the same film.",
)
@click.option(
    "--identifiers",
    is_flag=True,
    help="Columns with the DICOM identifiers of patient, study and instance, where watch kept "
    "them.",
)
@click.option(
    "--verdicts",
    is_flag=True,
    help="Columns with what people said last of each film, and when.",
)
@dialect_option
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    out: Path,
    ledger_path: Path | None,
    folder: Path | None,
    since: datetime | None,
    until: datetime | None,
    finding: str,
    status: str | None,
    model: str,
    latest: bool,
    every_name: bool,
    identifiers: bool,
    verdicts: bool,
    csv_dialect: str | None,
    force: bool,
) -> None:
    """Write rows of the ledger into a new CSV.

    - writes to the standard output. It may be done while cxr-edge watch runs.
    """
    from ..csv_export import Selection

    selection = Selection(
        folder=folder,
        since=since and since.date(),
        until=until and until.date(),
        model=model,
        finding=finding,
        status=status or "",
        latest=latest,
    )
    n_rows = _export(
        out, ledger_path, selection, every_name, identifiers, verdicts, csv_dialect, force
    )
    click.echo(f"{n_rows} rows.\n{NOT_FOR_DIAGNOSIS}", err=True)


def _export(
    out: Path,
    ledger_path: Path | None,
    selection: "Selection",
    with_every_name: bool,
    identifiers: bool,
    with_verdicts: bool,
    dialect: str | None,
    force: bool,
) -> int:
    from ..csv_export import every_name, refuse_view, whole_file, write_rows
    from ..ledger import Ledger
    from ..record import DIALECTS
    from ..watch.settings import default_ledger_path

    to_stdout = str(out) == "-"
    with Ledger(ledger_path or default_ledger_path(), read_only=True) as ledger:
        if not to_stdout:
            refuse_view(out, ledger)
            if not force and _is_there(out):
                raise click.UsageError(f"{out} is there already. --force replaces it.")
        # Rows come in the order of their numbers, so that the last number is the length.
        with click.progressbar(
            length=ledger.last_prediction_id(), label="Writing", file=sys.stderr
        ) as bar:
            predictions = selection.of(ledger, lambda number: bar.update(number - bar.pos))
            if with_every_name:
                predictions = every_name(ledger, predictions)
            chosen = DIALECTS[dialect or "standard"]
            verdicts_of = ledger.verdicts if with_verdicts else None
            if to_stdout:
                return write_rows(sys.stdout.buffer, predictions, chosen, identifiers, verdicts_of)
            with whole_file(out) as file:
                return write_rows(file, predictions, chosen, identifiers, verdicts_of)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # writing it says what is wrong
        return False
