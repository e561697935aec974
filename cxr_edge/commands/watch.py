"""`cxr-edge watch`."""

import signal
from pathlib import Path
from typing import Any

import click

from .options import (
    EXIT_CODES,
    NOT_FOR_DIAGNOSIS,
    chosen_model,
    csv_option,
    for_all_findings,
    reading_options,
)
from .shown import described


@click.command(
    "watch",
    epilog="""\b
Example:
  cxr-edge watch /scans --csv /results/results.csv

Ctrl-C or SIGTERM ends it after the radiograph in hand; started again, it goes on
where it was.

"""
    + EXIT_CODES,
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@csv_option(required=True, help="Append one row per radiograph to this file, outside FOLDER.")
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds that a file must stay unchanged before it is read.",
)
@click.option(
    "--poll",
    "poll_interval_s",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds between two looks at the folder.",
)
@reading_options
def command(
    folder: Path,
    csv_path: Path,
    settle_s: float,
    poll_interval_s: float,
    model: str | None,
    device: Any,
    threshold: float | None,
) -> None:
    """Read every radiograph that is or appears in FOLDER and below."""
    import threading

    from ..record import CsvRecord, refuse_inside
    from ..watch import watch as watch_folder

    folder, csv_path = folder.resolve(), csv_path.resolve()
    refuse_inside(csv_path, folder)
    record = CsvRecord(csv_path, durable=True)
    loaded = chosen_model(model, device)
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # SIGBREAK: Ctrl-Break on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    click.echo(
        f"Watching {folder}, writing {csv_path}. {loaded.card.label} on {loaded.provider}. "
        f"Ctrl-C to stop.\n{NOT_FOR_DIAGNOSIS}",
        err=True,
    )
    watch_folder(
        folder,
        loaded,
        record,
        stopping=stop.is_set,
        wait=stop.wait,
        settle_s=settle_s,
        poll_interval_s=poll_interval_s,
        thresholds=for_all_findings(loaded, threshold),
        on_result=lambda result: click.echo(described(result)),
    )
    click.echo("Stopped.", err=True)
