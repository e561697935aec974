"""The Linux installer, with a made-up program below a folder of its own in the place of /."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Linux installer")
HERE = ROOT / "packaging" / "linux"
# Does what the installer asks of the program, and writes down what it was asked.
PROGRAM = """#!/bin/sh
case "$1" in
  --version) {version} ;;
  *) echo "program {name} $*" >> "$CALLS" ;;
esac
"""
# One service, whose state is a file; it does not start with a program that holds "no start".
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> "$CALLS"
case "$1" in
  is-active) [ -e "$STATE" ] ;;
  stop) rm -f "$STATE" ;;
  start) grep -q "no start" "$PROGRAM" && exit 1; touch "$STATE" ;;
esac
"""


@dataclass
class Machine:
    """root: in the place of /. stubs: commands that go before the system's."""

    folder: Path
    root: Path
    stubs: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        return self.root / "opt" / "cxr-edge"

    @property
    def command(self) -> Path:
        return self.root / "usr" / "local" / "bin" / "cxr-edge"

    def stub(self, name: str, text: str) -> None:
        path = self.stubs / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)

    def install(self, package: Path, *options: str | Path) -> "subprocess.CompletedProcess[str]":
        return self.run("bash", package / "install.sh", "--root", self.root, *options)

    def version(self) -> str:
        return self.run(self.command, "--version").stdout.strip()

    def calls(self) -> list[str]:
        path = Path(self.environment["CALLS"])
        return path.read_text().splitlines() if path.exists() else []

    def service(self) -> Path:
        """A unit that runs the program, and runs now."""
        unit = self.root / "etc/systemd/system/films.service"
        unit.parent.mkdir(parents=True)
        unit.write_text(f'[Service]\nExecStart="{self.target}/cxr-edge" "watch"\n')
        Path(self.environment["STATE"]).touch()
        return unit

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.iterdir() if path != self.target)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, tmp_path / "a root", tmp_path / "stubs")
    made.root.mkdir()
    made.stubs.mkdir()
    made.environment = {
        "PATH": f"{made.stubs}:{os.environ['PATH']}",
        "HOME": "/home/anna",
        "CALLS": str(tmp_path / "calls"),
        "STATE": str(tmp_path / "runs"),
        "PROGRAM": str(made.target / "cxr-edge"),
    }
    made.stub("systemctl", SYSTEMCTL)
    made.stub("id", "#!/bin/sh\necho 0\n")
    return made


def package(
    machine: Machine, version: str, machine_type: str = "", glibc: str = "2.17", says: str = ""
) -> Path:
    """An unpacked archive. says: what the program does for --version, in place of saying it."""
    folder = machine.folder / f"unpacked {version} {machine_type}"
    shutil.rmtree(folder, ignore_errors=True)
    program = folder / "program"
    (program / "_internal").mkdir(parents=True)
    answer = says or f"echo cxr-edge {version}"
    (program / "cxr-edge").write_text(PROGRAM.format(version=answer, name=version))
    shutil.copy(HERE / "uninstall.sh", program / "uninstall")
    (program / "cxr-edge").chmod(0o755)
    digest = hashlib.sha256((program / "cxr-edge").read_bytes()).hexdigest()
    (program / "_internal" / "files.sha256").write_text(f"{digest}  cxr-edge\n")
    shutil.copy(HERE / "install.sh", folder)
    needs = {"version": version, "machine": machine_type or os.uname().machine, "glibc": glibc}
    (folder / "needs").write_text("".join(f"{key}={value}\n" for key, value in needs.items()))
    return folder


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_it_is_installed_for_everybody(machine: Machine) -> None:
    done = machine.install(package(machine, "1.0"))
    assert done.returncode == 0, done.stderr
    assert f"cxr-edge 1.0 is installed in {machine.target}." in done.stdout
    assert machine.version() == "cxr-edge 1.0"
    assert machine.leftovers() == []


def test_it_is_installed_for_oneself(machine: Machine) -> None:
    done = machine.install(package(machine, "1.0"), "--per-user")
    assert done.returncode == 0, done.stderr
    command = machine.root / "home/anna/.local/bin/cxr-edge"
    assert machine.run(command, "--version").stdout == "cxr-edge 1.0\n"
    assert not (machine.root / "opt").exists()


def test_an_upgrade_keeps_settings_and_ledger_and_restarts_the_service(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    kept = {"etc/cxr-edge/watch.toml": b"folder", "var/lib/cxr-edge/ledger.db": b"films"}
    for name, data in kept.items():
        (machine.root / name).parent.mkdir(parents=True)
        (machine.root / name).write_bytes(data)
    done = machine.install(package(machine, "2.0"))
    assert done.returncode == 0, done.stderr
    assert "in the place of 1.0" in done.stdout
    assert machine.version() == "cxr-edge 2.0"
    assert machine.calls()[-2:] == ["systemctl stop films.service", "systemctl start films.service"]
    assert {name: (machine.root / name).read_bytes() for name in kept} == kept
    assert machine.leftovers() == []


def test_a_service_that_does_not_run_is_not_started(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    Path(machine.environment["STATE"]).unlink()
    machine.install(package(machine, "2.0"))
    assert "systemctl start films.service" not in machine.calls()


def test_a_program_that_does_not_run_changes_nothing(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    before = snapshot(machine.root)
    done = machine.install(package(machine, "2.0", says="echo no such library >&2; exit 1"))
    assert done.returncode == 1
    assert "error: The new version does not run here: no such library" in done.stderr
    assert "The version before, 1.0, is in place." in done.stderr
    assert snapshot(machine.root) == before
    assert "systemctl stop films.service" not in machine.calls()


def test_a_program_that_runs_beside_and_not_in_place_is_taken_back(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    before = snapshot(machine.root)
    says = 'case "$0" in *.cxr-edge-new*) echo cxr-edge 2.0 ;; *) exit 1 ;; esac'
    done = machine.install(package(machine, "2.0", says=says))
    assert done.returncode == 1
    assert "The new version does not run from" in done.stderr
    assert snapshot(machine.root) == before
    assert machine.calls()[-1] == "systemctl start films.service"
    assert Path(machine.environment["STATE"]).exists()


def test_a_service_that_does_not_start_with_the_new_version_gets_the_old_one(
    machine: Machine,
) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    before = snapshot(machine.root)
    done = machine.install(package(machine, "2.0", says=": no start; echo cxr-edge 2.0"))
    assert done.returncode == 1
    assert "films.service does not start with the new version" in done.stderr
    assert snapshot(machine.root) == before
    assert Path(machine.environment["STATE"]).exists()


def test_a_first_install_that_fails_leaves_nothing(machine: Machine) -> None:
    says = 'case "$0" in *.cxr-edge-new*) echo cxr-edge 1.0 ;; *) exit 1 ;; esac'
    assert machine.install(package(machine, "1.0", says=says)).returncode == 1
    assert snapshot(machine.root) == {}


def test_what_a_power_cut_left_between_the_renames_is_mended(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    machine.target.rename(machine.target.with_name(".cxr-edge-old"))
    done = machine.install(package(machine, "2.0", says="exit 1"))
    assert done.returncode == 1
    assert machine.version() == "cxr-edge 1.0"
    assert machine.leftovers() == []


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        ({"machine_type": "riscv128"}, "This is for Linux on riscv128"),
        ({"glibc": "99.1"}, "the program needs 99.1 or newer"),
    ],
)
def test_another_machine_is_refused(machine: Machine, needs: dict[str, str], says: str) -> None:
    done = machine.install(package(machine, "1.0", **needs))
    assert done.returncode == 1
    assert says in done.stderr
    assert " -> " in done.stderr
    assert snapshot(machine.root) == {}


def test_a_full_disk_is_noticed_before_anything_is_changed(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    before = snapshot(machine.root)
    machine.stub("df", "#!/bin/sh\necho header\necho disk 100 90 10 90% /\n")
    done = machine.install(package(machine, "2.0"))
    assert done.returncode == 1
    assert "has 0 MB free, and 1 MB are needed" in done.stderr
    assert snapshot(machine.root) == before


def test_a_damaged_archive_is_refused(machine: Machine) -> None:
    machine.install(package(machine, "1.0"))
    damaged = package(machine, "2.0")
    with (damaged / "program" / "cxr-edge").open("a") as file:
        file.write("# a bit more\n")
    done = machine.install(damaged)
    assert done.returncode == 1
    assert "missing or damaged" in done.stderr
    assert machine.version() == "cxr-edge 1.0"


def test_a_command_of_somebody_else_is_left_alone(machine: Machine) -> None:
    machine.command.parent.mkdir(parents=True)
    machine.command.write_text("mine")
    done = machine.install(package(machine, "1.0"))
    assert done.returncode == 1
    assert "is not of this installer" in done.stderr
    assert machine.command.read_text() == "mine"
    assert not machine.target.exists()


@pytest.fixture
def running(machine: Machine) -> Iterator[Machine]:
    """A machine on which the installed program runs: its file is one that does nothing for long."""
    machine.install(package(machine, "1.0"))
    program = machine.target / "cxr-edge"
    program.unlink()
    shutil.copy(shutil.which("sleep") or "", program)
    process = subprocess.Popen([program, "60"])
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process.pid}/exe").resolve() != program:
        assert time.monotonic() < deadline
    yield machine
    process.kill()
    process.wait()


def test_a_program_that_runs_is_not_replaced_or_removed(running: Machine) -> None:
    before = snapshot(running.root)
    uninstall = running.run("bash", running.target / "uninstall")
    for done in (running.install(package(running, "2.0")), uninstall):
        assert done.returncode == 1
        assert "cxr-edge runs, as process" in done.stderr
    assert snapshot(running.root) == before


def test_a_service_is_installed_by_the_program_itself(machine: Machine) -> None:
    config = machine.folder / "my watch.toml"
    config.touch()
    refused = machine.install(package(machine, "1.0"), "--service", config)
    assert refused.returncode == 1
    assert "Add --account" in refused.stderr
    done = machine.install(package(machine, "1.0"), "--service", config, "--account", "xray")
    assert done.returncode == 0, done.stderr
    assert machine.calls()[-2:] == [
        f"program 1.0 service install --config {config} --user xray",
        "program 1.0 service start",
    ]


@pytest.mark.parametrize("purge", [False, True])
def test_removal_leaves_what_was_recorded_unless_asked(machine: Machine, purge: bool) -> None:
    machine.install(package(machine, "1.0"))
    machine.service()
    names = ["etc/cxr-edge/watch.toml", "var/lib/cxr-edge/ledger.db", "srv/results.csv"]
    for name in names:
        (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.root / name).touch()
    done = machine.run(machine.target / "uninstall", *(["--purge"] if purge else []))
    assert done.returncode == 0, done.stderr
    assert machine.calls()[-1] == "program 1.0 service remove --name films"
    assert not machine.target.exists()
    assert not machine.command.is_symlink()
    left = [name for name in names if (machine.root / name).exists()]
    assert left == (["srv/results.csv"] if purge else names)


def test_uninstall_of_the_archive_removes_nothing(machine: Machine) -> None:
    unpacked = package(machine, "1.0")
    done = machine.run("bash", unpacked / "program" / "uninstall", "--purge")
    assert done.returncode == 1
    assert "is not an installed cxr-edge" in done.stderr
    assert (unpacked / "program" / "cxr-edge").exists()
