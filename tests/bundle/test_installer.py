"""The Windows installer, silently, in a bare Windows: CXR_EDGE_INSTALLER names it.

Under Wine everybody is an administrator, and a folder whose program runs can be renamed: what these
two change is seen on a real Windows only.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bundle.program import NATIVE_WINDOWS, PATIENCE_S, Program, rows_of, text_of, wait_until
from tests.conftest import SAMPLES


class Installer:
    def __init__(self, path: Path, program: Program, target: Path) -> None:
        self.path, self.target = path, target
        self.installed = Program(target / "program" / "cxr-edge.exe", program.user)

    def run(self, *words: str, target: Path | None = None) -> int:
        """The exit code. NSIS takes what follows /D= as it is, quotes and spaces included."""
        folder = self.installed.named(target or self.target)
        return self._run(self.path, "/S", *words, f"/D={folder}")

    def remove(self, *words: str) -> int:
        """_?=: in this process, where it would start a copy of itself and not wait for it. It
        cannot delete itself then."""
        uninstaller = self.target / "uninstall.exe"
        folder = self.installed.named(self.target)
        exit_code = self._run(uninstaller, "/S", *words, f"_?={folder}")
        if exit_code == 0:
            assert list(self.target.iterdir()) == [uninstaller]
            uninstaller.unlink()
            self.target.rmdir()
        return exit_code

    def _run(self, program: Path, *words: str) -> int:
        # Each word as it is: NSIS wants no quotes around what has spaces, and Wine would put some.
        command = (
            f'"{program}" {" ".join(words)}' if NATIVE_WINDOWS else ["wine", str(program), *words]
        )
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
        ).returncode

    def registered(self, root: str = "HKLM") -> str:
        """What "Apps" among Windows' settings lists; "" for nothing."""
        key = root + r"\Software\Microsoft\Windows\CurrentVersion\Uninstall\cxr-edge"
        wine = [] if NATIVE_WINDOWS else ["wine"]
        done = subprocess.run(
            [*wine, "reg", "query", key, "/v", "DisplayVersion", "/reg:64"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return text_of(done.stdout) if done.returncode == 0 else ""


@pytest.fixture
def installer(windows: Program, tmp_path: Path) -> Iterator[Installer]:
    named = os.environ.get("CXR_EDGE_INSTALLER")
    if not named:
        pytest.skip("no installer (CXR_EDGE_INSTALLER); packaging/windows/build.sh makes one")
    place = "Programme ü" if NATIVE_WINDOWS else "Programme-ü"
    one = Installer(Path(named), windows, tmp_path / place / "cxr-edge")
    yield one
    if (one.target / "uninstall.exe").exists():
        one.remove("/AllUsers")


def test_it_installs_upgrades_and_removes(installer: Installer, tmp_path: Path) -> None:
    assert installer.run("/AllUsers") == 0
    program = installer.installed
    assert program.run("--version").exit_code == 0
    assert "cxr-edge" in str(program.run("--version").out)
    assert "DisplayVersion" in installer.registered()
    results = tmp_path / "results.csv"
    assert program.run("predict", SAMPLES / "normal-1.jpg", "--csv", results).exit_code == 0

    # An upgrade leaves nothing of the version before, and nothing else untouched.
    stale = program.folder / "_internal" / "of the version before.dll"
    stale.write_bytes(b"")
    beside = installer.target / "mine.txt"
    beside.write_text("mine")
    assert installer.run("/AllUsers") == 0
    assert not stale.exists()
    assert beside.read_text() == "mine"
    assert sorted(path.name for path in installer.target.iterdir()) == [
        "mine.txt",
        "program",
        "uninstall.exe",
    ]
    assert program.run("doctor").exit_code == 0, program.run("doctor").said

    beside.unlink()
    assert installer.remove("/AllUsers") == 0
    assert not program.executable.exists()
    assert not installer.registered()
    assert len(rows_of(results)) == 1


def test_for_oneself(installer: Installer) -> None:
    assert installer.run("/CurrentUser") == 0
    assert installer.installed.run("--version").exit_code == 0
    assert "DisplayVersion" in installer.registered("HKCU")
    assert not installer.registered()
    assert installer.run("/CurrentUser", r"/FOLDER=C:\films") == 6, "a service is everybody's"
    assert installer.remove("/CurrentUser") == 0
    assert not installer.registered("HKCU")


def test_the_start_menu(installer: Installer) -> None:
    assert installer.run("/AllUsers") == 0
    shortcuts = {path.name for path in start_menu().rglob("cxr-edge*.lnk")}
    assert shortcuts == {
        "cxr-edge.lnk",
        "cxr-edge - choose folder.lnk",
        "cxr-edge - open page.lnk",
        "cxr-edge - open results.lnk",
        "cxr-edge - remove.lnk",
    }
    assert installer.remove("/AllUsers") == 0
    assert not list(start_menu().rglob("cxr-edge*.lnk"))
    assert installer.run("/AllUsers", "/NOICONS") == 0
    assert not list(start_menu().rglob("cxr-edge*.lnk"))


def test_it_is_removed_without_the_results_unless_told(installer: Installer) -> None:
    public = of_everybody("users/Public/Documents/cxr-edge")
    settings = of_everybody("ProgramData/cxr-edge")
    for words, stays in ((["/AllUsers"], True), (["/AllUsers", "/PURGE"], False)):
        assert installer.run("/AllUsers") == 0
        for file in (public / "results.csv", public / "film.dcm", settings / "watch.toml"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x")
        assert installer.remove(*words) == 0
        assert (public / "results.csv").exists() is stays
        assert settings.exists() is stays
        assert (public / "film.dcm").exists(), "what people put there is never deleted"
    shutil.rmtree(public)


def test_a_disk_that_fills_leaves_the_version_before(
    installer: Installer, windows: Program
) -> None:
    assert installer.run("/AllUsers") == 0
    before = installer.installed.run("--version").out
    n_files = sum(1 for _ in installer.target.rglob("*"))
    # There is room for another version, but for no further files: it is not seen in advance.
    with small_disk(installer.target, size=3, n_files=n_files + n_files // 2) as disk:
        shutil.copytree(installer.target, disk / "cxr-edge")
        on_disk = Installer(installer.path, windows, disk / "cxr-edge")
        assert on_disk.run("/AllUsers") in (2, 4)
        assert not (on_disk.target / "program.new").exists()
        assert on_disk.installed.run("--version").out == before
    with small_disk(installer.target, size=1.5, n_files=0) as disk:
        shutil.copytree(installer.target, disk / "cxr-edge")
        on_disk = Installer(installer.path, windows, disk / "cxr-edge")
        assert on_disk.run("/AllUsers") == 4
        assert on_disk.installed.run("--version").out == before


def test_a_folder_whose_name_is_too_long(installer: Installer, tmp_path: Path) -> None:
    far = tmp_path / ("lang" * 40)
    assert installer.run("/AllUsers", target=far) == 2
    assert not far.exists()


def test_the_service(installer: Installer, tmp_path: Path) -> None:
    """Wine 8 has no delayed start, and refuses it after it has set up the service."""
    films = tmp_path / "films"
    films.mkdir()
    exit_code = installer.run("/AllUsers", f"/FOLDER={installer.installed.named(films)}")
    run = installer.installed.run
    if installer.installed.under_wine:
        assert exit_code == 6
        assert run("service", "start").exit_code == 0
    else:
        assert exit_code == 0
    shutil.copy(SAMPLES / "normal-1.jpg", films)
    results = of_everybody("users/Public/Documents/cxr-edge/results.csv")
    wait_until(lambda: results.exists() and bool(rows_of(results)), "the service's row")
    # An upgrade stops it, and starts it again.
    assert installer.run("/AllUsers") == 0
    assert run("service", "status").exit_code == 0
    stopped = run("service", "stop")
    assert stopped.exit_code == 0, stopped.said
    assert run("service", "status").exit_code == 1
    assert installer.remove("/AllUsers", "/PURGE") == 0
    assert not results.exists()


@contextmanager
def small_disk(installed: Path, size: float, n_files: int) -> Iterator[Path]:
    """A file system with room for so many times what is installed, and n_files (0: any number)."""
    n_bytes = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    disk = installed.parent / "small-disk"
    disk.mkdir(exist_ok=True)
    options = f"size={int(n_bytes * size)},nr_inodes={n_files}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if NATIVE_WINDOWS or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def of_everybody(path: str) -> Path:
    """A folder of this Windows."""
    drive = Path("C:/") if NATIVE_WINDOWS else Path(os.environ["WINEPREFIX"]) / "drive_c"
    return drive / path


def start_menu() -> Path:
    return of_everybody("ProgramData/Microsoft/Windows/Start Menu/Programs")
