"""`cxr-edge status`."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..language import Message, _, told
from ..words import OUTCOMES
from .options import NOT_FOR_DIAGNOSIS, json_option, ledger_in_use, ledger_in_use_option
from .shown import printable

if TYPE_CHECKING:
    from ..errors import LedgerError
    from ..ledger import Ledger
    from ..status import Disk, Folder, Status, Trouble

_STATES = {
    "watched": Message("watched"),
    "starting": Message("starting"),
    "hanging": Message("hanging"),
    "killed": Message("killed"),
    "stopped": Message("stopped"),
}
_EXIT_CODE = {"ok": 0, "warning": 1, "critical": 2}


@click.command(
    "status",
    epilog="""\b
Examples:
  cxr-edge status
  cxr-edge status --folder /scans --warn-waiting 200
  cxr-edge status --json > status.json

A plugin for Nagios, Icinga and the like: the first line says it all.

\b
Exit codes:
  0  every folder is watched, and nothing is in the way
  1  warning: rows have waited for the CSV for 5 minutes, more films wait than
     --warn-waiting, no film came for --warn-idle-hours, less than 1 GB is free,
     the last week's films were unlike those that the model learned from, or a
     watcher says what troubles it
  2  critical: nobody watches a folder, a watcher hangs, less than 100 MB is
     free, or the ledger is not there or cannot be read; wrong usage too
""",
)
@ledger_in_use_option
@click.option(
    "--folder",
    "chosen",
    type=click.Path(path_type=Path),
    help="Look at this watched folder alone; otherwise at all that the ledger knows.",
)
@click.option(
    "--warn-waiting",
    "n_waiting",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Warn when more films wait.",
)
@click.option(
    "--warn-idle-hours",
    "idle_h",
    type=click.FloatRange(0, min_open=True),
    help="Warn when no film was read for so long.",
)
@click.option("--names", is_flag=True, help="Name the film of the last error.")
@json_option
def command(
    ledger_path: Path | None,
    chosen: Path | None,
    n_waiting: int,
    idle_h: float | None,
    names: bool,
    as_json: bool,
) -> None:
    """Tell how the watched folders do, on one page and by an exit code for monitoring.

    It changes nothing, and says nothing of any patient unless --names is given.
    """
    from ..errors import LedgerError
    from ..ledger import Ledger
    from ..status import Limits, look, of_disk, of_folder

    now = datetime.now(UTC)
    try:
        with Ledger(ledger_in_use(ledger_path), read_only=True) as ledger:
            status = look(ledger, _folders(ledger, chosen), now)
    except LedgerError as exc:
        _show_error(exc, as_json)
        sys.exit(_EXIT_CODE["critical"])
    limits = Limits(n_waiting, idle_h)
    of_folders = [of_folder(folder, limits, now) for folder in status.folders]
    of_disks = [trouble for disk in status.disks if (trouble := of_disk(disk))]
    troubles = [trouble for found in (*of_folders, of_disks) for trouble in found]
    verdict = "ok"
    for level in ("warning", "critical"):
        if any(trouble.level == level for trouble in troubles):
            verdict = level
    if as_json:
        click.echo(
            json.dumps(_as_data(status, of_folders, of_disks, verdict, now, names), indent=1)
        )
    else:
        lines = [_first_line(status, of_folders, of_disks, verdict)]
        for folder, found in zip(status.folders, of_folders, strict=True):
            lines += ["", *_page(folder, found, now, names)]
        rows = [(_("ledger"), f"{status.ledger}, {_size(status.ledger_bytes)}")]
        for disk in status.disks:
            free = _("{free} for {what}")
            what = told(Message.joined(disk.holds, ", "))
            rows.append((_("free disk"), free.format(free=_free(disk), what=what)))
        lines += ["", *_aligned(rows)]
        lines += [_as_line(trouble) for trouble in of_disks]
        click.echo(printable("\n".join([*lines, told(NOT_FOR_DIAGNOSIS)])))
    sys.exit(_EXIT_CODE[verdict])


def _folders(ledger: "Ledger", chosen: Path | None) -> dict[int, Path]:
    """By their numbers. Raises LedgerError where there are none."""
    from ..errors import LedgerError

    known = dict(ledger.folders())
    if not known:
        raise LedgerError(
            Message("The ledger {path} knows no folder.", path=ledger.path),
            Message("Start cxr-edge watch."),
        )
    if chosen is None:
        return known
    meant = {os.path.normcase(path) for path in (chosen.absolute(), chosen.resolve())}
    found = {number: path for number, path in known.items() if os.path.normcase(path) in meant}
    if not found:
        names = ", ".join(map(str, known.values()))
        raise LedgerError(
            Message("The ledger {path} knows no folder {folder}.", path=ledger.path, folder=chosen),
            Message("It has {names}.", names=names),
        )
    return found


def _show_error(exc: "LedgerError", as_json: bool) -> None:
    if as_json:
        trouble = {"level": "critical", "says": exc.message, "next_step": exc.next_step}
        click.echo(json.dumps({"verdict": "critical", "troubles": [trouble]}, indent=1))
    else:
        click.echo(printable(f"CRITICAL: {told(exc)}"))


def _first_line(
    status: "Status", of_folders: "list[list[Trouble]]", of_disks: "list[Trouble]", verdict: str
) -> str:
    """What monitoring shows: the first of the worst troubles, or that all is well."""
    if verdict == "ok":
        n_waiting = sum(folder.n_waiting for folder in status.folders)
        n_done = sum(sum(folder.today.values()) for folder in status.folders)
        watched = ", ".join(str(folder.path) for folder in status.folders[:2])
        if len(status.folders) > 2:
            watched = _("{n} folders").format(n=len(status.folders))
        well = _("{folders} watched, {n_waiting} films wait, {n_done} done today.")
        return f"OK: {well.format(folders=watched, n_waiting=n_waiting, n_done=n_done)}"
    said = [
        f"{folder.path}: {told(trouble.says)}"
        for folder, found in zip(status.folders, of_folders, strict=True)
        for trouble in found
        if trouble.level == verdict
    ]
    said += [told(trouble.says) for trouble in of_disks if trouble.level == verdict]
    more = " " + _("({n} more)").format(n=len(said) - 1) if len(said) > 1 else ""
    return f"{verdict.upper()}: {said[0]}{more}"


def _page(folder: "Folder", found: "list[Trouble]", now: datetime, names: bool) -> list[str]:
    from ..drift.comparison import summary
    from ..status import drift_of, local, state_of

    rows = []
    for number, watcher in enumerate(folder.watchers):
        process = _("process {pid} on {host}, started {started}, last sign {heard}")
        rows += [
            (
                told(_STATES[state_of(folder, now)]) if number == 0 else _("shares it"),
                process.format(
                    pid=watcher.pid,
                    host=watcher.host,
                    started=local(watcher.started_at),
                    heard=local(watcher.beat_at),
                ),
            ),
            (
                _("model"),
                f"{watcher.model}, {watcher.model_sha256[:12]}, {watcher.provider}, "
                f"cxr-edge {watcher.version}",
            ),
        ]
        if watcher.profile:
            rows.append((_("site profile"), watcher.profile))
    if not folder.watchers:
        rows.append((told(_STATES[state_of(folder, now)]), ""))
    waiting = _("{n} films (in the ledger {seen} seen, {settled} settled), {put_off} put off")
    rows.append(
        (
            _("waiting"),
            waiting.format(
                n=folder.n_waiting,
                seen=folder.n_seen,
                settled=folder.n_settled,
                put_off=folder.n_put_off,
            ),
        )
    )
    if folder.csv is not None:
        wait = _("{csv}, {n} rows wait for it")
        rows.append(("CSV", wait.format(csv=folder.csv, n=folder.n_rows)))
    if folder.n_read:
        unwritten = _("{n} films read, not yet in the CSV or put away")
        rows.append((_("unwritten"), unwritten.format(n=folder.n_read)))
    today = _(
        "{positive} positive, {negative} negative, {unsure} unsure, {refused} refused, "
        "{failed} failed; {n_copies} copies"
    )
    counts = dict.fromkeys(OUTCOMES, 0) | dict(folder.today)
    rows.append((_("today"), today.format(**counts, n_copies=folder.n_copies)))
    if folder.last_done_at is not None:
        rows.append((_("last film"), local(folder.last_done_at)))
    if (failure := folder.last_failure) is not None:
        name = f", {failure.name}" if names else ""
        rows.append((_("last error"), f"{failure.code}, {local(failure.at)}{name}"))
    week = drift_of(folder)
    if week is not None and not week.differences:
        rows.append((_("drift"), told(summary(week))))
    lines = [*_aligned(rows), *map(_as_line, found)]
    return [str(folder.path), *(f"  {line}" for line in lines)]


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    wide = max(len(name) for name, _said in rows)
    return [f"{name:{wide}} {said}".rstrip() for name, said in rows]


def _as_line(trouble: "Trouble") -> str:
    next_step = f" -> {told(trouble.next_step)}" if trouble.next_step else ""
    return f"{trouble.level.upper()}: {told(trouble.says)}{next_step}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _free(disk: "Disk") -> str:
    return _("not known") if disk.free_bytes is None else f"{disk.free_bytes / 1e9:.1f} GB"


def _as_data(
    status: "Status",
    of_folders: "list[list[Trouble]]",
    of_disks: "list[Trouble]",
    verdict: str,
    now: datetime,
    names: bool,
) -> dict[str, Any]:
    """For JSON. Times are UTC, ISO 8601; null where there is none."""
    from ..status import state_of

    def iso(time: datetime | None) -> str | None:
        return None if time is None else time.astimezone(UTC).isoformat(timespec="seconds")

    def failure(folder: "Folder") -> dict[str, str | None] | None:
        if (one := folder.last_failure) is None:
            return None
        return {"at": iso(one.at), "code": one.code} | ({"name": one.name} if names else {})

    return {
        "verdict": verdict,
        "at": iso(now),
        "ledger": str(status.ledger),
        "ledger_bytes": status.ledger_bytes,
        "folders": [
            {
                "folder": str(folder.path),
                "state": state_of(folder, now),
                "watchers": [asdict(watcher) for watcher in folder.watchers],
                "n_waiting": folder.n_waiting,
                "n_seen": folder.n_seen,
                "n_settled": folder.n_settled,
                "n_read": folder.n_read,
                "n_put_off": folder.n_put_off,
                "csv": None if folder.csv is None else str(folder.csv),
                "n_rows_waiting": folder.n_rows,
                "rows_waiting_since": iso(folder.rows_since),
                "today": dict(folder.today) | {"copies": folder.n_copies},
                "last_done_at": iso(folder.last_done_at),
                "last_error": failure(folder),
                "troubles": [asdict(trouble) for trouble in found],
            }
            for folder, found in zip(status.folders, of_folders, strict=True)
        ],
        "disks": [asdict(disk) for disk in status.disks],
        "troubles": [asdict(trouble) for trouble in of_disks],
        "note": NOT_FOR_DIAGNOSIS,
    }
