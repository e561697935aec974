"""`cxr-edge service`: the watcher as a service of this machine."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from .options import NOT_FOR_DIAGNOSIS

_EXIT_CODES = """\b
Exit codes:
  0  done; it runs
  1  the system refuses, has no services, or the service does not run
  2  wrong usage, or a wrong setting
  6  the ledger cannot lie where it should
"""
_ABSENT = "Make it; or, if it lies on a share, mount that and install again."
_name_option = click.option(
    "--name", default="cxr-edge", show_default=True, help="What the service is called."
)


@click.group(
    "service",
    epilog="""\b
Examples:
  cxr-edge watch --example > watch.toml
  cxr-edge service install --config watch.toml --user radiology
  cxr-edge service start
  cxr-edge service status

""",
)
def command() -> None:
    """Watch a folder as a service, from when this machine starts.

    A systemd unit on Linux, a service on Windows. It needs an administrator.
    """


@command.command(
    epilog="""\b
Examples:
  sudo cxr-edge service install --config /etc/cxr-edge/watch.toml --user radiology
  cxr-edge service install --config watch.toml --user radiology --dry-run

On Windows, in a terminal of an administrator:

\b
  cxr-edge service install --folder C:\\X-rays
  cxr-edge service install --config C:\\ProgramData\\cxr-edge\\watch.toml

Name shares as \\\\server\\share: a service does not see mapped drives.

"""
    + _EXIT_CODES
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings; /etc/cxr-edge/watch.toml, on Windows %ProgramData%\\cxr-edge\\watch.toml, "
    "where none is named.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Read this folder: it is written into the settings, which are made where there are none, "
    "with the results in cxr-edge/results.csv below the public documents (/var/lib on Linux).",
)
@_name_option
@click.option(
    "--user",
    "account",
    default="",
    help="The account that it runs as, which must be able to read the folder and write the "
    "results. On Linux it must be named, on Windows LocalService is the default.",
)
@click.option(
    "--password-stdin", is_flag=True, help="Windows: read that account's password from here."
)
@click.option("--dry-run", is_flag=True, help="Print what would be installed, and change nothing.")
def install(
    config: Path | None,
    folder: Path | None,
    name: str,
    account: str,
    password_stdin: bool,
    dry_run: bool,
) -> None:
    """Check the settings, and install the service; `start` starts it."""
    from ..service.plan import absent, default_config_path, plan

    if sys.platform != "win32" and not account:
        raise click.UsageError(
            "Name the account that the service runs as: --user NAME. One of its own can be made "
            "with: sudo useradd --system --shell /usr/sbin/nologin cxr-edge"
        )
    config = config or default_config_path()
    if folder is not None:
        if dry_run:
            raise click.UsageError("--folder changes the settings, and --dry-run changes nothing.")
        from ..remembered import dialect_here, public_documents_folder, remember

        remember(folder, public_documents_folder(), dialect_here(), config)
    planned = plan(name, config, account)
    manager = service_manager()
    if dry_run:
        click.echo(manager.describe(planned))
    else:
        # Only Windows asks for one.
        secret = {"password": sys.stdin.readline().rstrip("\r\n")} if password_stdin else {}
        for said in manager.install(planned, **secret):
            click.echo(said)
    for setting, path in absent(planned.settings):
        click.echo(f"{setting}: {path} is not there now. {_ABSENT}", err=True)
    if not dry_run:
        click.echo(
            f"Start it: cxr-edge service start{_naming(name)}\n{NOT_FOR_DIAGNOSIS}", err=True
        )


@command.command(epilog="\b\nExample:\n  sudo cxr-edge service start\n\n" + _EXIT_CODES)
@_name_option
def start(name: str) -> None:
    """Start it."""
    _checked(name).start(name)
    click.echo(f"{name} runs.")


@command.command(epilog="\b\nExample:\n  sudo cxr-edge service stop\n\n" + _EXIT_CODES)
@_name_option
def stop(name: str) -> None:
    """Stop it until it is started again, or the machine is."""
    _checked(name).stop(name)
    click.echo(f"{name} is stopped.")


@command.command(epilog="\b\nExample:\n  cxr-edge service status\n\n" + _EXIT_CODES)
@_name_option
def status(name: str) -> None:
    """Say whether it runs; `cxr-edge status` says what it has done."""
    runs, text = _checked(name).status(name)
    click.echo(text)
    if not runs:
        sys.exit(1)


@command.command(epilog="\b\nExample:\n  sudo cxr-edge service remove\n\n" + _EXIT_CODES)
@_name_option
def remove(name: str) -> None:
    """Stop and remove it; the settings, the ledger and the results stay."""
    _checked(name).remove(name)
    click.echo(f"{name} is removed. Its settings, ledger and results are where they were.")


@command.command(hidden=True)
@click.option("--config", required=True, type=click.Path(path_type=Path, dir_okay=False))
@_name_option
def run(config: Path, name: str) -> None:
    """Be the service; Windows itself runs this."""
    from ..service.windows import host

    def watch(settings: Any, stopping: Any) -> int:
        # Loaded when Windows has been told that the service starts.
        from . import watch as watching

        exit_code: int = watching.run(settings, stopping)
        return exit_code

    host(name, config, watch)


def _checked(name: str) -> ModuleType:
    from ..service.plan import check_name

    check_name(name)
    return service_manager()


def service_manager() -> ModuleType:
    """What installs, starts, stops, asks and removes services here."""
    if sys.platform == "win32":
        from ..service import windows

        return windows
    from ..service import systemd

    return systemd


def _naming(name: str) -> str:
    return "" if name == "cxr-edge" else f" --name {name}"
