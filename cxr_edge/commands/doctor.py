"""`cxr-edge doctor`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option
from .shown import printable

if TYPE_CHECKING:
    from ..doctor import Check, Places


@click.command(
    "doctor",
    epilog="""\b
Examples:
  cxr-edge doctor
  cxr-edge doctor D:\\films
  cxr-edge doctor --config cxr-edge.toml --json > report.json

\b
Exit codes:
  0  nothing has failed; there may be warnings
  2  wrong usage, or a wrong setting
  4  a model does not hold on this PC, or was changed
  8  a file of cxr-edge itself, or a DLL that it needs, is missing or changed
""",
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The watcher's settings: its folders are looked at.",
)
@json_option
def command(folder: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Tell what works on this PC, and what to do about what does not.

    FOLDER: where films arrive. Every model is put to its golden vectors. The report names no film
    and nothing of any patient; with --json, which is to be sent to others, it also has "~" for the
    folder that bears the user's name.
    """
    from ..doctor import examine, exit_code, without_home
    from ..store import Store, user_models_folder

    found: list[Check] = []
    for check in examine(Store(user_models_folder()), _places(folder, config_path)):
        if not as_json:
            if not found or found[-1].group != check.group:
                click.echo(f"{check.group}")
            show_check(check)
        found.append(check)
    if as_json:
        home = Path.home()
        click.echo(json.dumps([without_home(check, home) for check in found], indent=1))
    else:
        click.echo(_summary(found))
    sys.exit(exit_code(found))


def show_check(check: "Check") -> None:
    """A line for a person, and one with the next step where there is one."""
    click.echo(printable(f"{check.verdict:8} {check.name}: {check.found}"))
    if check.next_step:
        click.echo(printable(f"{'':8} -> {check.next_step}"))


def _summary(found: "list[Check]") -> str:
    names = [check.name for check in found if check.verdict in ("warning", "failed")]
    if not names:
        return "Nothing is wrong."
    return f"To be looked at: {'; '.join(names)}."


def _places(folder: Path | None, config_path: Path | None) -> "Places":
    """Where the watcher of these settings works; without settings, where this user does."""
    from ..doctor import Places
    from ..store import user_cache_folder, user_models_folder
    from ..watch.settings import default_ledger_path

    own = {"models": user_models_folder()}
    if cache := user_cache_folder():
        own["cache"] = cache
    if config_path is None:
        ledger = default_ledger_path()
        written = {"this folder": Path.cwd(), "ledger": ledger.parent}
        return Places(written | own, ledger, folder)
    from ..service.plan import default_config_path, for_service, places
    from ..watch.settings import load_settings

    settings = load_settings(config_path)
    if config_path.resolve() == default_config_path().resolve():
        settings = for_service(settings)
    written = dict(places(settings))
    # Films that stay are only read.
    if settings.after.success == "leave" and settings.after.failed_to is None:
        del written["folder"]
    return Places(written | own, settings.ledger_path, folder or settings.folder)
