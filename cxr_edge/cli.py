"""The command line: arguments become objects, one library call does the work, errors become exit
codes. No other logic lives here."""

import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .errors import CxrEdgeError

if TYPE_CHECKING:
    from .model import Model
    from .reading import Result

NOT_FOR_DIAGNOSIS = "Not for diagnostic use: a trained person must read every film."
_EXIT_CODES = """\b
Exit codes:
  0  every radiograph was read
  1  interrupted
  2  wrong usage
  3  some radiographs were refused or could not be read; each has its row
  4  the model file cannot be used
  5  the requested device cannot be had
  6  the results cannot be written
"""
_F = TypeVar("_F", bound=Callable[..., Any])


class _Commands(click.Group):
    """Turns this project's errors into a message and an exit code, in this one place."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CxrEdgeError as exc:
            click.echo(f"Error: {exc}", err=True)
            ctx.exit(exc.exit_code)


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    del param
    if wanted:
        from . import __version__

        click.echo(f"cxr-edge {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on the error stream.")
def cli(verbose: bool) -> None:
    """Read chest X-rays offline and write down what was found.

    Not for diagnostic use.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    # It logs what it stumbles over in damaged files; their rows say it once and better.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def _reading_options(command: _F) -> _F:
    """The options that `predict` and `watch` share."""
    for option in (
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1, min_open=True),
            help="Positive from this probability on, in place of the model's operating point.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where the network runs; cuda that cannot be had is an error.",
        ),
        click.option(
            "--model",
            "model_path",
            type=click.Path(path_type=Path),
            metavar="FILE|NAME",
            help="A model file, or the name of a model shipped with cxr-edge: pneumonia-children "
            "(the default), pneumonia-children-resnet18, chest-findings.",
        ),
    ):
        command = option(command)
    return command


@cli.command(
    epilog="""\b
Examples:
  cxr-edge predict film.jpg
  cxr-edge predict scans/ --csv results.csv
  cxr-edge predict "scans/*.dcm" --json

"""
    + _EXIT_CODES
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    help="Append one row per radiograph to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array to the standard output.")
@_reading_options
def predict(
    paths: tuple[Path, ...],
    csv_path: Path | None,
    as_json: bool,
    model_path: Path | None,
    device: Any,
    threshold: float | None,
) -> None:
    """Read radiographs: files, folders and patterns.

    JPEG, PNG, TIFF, BMP and DICOM, told by their content.
    """
    from .model import DEFAULT_MODEL_PATH, load_model
    from .reading import expand, predict_result
    from .record import CsvRecord

    films = expand(paths)
    if not films:
        raise click.UsageError(f"No radiograph in {', '.join(map(str, paths))}.")
    record = CsvRecord(csv_path) if csv_path else None
    model = load_model(model_path or DEFAULT_MODEL_PATH, device)
    thresholds = _for_all_findings(model, threshold)

    results = (predict_result(film, model, thresholds) for film in films)
    counts = dict.fromkeys(("positive", "negative", "refused", "failed"), 0)
    shown = _json_array if as_json else _nothing if record else _table(films, model.card.findings)
    quiet = as_json or record is not None
    with _progress(len(films)) if quiet else nullcontext() as bar:
        for result in shown(results):
            if record:
                record.append(result)
            counts[_outcome(result)] += 1
            if bar:
                bar.update(1)
    click.echo(
        f"{len(films)} radiographs: {', '.join(f'{n} {name}' for name, n in counts.items())}.\n"
        f"{model.card.label} on {model.provider}, "
        f"meant for {model.card.intended_use}.\n{NOT_FOR_DIAGNOSIS}",
        err=True,
    )
    if counts["refused"] + counts["failed"]:
        sys.exit(3)


@cli.command(
    epilog="""\b
Example:
  cxr-edge watch /scans --csv /results/results.csv

Ctrl-C or SIGTERM ends it after the radiograph in hand; started again, it goes on
where it was.

"""
    + _EXIT_CODES
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--csv",
    "csv_path",
    required=True,
    type=click.Path(path_type=Path),
    help="Append one row per radiograph to this file, outside FOLDER.",
)
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
@_reading_options
def watch(
    folder: Path,
    csv_path: Path,
    settle_s: float,
    poll_interval_s: float,
    model_path: Path | None,
    device: Any,
    threshold: float | None,
) -> None:
    """Read every radiograph that is or appears in FOLDER and below."""
    import threading

    from .model import DEFAULT_MODEL_PATH, load_model
    from .record import CsvRecord, refuse_inside
    from .watch import watch as watch_folder

    folder, csv_path = folder.resolve(), csv_path.resolve()
    refuse_inside(csv_path, folder)
    record = CsvRecord(csv_path, durable=True)
    model = load_model(model_path or DEFAULT_MODEL_PATH, device)
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # SIGBREAK: Ctrl-Break on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    click.echo(
        f"Watching {folder}, writing {csv_path}. {model.card.label} on {model.provider}. "
        f"Ctrl-C to stop.\n{NOT_FOR_DIAGNOSIS}",
        err=True,
    )
    watch_folder(
        folder,
        model,
        record,
        stopping=stop.is_set,
        wait=stop.wait,
        settle_s=settle_s,
        poll_interval_s=poll_interval_s,
        thresholds=_for_all_findings(model, threshold),
        on_result=lambda result: click.echo(_describe(result)),
    )
    click.echo("Stopped.", err=True)


def _for_all_findings(model: "Model", threshold: float | None) -> dict[str, float] | None:
    return None if threshold is None else dict.fromkeys(model.card.findings, threshold)


def _outcome(result: "Result") -> str:
    if not result.findings:
        return result.status
    return "positive" if result.findings[0].positive else "negative"


def _describe(result: "Result") -> str:
    """One line for a person."""
    if not result.findings:
        return f"{_shown(result.source)}: {result.status}, {result.reason}"
    leading = result.findings[0]
    return f"{_shown(result.source)}: {_outcome(result)} for {leading.name}, score {leading.score}"


def _shown(path: Path) -> str:
    """A path as any terminal can print it."""
    encoding = sys.stdout.encoding or "utf-8"
    return str(path).encode(encoding, "backslashreplace").decode(encoding)


def _table(
    films: list[Path], findings: Iterable[str]
) -> Callable[[Iterable["Result"]], Iterator["Result"]]:
    width = min(60, max(len("file"), *(len(_shown(film)) for film in films)))
    wide = max(len(name) for name in ("finding", *findings))

    def rows(results: Iterable["Result"]) -> Iterator["Result"]:
        click.echo(f"{'file':{width}}  {'finding':{wide}}  score  result")
        for result in results:
            name = _shown(result.source)
            name = name if len(name) <= width else "..." + name[3 - width :]
            finding, score = "-", "-"
            if result.findings:
                finding, score = result.findings[0].name, str(result.findings[0].score)
            reason = f"  {result.reason}" if result.reason else ""
            click.echo(f"{name:{width}}  {finding:{wide}}  {score:>5}  {_outcome(result)}{reason}")
            yield result

    return rows


def _json_array(results: Iterable["Result"]) -> Iterator["Result"]:
    from .record import json_text

    separator = "[\n"
    for result in results:
        click.echo(separator + json_text(result), nl=False)
        separator = ",\n"
        yield result
    click.echo("\n]")


def _nothing(results: Iterable["Result"]) -> Iterator["Result"]:
    yield from results


def _progress(n_films: int) -> Any:
    """A bar on the error stream; click hides it where that is no terminal."""
    return click.progressbar(length=n_films, label="Reading", file=sys.stderr)


def main() -> None:
    cli(prog_name="cxr-edge")
