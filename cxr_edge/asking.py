"""How a person is asked for a folder: by the system's own dialog, or in the console."""

import contextlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import click

from .errors import CxrEdgeError, SettingsError
from .language import Message, _, told

_T = TypeVar("_T")
_N_TRIES = 4


class NoDialogError(Exception):
    """No dialog can be shown here."""


def ask_folder(
    default: Path,
    accept: Callable[[Path], _T],
    dialog: Callable[[str, Path], Path | None],
    prompt: Callable[[str, Path], Path | None],
) -> _T:
    """Ask for a folder until `accept` takes it, a few times; what it makes of it.

    default: what is offered, and made for that. accept: raises SettingsError where it does not take
    a folder. dialog, prompt: ask in these words, offer that folder, and return the answer, or None:
    the person does not want to choose. dialog raises NoDialogError.
    Raises CxrEdgeError: none was chosen.
    """
    made = not default.exists()
    try:
        default.mkdir(parents=True, exist_ok=True)
    except OSError:
        made, default = False, Path.home()
    words = _("Which folder do the chest X-rays come into?")
    chosen = None
    try:
        for _n in range(_N_TRIES):
            try:
                folder = dialog(words, default)
            except NoDialogError:
                folder = prompt(words, default)
            if folder is None:
                break
            try:
                accepted = accept(folder)
                chosen = folder
                return accepted
            except SettingsError as exc:
                click.echo(told(exc), err=True)
        raise CxrEdgeError(
            Message("No folder was chosen, so no X-ray is read."),
            Message("Start cxr-edge again to choose one."),
        )
    finally:
        if made and chosen != default:
            with contextlib.suppress(OSError):  # something was put into it
                default.rmdir()


def in_console(words: str, offered: Path) -> Path | None:
    """Ask on the standard streams; None: Ctrl-C, or nobody is there to answer."""
    click.echo(words, err=True)
    try:
        answer = click.prompt(
            _("Drag the folder into this window, or type it, and press Enter"),
            default=str(offered),
            err=True,
        )
    except click.Abort:
        click.echo(err=True)
        return None
    return meant(answer, windows=sys.platform == "win32").expanduser()


def in_dialog(words: str, offered: Path) -> Path | None:
    """Ask by the dialog of Windows; None: it was closed. Raises NoDialogError."""
    if sys.platform != "win32":
        raise NoDialogError
    import pywintypes
    import win32con
    import win32console
    import win32gui
    import win32service
    from win32com.shell import shell, shellcon

    # A dialog where nobody sees it, as behind SSH, would wait for ever.
    station = win32service.GetProcessWindowStation()
    seen = win32service.GetUserObjectInformation(station, win32con.UOI_FLAGS)["Flags"]
    if not seen & 1:  # WSF_VISIBLE
        raise NoDialogError

    def offer(window: int, message: int, *_: object) -> None:
        if message == shellcon.BFFM_INITIALIZED:
            win32gui.SendMessage(window, shellcon.BFFM_SETSELECTIONW, 1, str(offered))

    with_paths_alone_and_a_button_for_a_new_one = shellcon.BIF_RETURNONLYFSDIRS | 0x40
    try:
        chosen, _name, _image = shell.SHBrowseForFolder(
            # Above the console, which would hide it.
            win32console.GetConsoleWindow(),
            None,
            words,
            with_paths_alone_and_a_button_for_a_new_one,  # BIF_NEWDIALOGSTYLE
            offer,
        )
    except pywintypes.com_error as exc:
        raise NoDialogError from exc
    return Path(shell.SHGetPathFromIDListW(chosen)) if chosen else None


def meant(answer: str, windows: bool) -> Path:
    """The path in what was typed, or dragged into a console, which adds quotes or an address."""
    text = answer.strip().removeprefix("& ")  # PowerShell's
    if windows:
        text = text.strip("\"'")
    else:
        # A name that is typed need not be quoted for a shell.
        with contextlib.suppress(ValueError):
            words = shlex.split(text)
            text = words[0] if len(words) == 1 else text
    if text.lower().startswith("file:"):
        address = urlsplit(text)
        text = unquote(address.path)
        if windows:  # file:///C:/films and file://server/share
            host = address.netloc.replace("localhost", "")
            text = f"//{host}{text}" if host else text.removeprefix("/")
    return Path(text)
