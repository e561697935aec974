"""A person is asked for a folder until there is one that will do."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cxr_edge.asking import NoDialogError, ask_folder, in_console, in_dialog, meant
from cxr_edge.errors import CxrEdgeError, SettingsError


def no_dialog(words: str, offered: Path) -> Path | None:
    raise NoDialogError


def no_prompt(words: str, offered: Path) -> Path | None:
    raise AssertionError("nothing is asked in the console where there is a dialog")


def accept(folder: Path) -> str:
    if not folder.is_dir():
        raise SettingsError(f"There is no folder {folder}.", "Check its name.")
    return f"reads {folder.name}"


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ("/films/today", "/films/today"),
        ("  '/films/ward 3'  ", "/films/ward 3"),
        ('"/films/ward 3"', "/films/ward 3"),
        ("/films/ward 3", "/films/ward 3"),
        (r"/films/ward\ 3", "/films/ward 3"),
        ("/films/O'Neil", "/films/O'Neil"),
        (r"'/films/O'\''Neil'", "/films/O'Neil"),
        ("file:///films/ward%203", "/films/ward 3"),
        ("'file:///films/R%C3%B6ntgen'", "/films/Röntgen"),
    ],
)
def test_a_folder_dragged_into_a_console_is_understood(answer, path):
    assert meant(answer, windows=False) == Path(path)


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (r"D:\films", r"D:\films"),
        (r'"D:\ward 3"', r"D:\ward 3"),
        (r"& 'D:\ward 3'", r"D:\ward 3"),
        (r"D:\O'Neil", r"D:\O'Neil"),
        ("file:///D:/ward%203", "D:/ward 3"),
        ("file://server/share/films", "//server/share/films"),
        (r"\\server\share\films", r"\\server\share\films"),
    ],
)
def test_so_is_one_on_windows(answer, path):
    assert meant(answer, windows=True) == Path(path)


def test_the_answer_of_the_dialog_is_taken(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    shown = []

    def dialog(words: str, offered: Path) -> Path:
        shown.append(offered)
        assert offered.is_dir(), "a dialog can only offer what is there"
        return films

    default = tmp_path / "Documents" / "X-rays"
    assert ask_folder(default, accept, dialog, no_prompt) == "reads films"
    assert shown == [default]
    assert not default.exists(), "what was not chosen is not left behind"


def test_the_offered_folder_is_made(tmp_path):
    default = tmp_path / "X-rays"
    assert ask_folder(default, accept, no_dialog, lambda _, offered: offered) == "reads X-rays"
    assert default.is_dir()


def test_a_folder_that_was_there_stays_where_another_is_chosen(tmp_path):
    default, films = tmp_path / "X-rays", tmp_path / "films"
    default.mkdir()
    films.mkdir()
    assert ask_folder(default, accept, no_dialog, lambda *_: films) == "reads films"
    assert default.is_dir()


def test_one_that_is_not_there_is_said_and_asked_for_again(tmp_path, capsys):
    answers = iter([tmp_path / "nowhere", tmp_path])
    found = ask_folder(tmp_path / "X-rays", accept, no_dialog, lambda *_: next(answers))
    assert found == f"reads {tmp_path.name}"
    assert f"There is no folder {tmp_path / 'nowhere'}. Check its name." in capsys.readouterr().err


def test_it_is_asked_for_a_few_times_and_not_for_ever(tmp_path):
    asked = []

    def prompt(words: str, offered: Path) -> Path:
        asked.append(words)
        return tmp_path / "nowhere"

    with pytest.raises(CxrEdgeError, match="No folder was chosen"):
        ask_folder(tmp_path / "X-rays", accept, no_dialog, prompt)
    assert len(asked) == 4


def test_who_closes_the_dialog_is_not_asked_again(tmp_path):
    with pytest.raises(CxrEdgeError, match="No folder was chosen"):
        ask_folder(tmp_path / "X-rays", accept, lambda *_: None, no_prompt)
    assert not (tmp_path / "X-rays").exists()


@pytest.mark.parametrize(
    ("typed", "answer"), [("\n", "/offered"), ("'/films'\n", "/films"), ("", None)]
)
def test_the_console_takes_enter_for_the_offered_folder_and_silence_for_no(typed, answer):
    found = []

    @click.command()
    def ask() -> None:
        found.append(in_console("Which folder?", Path("/offered")))

    said = CliRunner().invoke(ask, input=typed).stderr
    assert found == [None if answer is None else Path(answer)]
    assert said.startswith("Which folder?\nDrag the folder into this window")


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has a dialog")
def test_elsewhere_than_on_windows_there_is_no_dialog(tmp_path):
    with pytest.raises(NoDialogError):
        in_dialog("Which folder?", tmp_path)
