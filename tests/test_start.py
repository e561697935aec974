"""The first run: a folder is chosen once, remembered, and read from then on."""

import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.asking import NoDialogError
from cxr_edge.cli import cli
from cxr_edge.errors import BusyError, CxrEdgeError, SettingsError
from cxr_edge.remembered import check, dialect_here, own_config_path, remember, remembered
from tests.conftest import ROOT, make_film


@pytest.fixture
def user(tmp_path, monkeypatch) -> Path:
    """A person who never used this program; their own folder."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    home = tmp_path / "Ana María"
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    return home


@pytest.fixture
def films(tmp_path) -> Path:
    folder = tmp_path / "Röntgen 肺"
    make_film(folder / "dark.png", 50)
    return folder


class Watching:
    """Stands in for cxr_edge.commands.watch.until_stopped."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.settings = None
        self.instructions = ""

    def __call__(self, settings, instructions):
        if self.error:
            raise self.error
        self.settings, self.instructions = settings, instructions
        return 0


@pytest.fixture
def watching(monkeypatch) -> Watching:
    """It asks in the console, as on Windows where no dialog can be shown."""

    def dialog(words, offered):
        raise NoDialogError

    made = Watching()
    monkeypatch.setattr("cxr_edge.asking.in_dialog", dialog)
    monkeypatch.setattr("cxr_edge.commands.watch.until_stopped", made)
    return made


def start(*arguments: object, typed: str = ""):
    return CliRunner().invoke(cli, ["start", *map(str, arguments)], input=typed)


def service(monkeypatch, *, runs: bool) -> None:
    class Manager:
        @staticmethod
        def status(name):
            return runs, name

    monkeypatch.setattr("cxr_edge.commands.service.service_manager", lambda: Manager)


def test_a_named_folder_is_watched_and_remembered(user, films, watching):
    assert start(films).exit_code == 0
    assert watching.settings.folder == films
    assert watching.settings.csv.path == user / "cxr-edge" / "results.csv"
    assert watching.settings == remembered()
    for fact in (films, user / "cxr-edge" / "results.csv", "Ctrl-C", "Not for diagnostic use"):
        assert str(fact) in watching.instructions


def test_the_next_time_nothing_is_asked(user, films, watching):
    start(films)
    watching.settings = None
    assert start().exit_code == 0
    assert watching.settings.folder == films


class TestAsked:
    def test_the_first_time_it_asks_and_offers_a_folder(self, user, watching):
        outcome = start(typed="\n")
        assert outcome.exit_code == 0, outcome.output
        assert watching.settings.folder == user / "cxr-edge" / "X-rays"
        assert (user / "cxr-edge" / "X-rays").is_dir()

    def test_one_that_is_not_there_is_asked_for_again(self, user, films, watching):
        outcome = start(typed=f"{films / 'none'}\n'{films}'\n")
        assert f"There is no folder {films / 'none'}." in outcome.stderr
        assert watching.settings.folder == films

    def test_choose_asks_again_and_offers_what_was_chosen(self, user, films, watching, tmp_path):
        start(films)
        other = tmp_path / "other"
        other.mkdir()
        outcome = start("--choose", typed=f"{other}\n")
        assert f"[{films}]" in outcome.stderr
        assert watching.settings.folder == other

    def test_a_lost_folder_is_not_made_by_offering_it(self, user, films, watching, tmp_path):
        start(films)
        films.rename(tmp_path / "moved")
        assert start("--choose", typed="").exit_code == 1
        assert not films.exists()

    def test_nobody_to_ask_is_exit_code_1_and_nothing_remembered(self, user, watching):
        outcome = start(typed="")
        assert outcome.exit_code == 1
        assert "Error: No folder was chosen" in outcome.stderr
        assert remembered() is None
        assert not (user / "cxr-edge" / "X-rays").exists()


def test_a_folder_that_is_not_there_is_said(user, tmp_path, watching):
    outcome = start(tmp_path / "none")
    assert outcome.exit_code == 2
    assert f"There is no folder {tmp_path / 'none'}." in outcome.stderr
    assert remembered() is None


def test_a_film_is_no_folder(films):
    with pytest.raises(SettingsError, match="There is no folder"):
        check(films / "dark.png")


def test_a_folder_that_may_not_be_opened_is_said(films, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cxr_edge.remembered.os.scandir", scandir)
    with pytest.raises(SettingsError, match=r"cannot be opened \(Permission denied\)"):
        check(films)


def test_the_folder_of_the_results_is_not_taken(user, watching):
    user.mkdir()
    outcome = start(user)
    assert outcome.exit_code == 2
    assert "also holds what cxr-edge itself writes" in outcome.stderr
    assert list(own_config_path().parent.iterdir()) == []


def test_a_remembered_folder_that_is_away_is_said_and_waited_for(user, films, watching, tmp_path):
    start(films)
    films.rename(tmp_path / "moved")
    assert start().exit_code == 0
    assert watching.settings.folder == films
    assert "That folder is not there now." in watching.instructions


def test_another_folder_leaves_every_other_setting_and_comment(user, films, tmp_path):
    config = own_config_path()
    config.parent.mkdir(parents=True)
    text = "# Ana\nfolder = 'old'  # theirs\nsettle_s = 5\n\n[model]\nthreshold = 0.3 # agreed\n"
    config.write_text(text, encoding="utf-16" if sys.platform == "win32" else "utf-8-sig")
    settings = remember(films, user, "excel")
    assert settings.folder == films
    assert (settings.settle_s, settings.model.threshold, settings.csv.path) == (5, 0.3, None)
    now = config.read_text(encoding="utf-8")
    assert "# Ana" in now
    assert "# agreed" in now


def test_a_broken_configuration_is_said_and_left_alone(user, films, watching):
    config = own_config_path()
    config.parent.mkdir(parents=True)
    config.write_text("folder = ", encoding="utf-8")
    for arguments in ([], [films], ["--choose"]):
        outcome = start(*arguments)
        assert outcome.exit_code == 2
        assert f"{config} is not TOML" in outcome.stderr
    assert config.read_text(encoding="utf-8") == "folder = "


def test_what_cannot_be_written_leaves_what_was_remembered(user, films, tmp_path, monkeypatch):
    remember(films, user, "excel")
    before = own_config_path().read_bytes()
    other = tmp_path / "other"
    other.mkdir()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_edge.remembered.os.fsync", full)
    with pytest.raises(CxrEdgeError, match="No space left on device"):
        remember(other, user, "excel")
    assert own_config_path().read_bytes() == before


@pytest.mark.parametrize("dialect", ["excel", "excel-semicolon"])
def test_the_file_is_a_configuration_of_watch(user, films, dialect):
    remember(films, user, dialect)
    table = tomllib.loads(own_config_path().read_text(encoding="utf-8"))
    csv = {"path": str(user / "cxr-edge" / "results.csv"), "dialect": dialect}
    assert table == {"folder": str(films), "csv": csv}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has its region for it")
@pytest.mark.parametrize(
    ("language", "dialect"),
    [(name, "excel-semicolon") for name in ("fr", "pt_BR", "es", "de")]
    + [(name, "excel") for name in ("en", "sw")],
)
def test_the_table_is_written_as_the_spreadsheet_wants_it(monkeypatch, language, dialect):
    monkeypatch.setenv("CXR_EDGE_LANGUAGE", language)
    assert dialect_here() == dialect


@pytest.mark.skipif(sys.platform != "win32", reason="Windows has a region")
@pytest.mark.parametrize(("separator", "dialect"), [(";", "excel-semicolon"), (",", "excel")])
def test_on_windows_the_region_decides(monkeypatch, separator, dialect):
    """A Mexican's Windows speaks Spanish, and her Excel wants commas."""
    import winreg

    monkeypatch.setattr(winreg, "QueryValueEx", lambda key, name: (separator, 1))
    assert dialect_here() == dialect


def test_another_watcher_is_a_friendly_word_and_exit_code_7(user, films, monkeypatch):
    busy = Watching(BusyError("It is watched by process 12 on PC-2."))
    monkeypatch.setattr("cxr_edge.commands.watch.until_stopped", busy)
    outcome = start(films)
    assert outcome.exit_code == 7
    assert f"The X-rays in {films} are being read already." in outcome.stderr
    assert "process 12 on PC-2" in outcome.stderr


def test_beside_the_service_nothing_is_started(user, films, watching, monkeypatch, tmp_path):
    config = tmp_path / "watch.toml"
    config.write_text("folder = 'incoming'\ncsv.path = 'table.csv'\n")
    monkeypatch.setattr("cxr_edge.remembered.default_config_path", lambda: config)
    service(monkeypatch, runs=True)
    outcome = start(films)
    assert outcome.exit_code == 7
    assert f"already reads the X-rays in {tmp_path / 'incoming'}" in outcome.stderr
    assert str(tmp_path / "table.csv") in outcome.stderr
    assert watching.settings is None
    assert remembered() is None


@pytest.mark.parametrize("hidden", [True, False])
def test_a_service_whose_settings_are_for_administrators_is_said_too(
    user, films, watching, monkeypatch, tmp_path, hidden
):
    class Hidden:
        def exists(self):
            raise PermissionError(13, "Permission denied")

    config = Hidden() if hidden else tmp_path / "none.toml"
    monkeypatch.setattr("cxr_edge.remembered.default_config_path", lambda: config)
    service(monkeypatch, runs=True)
    outcome = start(films)
    assert outcome.exit_code == 7
    assert "This PC already reads X-rays by itself" in outcome.stderr


def test_a_service_that_is_stopped_is_in_nobodys_way(user, films, watching, monkeypatch):
    service(monkeypatch, runs=False)
    assert start(films).exit_code == 0
    assert watching.settings is not None


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_the_first_run_ends_with_a_row_in_the_table(user, films, tmp_path):
    """The whole way, with a model: a folder dropped onto the icon, and Ctrl-C."""
    user.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "cxr_edge", str(films)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    table = user / "cxr-edge" / "results.csv"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and process.poll() is None:
        if table.exists() and "dark.png" in table.read_text(encoding="utf-8"):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    assert said.startswith("Put chest X-rays into this folder")
    assert "dark.png" in table.read_text(encoding="utf-8")
