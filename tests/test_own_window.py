"""A window that a double click has opened, and what was dropped onto the program's icon."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cxr_edge import cli as cli_module
from cxr_edge.cli import cli
from cxr_edge.own_window import Window, command_for, is_own, kept_open
from tests.conftest import ROOT, SAMPLES, make_film


def waits(window: Window, body) -> list[str]:
    """What the person is asked before the window closes."""
    asked: list[str] = []
    with pytest.raises(SystemExit), kept_open(window, asked.append):
        body()
    return asked


def test_a_window_of_its_own_waits_until_it_was_read():
    assert waits(Window(own=True), lambda: sys.exit(7)) == ["\nPress Enter to close this window."]


def test_a_terminal_does_not_wait():
    assert waits(Window(own=False), lambda: sys.exit(0)) == []


def test_what_needs_no_reading_closes_at_once():
    window = Window(own=True)

    def results() -> None:
        window.worth_reading = False
        sys.exit(0)

    assert waits(window, results) == []


def test_a_fault_of_the_program_can_be_read_too(capsys):
    def fault() -> None:
        raise RuntimeError("broken")

    assert len(waits(Window(own=True), fault)) == 1
    assert "RuntimeError: broken" in capsys.readouterr().err
    with pytest.raises(RuntimeError), kept_open(Window(own=False)):
        fault()


@pytest.mark.parametrize("ended_by", [EOFError, KeyboardInterrupt])
def test_ctrl_c_closes_it_as_well(ended_by):
    def wait(text: str) -> None:
        raise ended_by

    with pytest.raises(SystemExit) as ended, kept_open(Window(own=True), wait):
        sys.exit(3)
    assert ended.value.code == 3


def test_a_pipe_is_nobodys_own_window():
    assert not is_own()


@pytest.mark.parametrize(
    ("own", "arguments", "called"),
    [(True, [], ["start"]), (True, ["results"], None), (False, [], None)],
)
def test_a_double_click_starts(monkeypatch, own, arguments, called):
    seen = []

    def group(args, *, prog_name, obj):
        seen.append((args, obj.own))
        obj.worth_reading = False
        raise SystemExit(0)

    def leave(exit_code):
        raise click.exceptions.Exit(exit_code)

    monkeypatch.setattr(cli_module, "cli", group)
    monkeypatch.setattr(cli_module, "is_own", lambda: own)
    monkeypatch.setattr(cli_module, "_leave", leave)
    monkeypatch.setattr(sys, "argv", ["cxr-edge", *arguments])
    with pytest.raises(click.exceptions.Exit):
        cli_module.main()
    assert seen == [(called, own)]


def test_without_arguments_a_terminal_gets_the_help():
    done = subprocess.run(
        [sys.executable, "-m", "cxr_edge"],
        cwd=ROOT,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert said.startswith("Usage: cxr-edge ")
    assert "Press Enter" not in said


def test_a_dropped_folder_is_watched_and_dropped_files_are_read(tmp_path):
    film, folder = str(make_film(tmp_path / "a film.png")), str(tmp_path)
    assert command_for([folder]) == ["start", folder]
    assert command_for([film]) == ["predict", film]
    assert command_for([film, folder]) == ["predict", film, folder]
    assert command_for([film, "nowhere"]) == [film, "nowhere"]
    assert command_for([film, "--json"]) == [film, "--json"]


def test_a_film_dropped_onto_the_icon_is_shown_in_the_table(tmp_path):
    film = shutil.copy(SAMPLES / "normal-5.png", tmp_path / "a film.png")
    outcome = CliRunner().invoke(cli, [str(film)])
    assert outcome.exit_code == 0, outcome.output
    heading, row = outcome.stdout.splitlines()
    assert heading.split() == ["file", "finding", "score", "result"]
    assert "a film.png" in row


def test_a_command_stays_one_where_a_folder_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "status").mkdir()
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(cli, ["status", "--help"])
    assert outcome.stdout.startswith("Usage: cli status")


def test_what_is_neither_command_nor_path_is_a_mistake_with_a_hint():
    outcome = CliRunner().invoke(cli, ["statsu"])
    assert outcome.exit_code == 2
    assert "No such command 'statsu'" in outcome.stderr
    assert "Give a command, or a folder or files that are there." in outcome.stderr
    assert not Path("statsu").exists()
