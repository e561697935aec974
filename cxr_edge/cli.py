"""The command line: finds the command, and turns errors into exit codes. The commands themselves,
one file each, are in commands/."""

import errno
import io
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from .errors import CxrEdgeError, RecordError
from .language import ConsoleFormatter, Message, _, told, why
from .own_window import Window, command_for, is_own, kept_open

COMMANDS = (
    "start",
    "results",
    "predict",
    "watch",
    "serve",
    "status",
    "model",
    "calibrate",
    "profile",
    "export-csv",
    "reprocess",
    "benchmark",
    "doctor",
    "service",
)


class _Commands(click.Group):
    """Imports a command when it is asked for, and turns this project's errors into a message and an
    exit code, in this one place."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = cmd_name.replace("-", "_")
        command: click.Command = import_module(f".commands.{module}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What is dropped onto the program's icon comes as its arguments."""
        if args[0] not in COMMANDS:
            args = command_for(args)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            hint = "Give a command, or a folder or files that are there."
            raise click.UsageError(f"{exc.format_message()} {hint}", ctx) from exc

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CxrEdgeError as exc:
            _say(exc)
            ctx.exit(exc.exit_code)
        except ImportError as exc:
            from .not_loaded import not_loaded

            broken = not_loaded(exc)
            _say(broken)
            ctx.exit(broken.exit_code)
        except OSError as exc:
            # Windows says so where the reader of a pipe has gone; elsewhere click sees to that.
            if sys.platform == "win32" and exc.errno == errno.EINVAL and exc.winerror is None:
                ctx.exit(1)
            if exc.errno != errno.ENOSPC:
                raise
            error = RecordError(
                Message("The output cannot be written ({why}).", why=why(exc)),
                Message("Make room on the disk."),
            )
            _say(error)
            ctx.exit(error.exit_code)


def _say(error: CxrEdgeError) -> None:
    click.echo(_("Error: {error}").format(error=told(error)), err=True)


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
    talk = logging.StreamHandler(sys.stderr)
    talk.setLevel(logging.INFO if verbose else logging.WARNING)  # a log file may take more
    talk.setFormatter(ConsoleFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=talk.level, handlers=[talk])
    # It logs what it stumbles over in damaged files; their rows say it once and better.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def main() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # in a service of Windows, and nobody reads them
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    # Windows gives a pipe the code page of the PC, which lacks most letters of the world.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    window = Window(is_own())
    arguments = ["start"] if window.own and len(sys.argv) == 1 else None
    try:
        with kept_open(window):
            cli(arguments, prog_name="cxr-edge", obj=window)
    except SystemExit as exc:
        _leave(exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1)


def _leave(exit_code: int) -> None:
    """End now: taking numpy, OpenCV and onnxruntime apart piece by piece costs a fifth of the time
    that `predict` takes for one film. Result files are closed as soon as a row is in them."""
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # the reader has gone
        exit_code = exit_code or 1
    os._exit(exit_code)
