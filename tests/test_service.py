"""The watcher as a service: the unit's text, what systemd is told, and Windows' command line."""

import ctypes
import getpass
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from cxr_edge.errors import CxrEdgeError, LedgerError, SettingsError
from cxr_edge.service import plan as planning
from cxr_edge.service import systemd, windows
from cxr_edge.service.plan import Plan, plan
from cxr_edge.service.systemd import notify, watchdog_interval_s
from cxr_edge.service.unit import Surroundings, unit_text

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine"
)
DISKS = b"1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /mnt/Bilder\\040neu rw - cifs //a/b rw\n"
PROGRAM = ("/opt/cxr edge/bin/cxr-edge",)


def write_config(folder: Path, text: str = "", **tables: str) -> Path:
    """A configuration whose folders lie in `folder`, which is given in the file's own words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "films").mkdir(exist_ok=True)
    path = folder / "watch.toml"
    rest = "\n".join(f"[{name}]\n{lines}" for name, lines in tables.items())
    path.write_text(f"folder = 'films'\n{text}\n{rest}\n", encoding="utf-8")
    return path


def unit_of(config: Path, gpu: bool = False, account: str = "radiology") -> list[str]:
    text = unit_text(plan("cxr-edge", config, account), Surroundings(PROGRAM, gpu, mountinfo=DISKS))
    return text.splitlines()


def written(unit: list[str]) -> list[str]:
    """The folders that may be written, but for those that pytest's own lie in."""
    return [path for path in values(unit, "ReadWritePaths") if path != "/tmp /var/tmp"]


def values(unit: list[str], key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit if line.startswith(f"{key}=")]


@needs_linux
def test_the_unit_restarts_what_heals_and_is_watched(tmp_path: Path) -> None:
    unit = unit_of(write_config(tmp_path))
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "RestartPreventExitStatus") == ["2 4 8 9"]  # not 7: the folder becomes free
    assert values(unit, "StartLimitIntervalSec") == ["0"]
    assert values(unit, "TimeoutStopSec") == ["20"]
    assert values(unit, "User") == ["radiology"]
    assert values(unit, "RequiresMountsFor") == []


@needs_linux
def test_only_what_is_written_is_writable(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        f"ledger = '{tmp_path}/state/ledger.db'",
        csv=f"path = '{tmp_path}/results/r.csv'",
        heatmaps=f"folder = '{tmp_path}/pictures'",
        after=f"success = 'move'\nmoved_to = '{tmp_path}/done'\nfailed_to = '{tmp_path}/failed'",
        log=f"file = '{tmp_path}/log/watch.jsonl'",
    )
    unit = unit_of(config)
    assert values(unit, "ProtectSystem") == ["strict"]
    assert sorted(written(unit)) == sorted(
        f'"-{tmp_path / name}"'
        for name in ("state", "results", "pictures", "done", "failed", "log", "films")
    )


@needs_linux
def test_a_share_is_writable_by_its_mount_point(tmp_path: Path) -> None:
    # Bound by its own path, the service would keep it after it was unmounted.
    config = write_config(tmp_path)
    config.write_text("folder = '/mnt/Bilder neu/2024/inbox'\nledger = '/var/lib/x/l.db'\n")
    assert written(unit_of(config)) == ['"-/mnt/Bilder neu"', '"-/var/lib/x"']


@needs_linux
def test_the_network_is_closed_unless_notices_need_it(tmp_path: Path) -> None:
    closed = unit_of(write_config(tmp_path / "a"))
    assert values(closed, "PrivateNetwork") == ["yes"]
    assert values(closed, "IPAddressDeny") == ["any"]
    assert values(closed, "RestrictAddressFamilies") == ["AF_UNIX"]
    opened = unit_of(write_config(tmp_path / "b", notice="webhook = 'https://hospital/hook'"))
    assert values(opened, "PrivateNetwork") == []
    assert values(opened, "IPAddressDeny") == []
    assert values(opened, "RestrictAddressFamilies") == ["AF_UNIX AF_INET AF_INET6"]


@needs_linux
def test_a_gpu_keeps_its_devices(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    for key in ("PrivateDevices", "MemoryDenyWriteExecute"):
        assert values(unit_of(config), key) == ["yes"]
        assert values(unit_of(config, gpu=True), key) == []


@needs_linux
def test_homes_and_tmp_are_closed_where_nothing_of_ours_lies_there(tmp_path: Path) -> None:
    config = write_config(tmp_path)  # below /tmp, as pytest's folders are
    config.write_text("folder = '/srv/films'\nledger = '/home/anna/ledger.db'\n")
    assert values(unit_of(config), "ProtectHome") == ["read-only"]
    config.write_text("folder = '/srv/films'\nledger = '/var/tmp/ledger.db'\n")
    assert values(unit_of(config), "PrivateTmp") == ["no"]
    assert "ReadWritePaths=/tmp /var/tmp" in unit_of(config)  # or nothing could use them
    elsewhere = Plan("cxr-edge", Path("/etc/w.toml"), "a", plan("cxr-edge", config, "a").settings)
    text = unit_text(
        elsewhere, Surroundings(("/home/anna/venv/bin/python",), False, mountinfo=DISKS)
    )
    assert values(text.splitlines(), "ProtectHome") == ["read-only"]
    linked = Surroundings(PROGRAM, False, (Path("/home/anna/python3"),), mountinfo=DISKS)
    assert values(unit_text(elsewhere, linked).splitlines(), "ProtectHome") == ["read-only"]
    config.write_text("folder = '/srv/films'\nledger = '/var/lib/cxr-edge/ledger.db'\n")
    settings = plan("cxr-edge", config, "a").settings
    text = unit_text(
        Plan("cxr-edge", Path("/etc/w.toml"), "a", settings),
        Surroundings(PROGRAM, False, mountinfo=DISKS),
    )
    assert values(text.splitlines(), "ProtectHome") == ["yes"]
    assert values(text.splitlines(), "PrivateTmp") == ["yes"]


@needs_linux
def test_names_are_quoted_as_systemd_reads_them(tmp_path: Path) -> None:
    config = write_config(tmp_path / 'Klinik "Süd" 100% $HOME it\\s')
    config.write_text("folder = \"/srv/it's 5%\"\nledger = '/srv/a\"b\\c/ledger.db'\n")
    unit = unit_of(config)
    start = values(unit, "ExecStart")[0]
    assert start.startswith('"/opt/cxr edge/bin/cxr-edge" "watch" "--config" "')
    assert start.endswith('/Klinik \\"Süd\\" 100%% $$HOME it\\\\s/watch.toml"')
    # Backslashes mean nothing in a path there, and quotes cannot be escaped.
    assert written(unit) == ["'-/srv/a\"b\\c'", '"-/srv/it\'s 5%%"']


@needs_linux
def test_a_name_that_no_unit_can_hold_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(SettingsError, match="not UTF-8"):
        unit_of(config)
    config = write_config(tmp_path / "a\nb")
    with pytest.raises(SettingsError, match="control character"):
        unit_of(config)
    config = write_config(tmp_path / "c")
    config.write_text('folder = "/srv/a\'b\\"c"\n')
    with pytest.raises(SettingsError, match="quotes"):
        unit_of(config)


@needs_linux
@needs_analyze
@pytest.mark.parametrize("notice", ["", "webhook = 'https://hospital/hook'"])
def test_systemd_takes_the_unit(tmp_path: Path, notice: str) -> None:
    folder = tmp_path / "Röntgen 100% neu"
    config = write_config(folder, csv="path = 'out/ré \"s\".csv'", notice=notice)
    surroundings = Surroundings((sys.executable, "-P", "-m", "cxr_edge"), False)
    unit = tmp_path / "cxr-edge.service"
    unit.write_text(unit_text(plan("cxr-edge", config, "root"), surroundings), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    # Of the machine's own units it also speaks.
    assert [line for line in done.stderr.splitlines() if "cxr-edge" in line] == []
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-400:]  # at most 3.0 of 10 exposed


@needs_linux
def test_without_systemd_or_root_the_next_step_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, f"ledger = '{tmp_path}/state/ledger.db'")
    monkeypatch.setattr(systemd, "UNITS_FOLDER", tmp_path / "units")
    planned = plan("cxr-edge", config, "radiology")
    monkeypatch.setattr(systemd.shutil, "which", lambda name: None)
    for action in (lambda: systemd.install(planned), lambda: systemd.start("cxr-edge")):
        with pytest.raises(CxrEdgeError, match="systemd does not run") as caught:
            action()
        assert "--dry-run" in caught.value.next_step
    monkeypatch.setattr(systemd, "_need_systemd", lambda: None)
    with pytest.raises(CxrEdgeError, match="no service cxr-edge") as caught:
        systemd.status("cxr-edge")
    assert "service install" in caught.value.next_step
    monkeypatch.setattr(systemd.os, "geteuid", lambda: 1000)
    with pytest.raises(CxrEdgeError, match="Only root") as caught:
        systemd.install(planned)
    assert "sudo" in caught.value.next_step
    assert not (tmp_path / "state").exists()


@needs_linux
def test_a_service_is_installed_asked_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for systemctl: systemd itself does not run where tests do.
    called: list[tuple[str, ...]] = []

    def systemctl(*words: str) -> "subprocess.CompletedProcess[str]":
        called.append(words)
        denied = words[0] == "stop"
        return subprocess.CompletedProcess(words, int(denied), "active (running)", "Access denied")

    monkeypatch.setattr(systemd, "UNITS_FOLDER", tmp_path)
    monkeypatch.setattr(systemd, "_need_systemd", lambda: None)
    monkeypatch.setattr(systemd, "_need_root", lambda: None)
    monkeypatch.setattr(systemd, "_run", systemctl)
    config = write_config(tmp_path / "x", f"ledger = '{tmp_path}/state/ledger.db'")
    with pytest.raises(SettingsError, match="no account 'nobody-here'") as caught:
        systemd.install(plan("films", config, "nobody-here"))
    assert "useradd" in caught.value.next_step
    me = getpass.getuser()
    monkeypatch.setattr(systemd, "program", lambda: ["false"])
    with pytest.raises(SettingsError, match="cannot run cxr-edge"):
        systemd.install(plan("films", config, me))
    monkeypatch.setattr(systemd, "program", lambda: ["true"])
    systemd.install(plan("films", config, me))
    unit = tmp_path / "films.service"
    assert f"User={me}" in unit.read_text()
    assert (tmp_path / "state").is_dir()
    assert called == [("daemon-reload",), ("enable", "films.service")]
    systemd.start("films")
    assert systemd.status("films") == (True, "active (running)")
    with pytest.raises(CxrEdgeError, match="Access denied") as caught:
        systemd.stop("films")
    assert "sudo" in caught.value.next_step
    systemd.remove("films")
    assert not unit.exists()
    # Somebody else's unit is neither written over nor removed.
    unit.write_text("[Service]\n")
    for action in (
        lambda: systemd.install(plan("films", config, me)),
        lambda: systemd.remove("films"),
    ):
        with pytest.raises(SettingsError, match="not written by cxr-edge"):
            action()
    assert unit.read_text() == "[Service]\n"


@needs_linux
def test_dry_run_prints_the_unit_and_changes_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, f"ledger = '{tmp_path}/state/ledger.db'")
    words = ["service", "install", "--config", str(config), "--user", "radiology", "--dry-run"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "[Service]" in done.stdout
    assert f'"{config}"' in done.stdout
    assert not (tmp_path / "state").exists()


def test_a_folder_is_enough_to_install_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[Plan] = []
    monkeypatch.setattr(
        systemd if sys.platform == "linux" else windows,
        "install",
        lambda plan: installed.append(plan) or [],
    )
    monkeypatch.setattr("cxr_edge.remembered.public_documents_folder", lambda: tmp_path / "public")
    config, films = tmp_path / "state" / "watch.toml", tmp_path / "films ü"
    films.mkdir()
    words = ["service", "install", "--user", "a", "--config", str(config), "--folder", str(films)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    (planned,) = installed
    assert planned.settings.folder == films
    assert planned.settings.csv.path == tmp_path / "public" / "cxr-edge" / "results.csv"
    config.write_text(config.read_text(encoding="utf-8") + "\n[log]\nlevel = 'debug'\n", "utf-8")
    other = tmp_path / "other"
    other.mkdir()
    assert CliRunner().invoke(cli, [*words[:-1], str(other)]).exit_code == 0
    assert installed[1].settings.folder == other
    assert "level = 'debug'" in config.read_text(encoding="utf-8")
    assert CliRunner().invoke(cli, [*words, "--dry-run"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said", "exit_code"),
    [
        (["install", "--user", "a", "--config", "absent.toml"], "cannot be read", 2),
        (["install", "--user", "a", "--name", "a/b"], "cannot be called", 2),
        (["start", "--name", "../x"], "cannot be called", 2),
    ],
)
def test_a_mistake_gets_an_error_and_no_traceback(
    words: list[str], said: str, exit_code: int
) -> None:
    done = CliRunner().invoke(cli, ["service", *words])
    assert said in done.output
    assert done.exit_code == exit_code


@needs_linux
def test_the_account_must_be_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["service", "install", "--config", str(write_config(tmp_path))])
    assert done.exit_code == 2
    assert "--user NAME" in done.output


def test_an_unknown_key_is_an_error_before_anything_is_installed(tmp_path: Path) -> None:
    config = write_config(tmp_path, "setle_s = 3")
    with pytest.raises(SettingsError, match="setle_s"):
        plan("cxr-edge", config, "a")


def test_a_second_service_needs_a_ledger_of_its_own(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert plan("cxr-edge", config, "a").settings.ledger == planning.service_ledger_path()
    with pytest.raises(SettingsError, match="names no ledger"):
        plan("ward-3", config, "a")


def test_a_ledger_on_a_share_is_refused_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxr_edge.watch import places

    monkeypatch.setattr(places, "kind_of", lambda path, mountinfo=None: "share")
    with pytest.raises(LedgerError, match="cannot lie on a share"):
        plan("cxr-edge", write_config(tmp_path), "a")


# What systemd is told.


@needs_linux
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@cxr-edge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if abstract else name)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1\nSTATUS=Watching")
        assert listener.recv(100) == b"READY=1\nSTATUS=Watching"


def test_no_socket_is_opened_where_systemd_did_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", none)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:99")
    notify("READY=1")


@needs_linux
def test_a_systemd_that_does_not_listen_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("WATCHDOG=1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("120000000", "", 60.0),
        ("120000000", "own", 60.0),
        ("120000000", "1", None),  # meant for another process
        ("0", "", None),
        ("", "", None),
        ("soon", "", None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_waits(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_interval_s() == expected


# Windows.


def test_windows_is_given_a_command_that_no_space_takes_apart(tmp_path: Path) -> None:
    planned = plan("cxr-edge", write_config(tmp_path / "Klinik Süd"), "")
    line = windows.command_line([r"C:\Program Files\cxr-edge\cxr-edge.exe"], planned)
    assert line.startswith(r'"C:\Program Files\cxr-edge\cxr-edge.exe" service run --name cxr-edge')
    assert line.endswith(f'--config "{planned.config}"')
    line = windows.command_line([r"C:\cxr\cxr-edge.exe"], planned)
    assert line.startswith(r'"C:\cxr\cxr-edge.exe" service run')


@pytest.mark.skipif(sys.platform != "win32", reason="Windows takes it apart")
def test_windows_takes_the_command_apart_as_it_was_put_together(tmp_path: Path) -> None:
    if sys.platform == "win32":
        planned = plan("cxr-edge", write_config(tmp_path / "Klinik Süd"), "")
        line = windows.command_line([r"C:\Program Files\cxr-edge.exe"], planned)
        count = ctypes.c_int()
        parse = ctypes.windll.shell32.CommandLineToArgvW
        parse.restype = ctypes.POINTER(ctypes.c_wchar_p)
        words = parse(line, ctypes.byref(count))[: count.value]
        assert words[0] == r"C:\Program Files\cxr-edge.exe"
        assert words[-1] == str(planned.config)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("", "NT AUTHORITY\\LocalService"),
        ("anna", ".\\anna"),
        ("KLINIK\\anna", "KLINIK\\anna"),
        ("anna@klinik.example", "anna@klinik.example"),
    ],
)
def test_accounts_are_named_as_windows_names_them(given: str, full: str) -> None:
    assert windows.full_account(given) == full


def test_local_service_on_a_share_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "kind_of", lambda path: "share")
    config = write_config(tmp_path)
    monkeypatch.setattr(planning, "refuse_ledger_on_share", lambda path: None)
    assert "--user" in windows.warnings(plan("cxr-edge", config, ""))[0]
    assert windows.warnings(plan("cxr-edge", config, "KLINIK\\anna")) == []
    assert "delayed" in windows.describe(plan("cxr-edge", config, ""))


@pytest.mark.skipif(sys.platform == "win32", reason="it is Windows here")
def test_the_windows_host_runs_on_windows_only(tmp_path: Path) -> None:
    words = ["service", "run", "--config", str(write_config(tmp_path))]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "for Windows" in done.output
    listed = CliRunner().invoke(cli, ["service", "--help"]).output.split("Commands:")[1]
    assert "\n  run " not in listed


def test_help_loads_no_library_that_a_service_does_not_need() -> None:
    code = (
        "import sys; from cxr_edge.cli import cli\n"
        "try: cli(['service', 'install', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'cv2', 'onnxruntime', 'win32service', 'socket'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
