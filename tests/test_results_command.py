"""`cxr-edge results` opens the table of results that is newest."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from cxr_edge.own_window import Window
from cxr_edge.remembered import own_config_path


@pytest.fixture
def opened(tmp_path, monkeypatch) -> list[str]:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    monkeypatch.setattr("cxr_edge.remembered.default_config_path", lambda: tmp_path / "none.toml")
    monkeypatch.setattr("cxr_edge.remembered.public_documents_folder", lambda: tmp_path / "public")
    paths: list[str] = []

    def launch(path: str, wait: bool) -> int:
        paths.append(path)
        return 0

    monkeypatch.setattr(click, "launch", launch)
    return paths


def configure(csv: str, path: Path | None = None) -> None:
    path = path or own_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"folder = 'films'\n[csv]\n{csv}\n", encoding="utf-8")


def results(window: Window | None = None):
    return CliRunner().invoke(cli, ["results"], obj=window)


def test_the_remembered_table_is_opened_and_the_window_closes(opened, tmp_path):
    table = tmp_path / "Ergebnisse 1.csv"
    table.write_text("file\n")
    configure(f"path = '{table}'")
    window = Window(own=True)
    assert results(window).exit_code == 0
    assert opened == [str(table)]
    assert not window.worth_reading


@pytest.mark.parametrize(
    ("rotate", "newest"), [("day", "r-2026-11-21.csv"), ("month", "r-2026-11.csv")]
)
def test_of_a_rotated_table_the_newest_is_opened(opened, tmp_path, rotate, newest):
    for name in ("r-2026-10.csv", "r-2026-11-09.csv", "r-2026-11-21.csv", "r-2026-11.csv"):
        (tmp_path / name).write_text("file\n")
    (tmp_path / "r-old.csv").write_text("file\n")
    configure(f"path = '{tmp_path / 'r.csv'}'\nrotate = '{rotate}'")
    assert results().exit_code == 0
    assert opened == [str(tmp_path / newest)]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("path = '../r.csv'", "There are no results yet in"),
        ("path = '../r.csv'\nrotate = 'day'", "There are no results yet in"),
        ("path = '../gone/r.csv'\nrotate = 'day'", "There are no results yet in"),
        ("", "The results go into no table"),
    ],
)
def test_where_there_is_no_table_it_is_said_what_to_do(opened, csv, message):
    configure(csv)
    window = Window(own=True)
    outcome = results(window)
    assert outcome.exit_code == 1
    assert message in outcome.stderr
    assert opened == []
    assert window.worth_reading


def test_before_the_first_start_it_is_said_what_to_do(opened):
    outcome = results()
    assert outcome.exit_code == 1
    assert "no folder was chosen. Choose the folder of the X-rays: cxr-edge start" in outcome.stderr


def test_without_settings_of_ones_own_the_services_table_is_opened(opened, tmp_path, monkeypatch):
    config = tmp_path / "service" / "watch.toml"
    configure("path = 'table.csv'", config)
    (config.parent / "table.csv").write_text("file\n")
    monkeypatch.setattr("cxr_edge.remembered.default_config_path", lambda: config)
    assert results().exit_code == 0
    assert opened == [str(config.parent / "table.csv")]


def public_results(tmp_path: Path) -> Path:
    path = tmp_path / "public" / "cxr-edge" / "results.csv"
    path.parent.mkdir(parents=True)
    path.write_text("file\n")
    return path


def test_so_it_is_where_its_settings_are_closed(opened, tmp_path):
    path = public_results(tmp_path)
    assert results().exit_code == 0
    assert opened == [str(path)]


@pytest.mark.parametrize("of_service_later", [True, False])
def test_of_ones_own_table_and_the_services_the_one_written_last(
    opened, tmp_path, of_service_later
):
    table, path = tmp_path / "r.csv", public_results(tmp_path)
    table.write_text("file\n")
    configure(f"path = '{table}'")
    os.utime(table, (1000, 1000))
    os.utime(path, (1001, 1001) if of_service_later else (999, 999))
    assert results().exit_code == 0
    assert opened == [str(path if of_service_later else table)]


def test_a_pc_without_a_spreadsheet_is_told_where_the_table_is(opened, tmp_path, monkeypatch):
    table = tmp_path / "r.csv"
    table.write_text("file\n")
    configure(f"path = '{table}'")
    monkeypatch.setattr(click, "launch", lambda path, wait: 3)
    outcome = results()
    assert outcome.exit_code == 1
    assert f"Nothing on this PC opens {table}." in outcome.stderr
