"""`cxr-edge start`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..language import Message, _, told
from .options import EXIT_CODES, NOT_FOR_DIAGNOSIS
from .shown import printable

if TYPE_CHECKING:
    from ..watch.settings import Settings


@click.command(
    "start",
    epilog="""\b
Examples:
  cxr-edge start
  cxr-edge start "C:\\X-rays"
  cxr-edge start --choose

The folder is remembered: the next time no argument is needed. It stands, and so may
every other setting of `cxr-edge watch --config`, in ~/.config/cxr-edge/cxr-edge.toml,
on Windows %LOCALAPPDATA%\\cxr-edge\\cxr-edge.toml.

Closing the window, or Ctrl-C, ends it; started again, it goes on where it was.

"""
    + EXIT_CODES,
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--choose", is_flag=True, help="Ask for the folder, even if one is remembered.")
def command(folder: Path | None, choose: bool) -> None:
    """Read the chest X-rays that come into FOLDER, and ask for it the first time.

    The results are in cxr-edge/results.csv in this user's own folder.
    """
    from ..errors import BusyError
    from .watch import until_stopped

    _refuse_beside_service()
    settings = _chosen(folder, choose)
    try:
        exit_code = until_stopped(settings, _instructions(settings))
    except BusyError as exc:
        raise BusyError(
            Message("The X-rays in {folder} are being read already.", folder=settings.folder),
            Message(
                "Look for another window of cxr-edge, here or on another PC, and use that one. "
                "({why})",
                why=exc.message,
            ),
        ) from exc
    sys.exit(exit_code)


def _chosen(folder: Path | None, choose: bool) -> "Settings":
    """Of the folder that is named, or else remembered, or else asked for. Raises CxrEdgeError."""
    from ..asking import ask_folder, in_console, in_dialog
    from ..remembered import default_folder, dialect_here, remember, remembered

    known = remembered()
    if folder is None and known is not None and not choose:
        return known
    home = Path.home()

    def accept(folder: Path) -> "Settings":
        return remember(folder, home, dialect_here())

    if folder is not None:
        return accept(folder)
    is_there = known is not None and known.folder.is_dir()
    offered = known.folder if known is not None and is_there else default_folder(home)
    return ask_folder(offered, accept, in_dialog, in_console)


def _instructions(settings: "Settings") -> str:
    """What a person has to know while it runs."""
    lines = [
        _("Put chest X-rays into this folder, and they are read: {folder}").format(
            folder=settings.folder
        )
    ]
    if not settings.folder.is_dir():
        lines.append(
            _(
                "That folder is not there now. Connect its disk or share; or close this window and "
                "choose another folder: cxr-edge start --choose"
            )
        )
    if settings.csv.path is not None:
        lines.append(
            _("The results are in {csv} (cxr-edge results opens it).").format(csv=settings.csv.path)
        )
    lines += [
        _("Leave this window open. To stop, close it or press Ctrl-C."),
        told(NOT_FOR_DIAGNOSIS),
    ]
    return printable("\n".join(lines))


def _refuse_beside_service() -> None:
    """Raises BusyError where this machine's service reads X-rays already."""
    from ..errors import BusyError, CxrEdgeError
    from ..remembered import of_service
    from ..service.plan import DEFAULT_NAME, default_config_path
    from .service import service_manager

    try:
        runs, _text = service_manager().status(DEFAULT_NAME)
    except CxrEdgeError:  # there is none
        return
    if not runs:
        return
    settings = of_service()
    if settings is None:  # it is kept for administrators
        raise BusyError(
            Message("This PC already reads X-rays by itself (service {name}).", name=DEFAULT_NAME),
            Message("Ask whoever set it up for the folder; cxr-edge results may open the results."),
        )
    raise BusyError(
        Message(
            "This PC already reads the X-rays in {folder} by itself (service {name}).",
            folder=settings.folder,
            name=DEFAULT_NAME,
        ),
        Message(
            "Put X-rays there; the results are in {csv}. An administrator can choose another "
            "folder in {config}.",
            csv=settings.csv.path,
            config=default_config_path(),
        ),
    )
