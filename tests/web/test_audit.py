"""The audit: each look and each deed has its line, and no line says more than it may."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cxr_edge.errors import RecordError
from cxr_edge.web import audit as audit_module
from cxr_edge.web.audit import Audit

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def look(audit: Audit, film: int = 17) -> None:
    audit.say("view_film", who="anna", address="10.0.0.7", film=film)


def test_a_line_says_when_who_from_where_what_and_which_film(path):
    at = datetime(2026, 11, 22, 10, 15, 2, tzinfo=timezone(timedelta(hours=1)))
    audit = Audit(path, now=lambda: at)
    look(audit)
    audit.say("view_list", who="", address="10.0.0.7", n_films=50)
    assert lines(path) == [
        {
            "at": "2026-11-22T09:15:02.000+00:00",
            "who": "anna",
            "from": "10.0.0.7",
            "action": "view_film",
            "film": 17,
        },
        {
            "at": "2026-11-22T09:15:02.000+00:00",
            "who": "",
            "from": "10.0.0.7",
            "action": "view_list",
            "n_films": 50,
        },
    ]


def test_the_time_is_of_now_in_utc(path):
    look(Audit(path))
    at = datetime.fromisoformat(lines(path)[0]["at"])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_nothing_but_numbers_and_known_actions_comes_in(path):
    audit = Audit(path)
    with pytest.raises(TypeError, match="note"):
        audit.say("verdict", who="anna", address="", note="DOE^JANE")
    with pytest.raises(TypeError, match="film"):
        audit.say("view_film", who="anna", address="", film="DOE^JANE.dcm")
    with pytest.raises(ValueError, match="no action"):
        audit.say("viewed DOE^JANE", who="anna", address="")
    assert not path.exists()


def test_a_name_with_line_breaks_stays_on_its_line(path):
    Audit(path).say("login_failed", who='a\n{"who": "b"}\u2028', address="::1")
    (line,) = lines(path)
    assert line["who"] == 'a\n{"who": "b"}\u2028'


@posix
def test_it_is_for_its_owner_alone(path):
    path.touch(0o644)
    look(Audit(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("audit.jsonl.lock").stat().st_mode & 0o777 == 0o600


def test_verdicts_and_logins_survive_a_power_cut_and_views_need_not(path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(audit_module.os, "fsync", lambda handle: synced.append(fsync(handle)))
    audit = Audit(path)
    look(audit)
    assert len(synced) == 0
    for action in ("verdict", "login", "login_failed"):
        audit.say(action, who="anna", address="::1")
    assert len(synced) == 3


def test_it_is_rotated_by_size_and_the_oldest_goes(path):
    audit = Audit(path, max_bytes=350, keep=2)
    for film in range(12):
        look(audit, film)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.lock"]
    kept = [path.with_name(f"{path.name}{end}") for end in (".2", ".1", "")]
    films = [line["film"] for file in kept for line in lines(file)]
    assert films == list(range(12 - len(films), 12))
    assert all(file.stat().st_size <= 350 for file in kept)


def test_half_a_line_that_a_power_cut_left_spoils_no_other(path):
    path.write_bytes(b'{"at": "2026-11-22T09')
    look(Audit(path))
    torn, whole = path.read_text().splitlines()
    assert torn == '{"at": "2026-11-22T09'
    assert json.loads(whole)["film"] == 17


def test_where_it_cannot_be_written_an_error_says_so(tmp_path):
    with pytest.raises(RecordError, match="cannot be written"):
        look(Audit(tmp_path / "absent" / "audit.jsonl"))
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        look(Audit(tmp_path / "audit.jsonl"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_disk_that_becomes_full_half_way_leaves_no_half_line(path):
    look(Audit(path))
    size = path.stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from cxr_edge.errors import RecordError; from cxr_edge.web.audit import Audit\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {size + 20}))\n"
        "try: Audit(Path(sys.argv[1])).say('view_film', who='anna', address='', film=1)\n"
        "except RecordError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == "refused", done.stderr
    assert path.stat().st_size == size


def test_threads_and_processes_that_append_and_rotate_at_once_lose_no_line(path):
    code = (
        "import sys; from pathlib import Path; from cxr_edge.web.audit import Audit\n"
        "audit = Audit(Path(sys.argv[1]), max_bytes=2_000, keep=150)\n"
        "for film in range(400): audit.say('view_film', who=sys.argv[2], address='', film=film)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("one", "two")
    ]
    audit = Audit(path, max_bytes=2_000, keep=150)

    def many(name: str) -> None:
        for film in range(400):
            audit.say("view_film", who=name, address="", film=film)

    threads = [threading.Thread(target=many, args=(name,)) for name in ("three", "four")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in started] == [0, 0]
    files = [path, *path.parent.glob("audit.jsonl.[0-9]*")]
    assert len(files) > 3
    said = sorted((line["who"], line["film"]) for file in files for line in lines(file))
    assert said == sorted(
        (who, film) for who in ("one", "two", "three", "four") for film in range(400)
    )
