"""A configuration file: every option, its limits, and what is said of a mistake."""

import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from cxr_edge.commands.options import device_option
from cxr_edge.errors import SettingsError
from cxr_edge.session import Device
from cxr_edge.watch.settings import (
    EXAMPLE,
    AfterSettings,
    CsvSettings,
    ModelSettings,
    Settings,
    default_ledger_path,
    load_settings,
    service_ledger_path,
)


@pytest.fixture
def load(tmp_path):
    def load(text: str) -> Settings:
        path = tmp_path / "watch.toml"
        path.write_text('folder = "films"\n' + text, encoding="utf-8")
        return load_settings(path)

    return load


def keys(kind: type, prefix: str = "") -> set[str]:
    found = set()
    for field in dataclasses.fields(kind):
        nested = isinstance(field.type, type) and dataclasses.is_dataclass(field.type)
        found |= keys(field.type, field.name + ".") if nested else {prefix + field.name}
    return found


def test_the_example_loads_names_every_option_and_gives_the_defaults(tmp_path):
    path = tmp_path / "example.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    named = {
        key + "." + inner if isinstance(value, dict) and inner else key
        for key, value in tomllib.loads(EXAMPLE).items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert named == keys(Settings)
    assert load_settings(path) == Settings(folder=tmp_path / "films")
    assert all(len(line) <= 100 for line in EXAMPLE.splitlines())


def test_relative_paths_start_from_the_files_own_folder(tmp_path, load, monkeypatch):
    monkeypatch.chdir("/")
    settings = load('ledger = "l/ledger.db"\n[csv]\npath = "röntgen films.csv"')
    assert settings.folder == tmp_path / "films"
    assert settings.ledger_path == tmp_path / "l" / "ledger.db"
    assert settings.csv.path == tmp_path / "röntgen films.csv"
    assert settings.key_path == tmp_path / "l" / "pseudonym.key"


def test_a_file_saved_by_notepad_loads(tmp_path):
    path = tmp_path / "watch.toml"
    path.write_bytes(b"\xef\xbb\xbffolder = 'films'\r\n[log]\r\nkeep = 7\r\n")
    assert load_settings(path).log.keep == 7


def test_what_a_site_accepts_stands_in_the_file(load):
    assert load("").model.accept == ()
    assert load("[model]\naccept = ['lateral', 'age']").model.accept == ("lateral", "age")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("setle_s = 2", "unknown setle_s"),
        ("[csv]\ndialect = 'standard'\nseparator = ';'", "csv has unknown separator"),
        ("settle_s = '2'", "settle_s should be float"),
        ("settle_s = nan", "settle_s should be float"),
        ("subfolders = 1", "subfolders should be bool"),
        ("ledger = 3", "ledger should be"),
        ("csv = 'a.csv'", "csv must be an object"),
        ("[model]\nthresholds = {pneumonia = 'high'}", "model.thresholds.pneumonia should be"),
        ("settle_s = -1", "settle_s is -1. Give 0 or more"),
        ("poll_interval_s = 0", "poll_interval_s is 0. Give more than 0"),
        ("[model]\nthreshold = 1.5", "model.threshold is 1.5. Give 1 or less"),
        ("[model]\nthresholds = {pneumonia = -0.1}", "model.thresholds.pneumonia is -0.1"),
        ("[model]\naccept = ['lateral', 'blank']", "model.accept is 'blank'. Give one of age, "),
        ("[model]\naccept = ['LATERAL']", "model.accept is 'LATERAL'"),
        ("[model]\naccept = 'lateral'", "model.accept should be"),
        ("[csv]\ndialect = 'french'", "csv.dialect is 'french'. Give one of standard, excel"),
        ("[workers]\nmemory_mb = 10", "workers.memory_mb is 10"),
        ("[log]\nkeep = 0", "log.keep is 0"),
        ("exclude = ['']", "exclude holds an empty pattern"),
        ("[after]\nsuccess = 'move'", "moved_to names none"),
        ("[after]\nmoved_to = 'done'", 'success is "leave"'),
        ("[retention]\nfilms_days = 3", "no film is moved anywhere"),
        ("[retention]\nheatmaps_days = 3", "without heatmaps.folder"),
        ("[notice]\nwebhook = 'ftp://x/y'", "notice.webhook"),
        ("[notice]\nwebhook = 'file:///etc/passwd'", "notice.webhook"),
        ("[notice]\nwebhook = 'https://'", "notice.webhook"),
        ("[notice]\nwebhook = 'http://host:port/'", "notice.webhook"),
        ("[notice]\nemail_to = 'reading'\nsmtp_host = 'mail'", "notice.email_to is 'reading'"),
        ("[notice]\nemail_to = 'a@b.org'\nsmtp_host = 'mail'", "notice.email_from is ''"),
        ("[notice]\nemail_to = 'a@b.org'\nemail_from = 'c@b.org'", "without notice.smtp_host"),
        (
            "[notice]\nemail_to = 'a@b.org'\nemail_from = 'c@b.org'\nsmtp_host = 'm'\n"
            "smtp_user = 'u'",
            "only one is given",
        ),
        ('[notice]\nemail_to = "a@b.org\\nBcc: c@d.org"', "control character"),
        ("[notice]\npiled_up = 50", "nobody to tell"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file_and_a_next_step(load, text, said):
    with pytest.raises(SettingsError) as caught:
        load(text)
    assert said in str(caught.value)
    assert "watch.toml" in caught.value.message
    assert caught.value.next_step


def test_a_webhook_that_is_refused_is_not_repeated_for_it_may_hold_a_secret(load):
    with pytest.raises(SettingsError) as caught:
        load("[notice]\nwebhook = 'htp://host/secret-token'")
    assert "secret" not in str(caught.value)


def test_broken_toml_is_said_with_its_line(load):
    with pytest.raises(SettingsError, match="line 3") as caught:
        load("settle_s = 2\nexclude = = []")
    assert "watch.toml" in str(caught.value)


@pytest.mark.parametrize("path", [r"D:\films", r"D:\users", r"D:\table", "D:\\new"])
def test_a_windows_path_in_double_quotes_is_refused_with_the_way_out(tmp_path, path):
    file = tmp_path / "watch.toml"
    file.write_text(f'folder = "{path}"')
    with pytest.raises(SettingsError, match="single quotes"):
        load_settings(file)


def test_what_powershell_writes_can_be_read(tmp_path):
    """Its > writes UTF-16, also `cxr-edge watch --example > cxr-edge.toml`."""
    path = tmp_path / "watch.toml"
    path.write_text(EXAMPLE.replace('"films"', '"Röntgen"'), encoding="utf-16")
    assert load_settings(path).folder == tmp_path / "Röntgen"


def test_a_file_that_is_absent_or_in_another_encoding_is_said(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read"):
        load_settings(tmp_path / "absent.toml")
    path = tmp_path / "watch.toml"
    path.write_bytes("# a\nfolder = 'Röntgen'".encode("latin-1"))
    with pytest.raises(SettingsError, match="line 2 is not UTF-8"):
        load_settings(path)


def test_a_file_without_a_folder_is_refused(tmp_path):
    path = tmp_path / "watch.toml"
    path.write_text("settle_s = 2")
    with pytest.raises(SettingsError, match="lacks folder"):
        load_settings(path)


@pytest.mark.parametrize(
    "text",
    [
        "ledger = 'films/ledger.db'",
        "ledger = 'elsewhere/../films/deep/ledger.db'",
        "[csv]\npath = 'films/results.csv'",
        "[heatmaps]\nfolder = 'films'",
        "[heatmaps]\nfolder = 'films/heat'",
        "[after]\nsuccess = 'move'\nmoved_to = 'films/done'",
        "[after]\nfailed_to = 'films/failed'",
        "[log]\nfile = 'films/log.jsonl'",
        "[privacy]\nkey_file = 'films/key'",
    ],
)
def test_nothing_is_written_into_the_folder_that_is_read(load, text):
    with pytest.raises(SettingsError, match="inside"):
        load(text)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_into_the_watched_folder_is_seen_through(tmp_path, load):
    (tmp_path / "films").mkdir()
    (tmp_path / "out").symlink_to("films")
    with pytest.raises(SettingsError, match="inside"):
        load("[csv]\npath = 'out/results.csv'")
    (tmp_path / "round").symlink_to("round")
    # A circle leads nowhere; whichever way Python tells of it, no other error comes out.
    try:
        load("[csv]\npath = 'round/results.csv'")
    except SettingsError as exc:
        assert "cannot be followed" in str(exc)


def test_films_not_yet_read_never_lie_in_a_folder_whose_films_are_aged(tmp_path):
    with pytest.raises(SettingsError, match=r"watched folder .* lies inside"):
        Settings(
            folder=tmp_path / "scans" / "in",
            after=AfterSettings(success="move", moved_to=tmp_path / "scans"),
        )


def test_two_things_are_not_written_to_one_place(tmp_path):
    with pytest.raises(SettingsError, match=r"ledger and csv\.path"):
        Settings(
            folder=tmp_path / "films",
            ledger=tmp_path / "x.db",
            csv=CsvSettings(path=tmp_path / "y" / ".." / "x.db"),
        )


@pytest.mark.skipif(sys.platform != "linux", reason="the places of Linux")
def test_the_ledger_lies_where_the_system_keeps_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_ledger_path() == tmp_path / "cxr-edge" / "ledger.db"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_ledger_path() == Path.home() / ".local/share/cxr-edge/ledger.db"
    assert service_ledger_path() == Path("/var/lib/cxr-edge/ledger.db")


def test_the_devices_are_the_same_in_the_code_a_file_and_on_the_command_line():
    in_file = {field.name: field for field in dataclasses.fields(ModelSettings)}["device"]
    assert in_file.metadata["choices"] == get_args(Device)
    (option,) = device_option(lambda: None).__click_params__
    assert tuple(option.type.choices) == get_args(Device)
