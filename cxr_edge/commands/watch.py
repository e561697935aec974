"""`cxr-edge watch`."""

import contextlib
import os
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..language import Message, _, told
from ..terms import Terms
from .options import (
    EXIT_CODES,
    NOT_FOR_DIAGNOSIS,
    active_profile,
    chosen_model,
    csv_option,
    dialect_option,
    ledger_option,
    reading_options,
)
from .shown import described, judged_by, printable

if TYPE_CHECKING:
    from ..drift.comparison import Comparison
    from ..ledger import Recorded, Watcher
    from ..model import Model
    from ..profile import SiteProfile
    from ..result import Result
    from ..watch.claim import Claim
    from ..watch.notices import Notices
    from ..watch.pseudonym import Pseudonyms
    from ..watch.readers import Reading
    from ..watch.settings import Settings


def _example(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    del param
    if wanted:
        from ..watch.settings import EXAMPLE

        click.echo(EXAMPLE, nl=False)
        ctx.exit()


@click.command(
    "watch",
    epilog="""\b
Examples:
  cxr-edge watch /scans --csv /results/results.csv
  cxr-edge watch --example > cxr-edge.toml
  cxr-edge watch --config cxr-edge.toml

Ctrl-C or SIGTERM ends it after the radiographs in hand; started again, it goes on
where it was. What a configuration file says, an option overrides.

"""
    + EXIT_CODES,
)
@click.argument(
    "folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A TOML file with these and more settings.",
)
@click.option(
    "--example",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_example,
    help="Print a configuration file with every setting and what it does.",
)
@click.option("--check", is_flag=True, help="Only look whether everything is right to start.")
@csv_option(help="Append one row per radiograph to this file, outside FOLDER.")
@dialect_option
@click.option(
    "--csv-rotate",
    type=click.Choice(["never", "day", "month"]),
    help="A new CSV every day or month.",
)
@ledger_option
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(0),
    help="Seconds that a file must stay unchanged before it is read (2).",
)
@click.option(
    "--poll",
    "poll_interval_s",
    type=click.FloatRange(0, min_open=True),
    help="Seconds between two looks at the folder (1).",
)
@click.option("--newest-first", is_flag=True, help="Read a backlog from its newest film on.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only such files: '*.dcm'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No such files.")
@click.option(
    "--after",
    type=click.Choice(["leave", "move", "delete"]),
    help="What becomes of a film whose result is recorded (leave).",
)
@click.option(
    "--moved-to", type=click.Path(path_type=Path), metavar="DIR", help="Where --after move puts it."
)
@click.option(
    "--failed-to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Films without a result are moved here, each with its reason beside it.",
)
@click.option(
    "--heatmap",
    "heatmap_path",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Draw into this folder where on each film its findings come from.",
)
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="A log file.")
@click.option(
    "--workers", "n_workers", type=click.IntRange(1), help="How many films are read at a time."
)
@click.option("--share", is_flag=True, help="Share the folder with other watchers so started.")
@reading_options
def command(folder: Path | None, config_path: Path | None, check: bool, **options: Any) -> None:
    """Read every radiograph that is or appears in FOLDER and below.

    What was read is kept in a ledger, which the CSV shows: rows that cannot be written while a
    spreadsheet has the CSV open are filled in later, and `cxr-edge export-csv` writes it anew.
    """
    from ..watch.settings import Settings, load_settings

    if config_path is not None:
        settings = load_settings(config_path)
        if folder is not None:
            settings = replace(settings, folder=folder.resolve())
    elif folder is not None:
        settings = Settings(folder.resolve())
    else:
        raise click.UsageError("Name the FOLDER to watch, or a --config file.")
    settings = _overridden(settings, options)
    if config_path is None and settings.csv.path is None:
        raise click.UsageError("Missing option '--csv'.")
    exit_code = until_stopped(settings, check=check)
    if check:
        click.echo(_("Everything is right to start."), err=True)
    sys.exit(exit_code)


def until_stopped(settings: "Settings", instructions: str = "", *, check: bool = False) -> int:
    """`run` until a signal says that it is enough."""
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # SIGBREAK: Ctrl-Break on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    return run(settings, stop, instructions, check=check)


def run(
    settings: "Settings",
    stopping: threading.Event,
    instructions: str = "",
    *,
    check: bool = False,
) -> int:
    """Watch until `stopping` is set; the exit code.

    instructions: what a person is told when it begins; "": what is watched, by which model. check:
    only what comes before that.
    Raises CxrEdgeError: it cannot start, or another watcher has come.
    """
    from ..starting import starting

    with starting():
        from concurrent.futures import ThreadPoolExecutor

        from ..csv_view import CsvView
        from ..errors import RecordError
        from ..heatmap_folder import HeatmapFolder
        from ..isolation import Limits
        from ..ledger import Ledger
        from ..record import DIALECTS
        from ..service.systemd import notify
        from ..watch.claim import Claim
        from ..watch.events import Events
        from ..watch.logs import add_log_file, remove_log_file
        from ..watch.loop import Told, Watch
        from ..watch.notices import Notices
        from ..watch.places import kind_of, refuse_ledger_on_share
        from ..watch.pseudonym import Pseudonyms, check_key, load_key
        from ..watch.readers import Readers, n_workers_for
        from ..watch.scan import Scanner, Wanted

    refuse_ledger_on_share(settings.ledger_path)
    with contextlib.ExitStack() as stack:
        log = add_log_file(settings.log)
        stack.callback(remove_log_file, log)
        claim = stack.enter_context(
            Claim(settings.folder, settings.ledger_path, settings.share_work)
        )
        ledger = stack.enter_context(Ledger(settings.ledger_path))
        folder_id = ledger.folder_id(settings.folder)
        if not settings.share_work:
            ledger.forget_watchers(folder_id)
        pseudonyms = None
        if settings.privacy.pseudonymise or settings.privacy.identifiers == "pseudonym":
            pseudonyms = Pseudonyms(load_key(settings.key_path))
            check_key(ledger, pseudonyms, settings.key_path)
        heatmaps = None
        if settings.heatmaps.folder is not None:
            heatmaps = HeatmapFolder(settings.heatmaps.folder, [settings.folder])
        device: Any = settings.model.device
        model = chosen_model(settings.model.name or None, device, 1, heatmaps is not None)
        terms = _terms(settings, model)
        n_workers = settings.workers.count or n_workers_for(model)
        csv, view = settings.csv, None
        if csv.path is not None:
            rotate: Any = csv.rotate
            view = CsvView(csv.path, settings.folder, ledger, DIALECTS[csv.dialect], rotate)
            view.check()
        if check:
            return 0
        click.echo(
            instructions
            or _("Watching {folder}, writing {csv}. {model} on {provider}. Ctrl-C to stop.").format(
                folder=printable(settings.folder),
                csv=printable(csv.path or ledger.path),
                model=model.card.label,
                provider=model.provider,
            )
            + "\n".join(["", *judged_by(terms.profile), told(NOT_FOR_DIAGNOSIS)]),
            err=True,
        )

        wake = threading.Event()
        is_local = kind_of(settings.folder) == "local"
        scanner, examiner = (
            Scanner(
                settings.folder,
                own_ledger,
                folder_id,
                Wanted(settings.include, settings.exclude, settings.subfolders),
                pseudonyms.name if pseudonyms and settings.privacy.pseudonymise else str,
                newest_first=settings.newest_first,
                keeps_ctime=is_local,
            )
            for own_ledger in (stack.enter_context(Ledger(settings.ledger_path)), ledger)
        )
        readers = Readers(
            model,
            terms,
            n_workers,
            Limits(settings.workers.film_s, settings.workers.memory_mb * 1024**2),
            draw=heatmaps is not None,
            with_identifiers=settings.privacy.identifiers != "none",
            look=scanner.look,
            wake=wake.set,
        )
        # A share tells nobody of its files; a local disk does.
        events = Events(settings.folder, settings.subfolders, wake.set)
        if settings.events and is_local:
            events.start()
            stack.callback(events.stop)
        notices = Notices(settings.notice)
        stack.callback(notices.close)
        # One that hangs on a dead share is not waited for: `main` leaves without its threads.
        executor = ThreadPoolExecutor(1, "scanning")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        teller = _Teller(notices, claim, executor, notify)
        watch = Watch(
            settings,
            ledger,
            readers,
            scanner,
            examiner,
            executor,
            # While one group of films is being synced to the disk, the workers read the next one.
            # Pictures are large.
            n_ahead=(4 if heatmaps else 32) * n_workers,
            watcher=_watcher(settings, model, terms.profile_label),
            owner=secrets.token_hex(8),
            view=view,
            events=events if settings.events and is_local else None,
            disguised=_disguise(settings, pseudonyms),
            compared=_compared(settings, model, terms.profile),
            wake=wake.set,
            told=Told(teller.recorded, teller.beat, heatmaps.write if heatmaps else lambda _: None),
        )

        def wait(seconds: float) -> None:
            # A stop that comes from another thread is noticed within a second.
            wake.wait(min(seconds, 1.0))
            wake.clear()

        notify(f"READY=1\nSTATUS={model.card.label} on {model.provider}")
        watch.run(stopping.is_set, wait)
        notify("STOPPING=1")
        ledger.forget_watcher(watch.owner)
        n_waiting = watch.n_waiting
        click.echo(
            _("Stopped. {n_read} read, {n_waiting} wait.").format(
                n_read=teller.n_read, n_waiting=n_waiting
            ),
            err=True,
        )
        if watch.trouble:
            raise RecordError(
                watch.trouble, Message("What is in the ledger comes with the next start.")
            )
    return 0


def _overridden(settings: "Settings", options: dict[str, Any]) -> "Settings":
    """The settings with what the command line says."""
    given = {name: value for name, value in options.items() if value not in (None, (), False)}

    def some(**names: str) -> dict[str, Any]:
        return {key: given[name] for key, name in names.items() if name in given}

    def paths(**names: str) -> dict[str, Any]:
        return {key: path.absolute() for key, path in some(**names).items()}

    # Where the file says that films are moved, and the command line that they are not.
    not_moved = {"moved_to": None} if given.get("after") in ("leave", "delete") else {}

    return replace(
        settings,
        **some(
            settle_s="settle_s",
            poll_interval_s="poll_interval_s",
            newest_first="newest_first",
            include="include",
            exclude="exclude",
            share_work="share",
        ),
        **paths(ledger="ledger_path"),
        csv=replace(
            settings.csv,
            **paths(path="csv_path"),
            **some(dialect="csv_dialect", rotate="csv_rotate"),
        ),
        model=replace(
            settings.model,
            **some(name="model", threshold="threshold", device="device", accept="accepted"),
            profile=settings.model.profile and "no_profile" not in given,
        ),
        workers=replace(settings.workers, **some(count="n_workers")),
        heatmaps=replace(settings.heatmaps, **paths(folder="heatmap_path")),
        after=replace(
            settings.after,
            **(
                not_moved
                | some(success="after")
                | paths(moved_to="moved_to", failed_to="failed_to")
            ),
        ),
        log=replace(settings.log, **paths(file="log")),
    )


def _terms(settings: "Settings", model: "Model") -> Terms:
    """Raises SettingsError, ProfileError."""
    from ..errors import SettingsError

    thresholds = dict(settings.model.thresholds)
    if unknown := sorted(thresholds.keys() - set(model.card.findings)):
        raise SettingsError(
            f"{model.card.label} knows no finding {', '.join(unknown)}.",
            f"It knows {', '.join(model.card.findings)}.",
        )
    if settings.model.threshold:
        thresholds = dict.fromkeys(model.card.findings, settings.model.threshold) | thresholds
    profile = active_profile(model) if settings.model.profile else None
    return Terms(thresholds or None, frozenset(settings.model.accept), profile)


def _disguise(
    settings: "Settings", pseudonyms: "Pseudonyms | None"
) -> "Callable[[Reading], Reading]":
    """What replaces names and identifiers before anything is recorded, or told."""

    def disguised(reading: "Reading") -> "Reading":
        if pseudonyms is None or reading.result is None:
            return reading
        result, identifiers = reading.result, reading.identifiers
        if settings.privacy.pseudonymise:
            name = str(reading.path.relative_to(settings.folder))
            result = replace(result, source=Path(pseudonyms.name(name)))
        if settings.privacy.identifiers == "pseudonym":
            identifiers = pseudonyms.identifiers(identifiers)
        return replace(reading, result=result, identifiers=identifiers)

    return disguised


def _compared(
    settings: "Settings", model: "Model", profile: "SiteProfile | None"
) -> "Callable[[], Comparison]":
    """The last full week's films, of all folders of the ledger, against what the model was measured
    on here, or else by its card."""
    from ..drift.weeks import last_week
    from ..ledger import Ledger
    from ..profiles import Profiles, user_profiles_folder

    def compared() -> "Comparison":
        with Ledger(settings.ledger_path, read_only=True) as ledger:
            profiles = Profiles(user_profiles_folder())
            now = datetime.now(UTC)
            return last_week(ledger, model.card, model.sha256, profile, profiles, now)

    return compared


def _watcher(settings: "Settings", model: "Model", profile: str) -> "Watcher":
    from .. import __version__
    from ..ledger import Watcher

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Watcher(
        folder=str(settings.folder),
        host=platform.node(),
        pid=os.getpid(),
        started_at=now,
        beat_at=now,
        version=__version__,
        model=model.card.label,
        model_sha256=model.sha256,
        provider=model.provider,
        csv=str(settings.csv.path or ""),
        n_waiting=0,
        trouble="",
        heatmaps=str(settings.heatmaps.folder or ""),
        moved_to=str(settings.after.moved_to or ""),
        failed_to=str(settings.after.failed_to or ""),
        log="" if settings.log.file is None else str(settings.log.file.parent),
        profile=profile,
    )


class _Teller:
    """Tells of each film on the standard output, and on the error stream how a backlog gets on;
    gives notices, and says to others that this watcher lives."""

    def __init__(
        self,
        notices: "Notices",
        claim: "Claim",
        executor: Executor,
        notify: Callable[[str], object],
    ) -> None:
        """executor: the scanning thread's. notify: tells systemd."""
        self.n_read = 0
        self._notices, self._claim, self._notify = notices, claim, notify
        self._executor = executor
        self._beating: Future[None] | None = None
        self._n_said, self._since_s = 0, time.monotonic()

    def recorded(self, result: "Result", how: "Recorded") -> None:
        self.n_read += 1
        if how.repeated:
            return
        if how.copy_of is not None:
            copy = _("{file}: the same film as {other}, recorded there")
            _tell(copy.format(file=printable(result.source), other=printable(how.copy_of)))
            return
        _tell(described(result))
        positive = [finding for finding in result.findings if finding.positive]
        if positive:
            unsure = [finding.name for finding in positive if finding.unsure]
            names = [finding.name for finding in positive]
            self._notices.positive(str(result.source), names, unsure)

    def beat(self, n_waiting: int) -> None:
        """Raises BusyError: another watcher has come."""
        self._notify("WATCHDOG=1")
        self._notices.waiting(n_waiting, time.monotonic())
        self._say_progress(n_waiting)
        if self._beating is not None and self._beating.done():
            beating, self._beating = self._beating, None
            beating.result()
        # It writes into the folder, which may be a share that hangs.
        if self._beating is None:
            self._beating = self._executor.submit(self._claim.beat)

    def _say_progress(self, n_waiting: int) -> None:
        now_s = time.monotonic()
        n_new, took_s = self.n_read - self._n_said, now_s - self._since_s
        self._n_said, self._since_s = self.n_read, now_s
        if n_new and n_waiting > n_new:  # else it is done before this would be read
            per_s = n_new / took_s
            progress = _("{n_read} read, {n_waiting} wait: {per_s} films/s, {left_min} min left.")
            _tell(
                progress.format(
                    n_read=self.n_read,
                    n_waiting=n_waiting,
                    per_s=f"{per_s:.1f}",
                    left_min=f"{n_waiting / per_s / 60:.0f}",
                ),
                err=True,
            )


def _tell(line: str, err: bool = False) -> None:
    """Nobody listening any more, or a full disk under what listens, is no reason to stop."""
    with contextlib.suppress(OSError):
        click.echo(line, err=err)
