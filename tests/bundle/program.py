"""Running the packaged program: on its own system, or a Windows one under Wine."""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

NATIVE_WINDOWS = sys.platform == "win32"
PATIENCE_S = 120


@dataclass(frozen=True)
class Done:
    exit_code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Program:
    """executable: its path as this system sees it. user: a folder for what a user's has."""

    def __init__(self, executable: Path, user: Path) -> None:
        self.executable = executable
        self.user = user
        self.is_windows = executable.suffix == ".exe"
        self.under_wine = self.is_windows and not NATIVE_WINDOWS

    @property
    def folder(self) -> Path:
        return self.executable.parent

    @property
    def home(self) -> Path:
        """This user's own folder, as the program is told."""
        if NATIVE_WINDOWS:
            return Path.home()
        drive = Path(os.environ.get("WINEPREFIX", "")) / "drive_c"
        return next((drive / "users").glob("[!P]*")) if self.under_wine else self.user

    def named(self, path: Path) -> str:
        """A path as the program sees it."""
        return f"Z:{path.absolute()}".replace("/", "\\") if self.under_wine else str(path)

    def command(self, *args: str | float | Path) -> list[str]:
        wine = ["wine"] if self.under_wine else []
        words = [self.named(each) if isinstance(each, Path) else str(each) for each in args]
        return [*wine, str(self.executable), *words]

    def environment(self, **more: str | Path) -> dict[str, str]:
        """English, and models and ledger apart from this user's."""
        wanted = {"CXR_EDGE_MODELS": self.user / "models", "CXR_EDGE_LANGUAGE": "en", **more}
        named = {
            name: self.named(value) if isinstance(value, Path) else value
            for name, value in wanted.items()
        }
        own = {
            name: str(self.user) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
        }
        if not self.is_windows:
            own["HOME"] = str(self.user)
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        return kept | own | named

    def run(
        self, *args: str | float | Path, cwd: Path | None = None, stdin: str = "", **env: str | Path
    ) -> Done:
        # Pipes, for Wine gives a regular file an invalid handle.
        done = subprocess.run(
            self.command(*args),
            cwd=cwd or self.user,
            env=self.environment(**env),
            input=stdin.encode(),
            capture_output=True,
            timeout=PATIENCE_S,
        )
        return Done(done.returncode, text_of(done.stdout), text_of(done.stderr))

    @contextmanager
    def without(self, *names: str) -> Iterator["Program"]:
        """The same program in another folder, where files of these names are missing."""
        elsewhere = self.user / "broken" / "cxr-edge"
        shutil.copytree(self.folder, elsewhere, copy_function=os.link)
        try:
            for name in names:
                found = [each for each in elsewhere.rglob("*") if each.name.lower() == name]
                assert found, name
                for each in found:
                    each.unlink()
            yield Program(elsewhere / self.executable.name, self.user)
        finally:
            shutil.rmtree(elsewhere)

    @contextmanager
    def on_read_only_disk(self) -> Iterator["Program"]:
        """The same program where nobody may write, as on a locked stick."""
        disk = self.user / "stick"
        disk.mkdir()
        mount = ["mount", "--bind", str(self.folder), str(disk)]
        if NATIVE_WINDOWS or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("no read-only file system can be mounted here")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
            yield Program(disk / self.executable.name, self.user)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def text_of(output: bytes) -> str:
    return output.decode("utf-8").replace("\r\n", "\n")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.1)
