"""One watcher per folder."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_edge.errors import BusyError, LedgerError
from cxr_edge.watch import claim as claiming
from cxr_edge.watch.claim import BEACON_NAME, Beacon, Claim, birth_of, is_alive, is_held

ROOT = Path(__file__).parents[1]
HERE = Beacon(
    "pc1", "pid:[1]", 100, "boot 5", "mine", "ledger1", False, "2025-01-01T08:00:00+01:00"
)
# A watcher in its own process: says "held" or the error, then lives until it is killed or told.
WATCHER = """
import sys
from pathlib import Path
from cxr_edge.errors import CxrEdgeError
from cxr_edge.watch.claim import Claim
folder, ledger, shared = sys.argv[1:]
try:
    with Claim(Path(folder), Path(ledger), shared == "shared"):
        print("held", flush=True)
        sys.stdin.read()
except CxrEdgeError as exc:
    print(type(exc).__name__, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "Röntgen Bilder"
    path.mkdir()
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


@contextmanager
def watcher(folder: Path, ledger: Path, shared: str = "") -> Iterator[tuple[str, subprocess.Popen]]:
    """A real process, and what it said of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHER, folder, ledger, shared],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def test_a_second_watcher_is_refused_and_told_who_has_the_folder(
    folder: Path, ledger: Path
) -> None:
    with watcher(folder, ledger) as (said, process):
        assert said == "held"
        started = time.monotonic()
        with (
            pytest.raises(BusyError, match=f"process {process.pid} on ") as caught,
            Claim(folder, ledger),
        ):
            pass
        assert time.monotonic() - started < 5
        assert "--share" in caught.value.next_step
        assert caught.value.exit_code == 7
        assert is_held(folder, ledger)
    assert not is_held(folder, ledger)


def test_kill_9_frees_the_folder_at_once(folder: Path, ledger: Path) -> None:
    for _ in range(3):
        with watcher(folder, ledger) as (said, process):
            assert said == "held"
            process.kill()
            process.wait(10)
            assert (folder / BEACON_NAME).exists()
            assert not is_held(folder, ledger)
            with Claim(folder, ledger):
                assert is_held(folder, ledger)
    assert sorted(path.name for path in folder.iterdir()) == []


def test_watchers_that_share_a_ledger_share_the_folder(folder: Path, ledger: Path) -> None:
    with watcher(folder, ledger, "shared") as (said, _):
        assert said == "held"
        with Claim(folder, ledger, shared=True) as mine:
            mine.beat()
            with watcher(folder, ledger) as (said, _):
                assert said == "BusyError"  # it was not started to share
            assert is_held(folder, ledger)
        with pytest.raises(BusyError), Claim(folder, ledger):
            pass
    with watcher(folder, ledger) as (said, _):
        assert said == "held"
        with pytest.raises(BusyError), Claim(folder, ledger, shared=True):
            pass


@pytest.mark.parametrize("shared", ["", "shared"])
def test_another_ledger_is_refused_shared_or_not(
    folder: Path, ledger: Path, tmp_path: Path, shared: str
) -> None:
    with watcher(folder, ledger, shared) as (said, process):
        assert said == "held"
        other = tmp_path / "elsewhere" / "ledger.sqlite"
        with (
            pytest.raises(BusyError, match=f"process {process.pid} .* another ledger"),
            Claim(folder, other, shared=bool(shared)),
        ):
            pass
        assert not is_held(folder, other)
        # Nothing of the refused one is left, and the beacon is still the other's.
        assert [path.name for path in folder.iterdir()] == [BEACON_NAME]
        assert json.loads((folder / BEACON_NAME).read_text())["pid"] == process.pid
        process.kill()
        process.wait(10)
        with Claim(folder, other):  # dead, on this machine: no waiting
            pass


def test_another_folder_is_another_claim(folder: Path, ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with Claim(folder, ledger), Claim(tmp_path / "b", ledger):
        assert is_held(folder, ledger)
        assert is_held(tmp_path / "b", ledger)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_to_the_folder_is_the_folder(folder: Path, ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with Claim(folder, ledger):
        assert is_held(tmp_path / "link", ledger)


def test_looking_for_a_watcher_leaves_nothing_behind(folder: Path, ledger: Path) -> None:
    assert not is_held(folder, ledger)
    assert not ledger.parent.exists()
    assert list(folder.iterdir()) == []


def test_a_status_command_does_not_keep_a_watcher_from_starting(folder: Path, ledger: Path) -> None:
    with Claim(folder, ledger):
        pass
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            is_held(folder, ledger)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(20):
            with Claim(folder, ledger):
                pass
    finally:
        stop.set()
        thread.join()


def test_an_absent_folder_can_be_claimed(tmp_path: Path, ledger: Path) -> None:
    away = tmp_path / "share" / "films"
    with Claim(away, ledger) as claim:
        claim.beat()
        assert is_held(away, ledger)
    assert not away.exists()


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root writes into read-only folders"
)
def test_a_read_only_folder_can_be_claimed(folder: Path, ledger: Path) -> None:
    folder.chmod(0o555)
    try:
        with Claim(folder, ledger):
            assert is_held(folder, ledger)
    finally:
        folder.chmod(0o755)


def test_a_lock_that_cannot_be_made_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError), Claim(folder, tmp_path / "file" / "ledger.sqlite"):
        pass


def beacon_of_another_machine(folder: Path, age_s: float) -> Path:
    path = folder / BEACON_NAME
    path.write_text(json.dumps({**HERE.__dict__, "host": "pc2", "ledger": "x", "later": 1}))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_a_watcher_on_another_machine_is_known_by_its_beacon(folder: Path, ledger: Path) -> None:
    beacon_of_another_machine(folder, age_s=30)
    with pytest.raises(BusyError, match="on pc2, since 2025"), Claim(folder, ledger):
        pass
    beacon_of_another_machine(folder, age_s=120)  # switched off at the wall
    with Claim(folder, ledger):
        assert json.loads((folder / BEACON_NAME).read_text())["host"] != "pc2"
    assert not (folder / BEACON_NAME).exists()


def test_a_beacon_that_is_none_is_written_over(folder: Path, ledger: Path) -> None:
    for text in (b"", b"{", b"[1]", b'{"host": 3}', b"\xff\xfe", b"9" * 9999):
        (folder / BEACON_NAME).write_bytes(text)
        with Claim(folder, ledger):
            assert json.loads((folder / BEACON_NAME).read_text())["pid"] == os.getpid()


def test_of_two_that_started_while_the_share_was_away_one_stops(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "BEAT_S", 0.0)
    with Claim(folder, ledger) as claim:
        claim.beat()
        beacon_of_another_machine(folder, age_s=1)
        with pytest.raises(BusyError, match="on pc2"):
            claim.beat()
    assert (folder / BEACON_NAME).exists()  # the other's


def test_it_beats_every_ten_seconds(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(claiming.time, "monotonic", lambda: now_s)
    with Claim(folder, ledger) as claim:
        (folder / BEACON_NAME).unlink()
        now_s += 9
        claim.beat()
        assert not (folder / BEACON_NAME).exists()
        now_s += 1
        claim.beat()
        assert (folder / BEACON_NAME).exists()


def test_an_empty_mount_point_gets_no_beacon(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "BEAT_S", 0.0)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with Claim(folder, ledger) as claim:
        (folder / BEACON_NAME).unlink()
        monkeypatch.setattr(os.path, "ismount", lambda path: False)
        claim.beat()
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "age_s", "birth", "alive"),
    [
        ({"host": "pc2"}, 59, None, True),  # its pid says nothing here
        ({"host": "pc2"}, 61, "boot 5", False),
        ({"host": "pc2"}, -90, "boot 5", False),  # a clock far ahead, read-only folder
        ({"namespace": "pid:[2]"}, 5, None, True),  # another container
        ({}, 9999, "boot 5", True),  # this machine: the process tells, not the clock
        ({}, 5, None, False),
        ({}, 5, "boot 9", False),  # the pid is another process's now
        ({}, 5, "reboot 5", False),
        ({}, 5, "", True),  # the system does not tell
        ({}, 65, "", False),
    ],
)
def test_who_is_alive(change: dict[str, str], age_s: float, birth: str | None, alive: bool) -> None:
    beacon = replace(HERE, claim="theirs", pid=200, **change)
    assert is_alive(beacon, HERE, age_s, {200: birth}.get) is alive


def test_a_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        birth = birth_of(process.pid)
        assert birth is not None
        assert birth_of(process.pid) == birth
        process.kill()
        deadline = time.monotonic() + 10
        while birth_of(process.pid) is not None:  # not yet reaped, and dead all the same
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert birth_of(process.pid) is None
    assert birth_of(os.getpid()) != birth
