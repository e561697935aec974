"""The log file: what a line holds and never holds, and disks that fill up, vanish and come back."""

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from cxr_edge.watch.logs import add_log_file, remove_log_file
from cxr_edge.watch.settings import LogSettings

log = logging.getLogger("cxr_edge.watch.loop")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "watch.jsonl"


@pytest.fixture
def logging_to():
    handlers = []

    def logging_to(path: Path, **options):
        handlers.append(add_log_file(LogSettings(file=path, **options)))
        return handlers[-1]

    yield logging_to
    for handler in handlers:
        remove_log_file(handler)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").splitlines()]


def test_a_line_holds_the_time_in_utc_and_the_films_number(path, logging_to):
    path.parent.mkdir()
    logging_to(path)
    log.info("film %d was recorded: größer", 12, extra={"film": 12})
    (line,) = lines(path)
    time = datetime.fromisoformat(line.pop("time"))
    assert time.utcoffset().total_seconds() == 0
    assert time.microsecond % 1000 == 0
    assert line == {
        "level": "INFO",
        "logger": "cxr_edge.watch.loop",
        "message": "film 12 was recorded: größer",
        "film": 12,
    }


def test_of_an_exception_the_log_holds_type_and_code_but_not_its_message(path, logging_to):
    path.parent.mkdir()
    logging_to(path)
    try:
        try:
            Path("/absent/DOE^JANE.dcm").read_bytes()
        except OSError as exc:
            raise ValueError("(0010,0010) PatientName DOE^JANE") from exc
    except ValueError:
        log.exception("film 3 failed", extra={"film": 3})
    assert "DOE" not in path.read_text()
    (line,) = lines(path)
    assert line["error"] == "ValueError"
    assert line["cause"] == "FileNotFoundError (No such file or directory)"
    assert any(frame.startswith("tests/test_logs.py:") for frame in line["stack"])


def test_a_name_that_is_not_utf8_and_arguments_that_do_not_fit_still_give_a_line(path, logging_to):
    path.parent.mkdir()
    handler = logging_to(path)
    log.warning("folder %s", "f\udcff")
    record = logging.LogRecord("cxr_edge", logging.INFO, "", 1, "%d films", ("no number",), None)
    handler.handle(record)
    assert [line["message"] for line in lines(path)] == ["folder f\udcff", "%d films"]


def test_other_libraries_do_not_write_into_it(path, logging_to):
    path.parent.mkdir()
    logging_to(path, level="debug")
    logging.getLogger("pydicom").warning("PatientName DOE^JANE")
    logging.getLogger("PIL").warning("tag: DOE^JANE")
    assert not path.exists()


def test_only_what_is_asked_for_is_logged_and_nothing_once_removed(path, logging_to):
    path.parent.mkdir()
    handler = logging_to(path, level="error")
    log.warning("one")
    log.error("two")
    remove_log_file(handler)
    log.error("three")
    assert [line["message"] for line in lines(path)] == ["two"]
    assert logging.getLogger("cxr_edge").level == logging.NOTSET


def test_no_log_file_unless_asked_for():
    assert add_log_file(LogSettings()) is None
    remove_log_file(None)


def test_it_is_rotated_and_older_ones_are_dropped(path, logging_to):
    path.parent.mkdir()
    logging_to(path, max_mb=0.001, keep=2)
    for number in range(60):
        log.info("line %02d", number)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["watch.jsonl", "watch.jsonl.1", "watch.jsonl.2"]
    assert all(file.stat().st_size <= 1000 for file in path.parent.iterdir())
    kept = [line["message"] for name in reversed(names) for line in lines(path.parent / name)]
    assert kept == [f"line {number:02d}" for number in range(60 - len(kept), 60)]


def test_a_rotation_that_a_power_cut_ended_is_finished(path, logging_to):
    path.parent.mkdir()
    path.with_name("watch.jsonl.0").write_text('{"message": "before"}\n')
    path.write_text('{"message": "after"}\n' * 60)
    logging_to(path, max_mb=0.001, keep=3)
    log.info("new")
    assert lines(path)[0]["message"] == "new"
    assert lines(path.with_name("watch.jsonl.1"))[0]["message"] == "after"
    assert lines(path.with_name("watch.jsonl.2"))[0]["message"] == "before"


def test_a_file_that_cannot_be_renamed_grows_on(path, logging_to, monkeypatch):
    path.parent.mkdir()

    def held(self, target):
        raise PermissionError(13, "another program holds it")

    monkeypatch.setattr(Path, "replace", held)
    logging_to(path, max_mb=0.001, keep=2)
    for number in range(60):
        log.info("line %02d", number)
    assert len(lines(path)) == 60


def test_lines_lost_while_the_folder_is_away_are_counted_when_it_is_back(path, logging_to, capfd):
    logging_to(path)  # says that the folder is absent: that line is lost too
    for _ in range(4):
        log.info("lost")
    path.parent.mkdir()
    log.info("back")
    log.info("after")
    assert [line["message"] for line in lines(path)] == [
        "5 lines could not be written and are lost.",
        "back",
        "after",
    ]
    assert lines(path)[0]["lost"] == 5
    assert "Traceback" not in capfd.readouterr().err


def test_a_log_that_is_deleted_meanwhile_is_begun_anew(path, logging_to):
    path.parent.mkdir()
    logging_to(path)
    log.info("one")
    path.unlink()
    log.info("two")
    assert [line["message"] for line in lines(path)] == ["two"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_neither_raises_nor_prints(logging_to, capfd):
    logging_to(Path("/dev/full"))
    for _ in range(100):
        log.info("lost")
    assert capfd.readouterr().err == ""


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("tmpfs is of Linux")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_leaves_whole_lines_and_goes_on_when_there_is_room(
    small_disk, logging_to
):
    path = small_disk / "watch.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(48_000))
    logging_to(path)
    for number in range(400):
        log.info("line %03d", number)
    n_written = len(lines(path))
    assert 0 < n_written < 400
    ballast.unlink()
    log.info("back")
    assert [line["message"] for line in lines(path)[n_written:]] == [
        f"{400 - n_written} lines could not be written and are lost.",
        "back",
    ]


def test_the_console_stays_as_quiet_as_it_was(tmp_path):
    code = (
        "import logging, sys; from pathlib import Path; from cxr_edge import cli\n"
        "from cxr_edge.watch.logs import add_log_file\n"
        "from cxr_edge.watch.settings import LogSettings\n"
        "cli.cli.callback(verbose=False)\n"
        "add_log_file(LogSettings(file=Path(sys.argv[1])))\n"
        "log = logging.getLogger('cxr_edge.watch'); log.info('quiet'); log.warning('loud')"
    )
    path = tmp_path / "log"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert "loud" in ran.stderr
    assert "quiet" not in ran.stderr
    assert [line["message"] for line in lines(path)] == ["quiet", "loud"]
