"""What `status` says of the watched folders, and the exit code that monitoring goes by."""

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge import status
from cxr_edge.cli import cli
from cxr_edge.drift.comparison import Check, Comparison, summary
from cxr_edge.ledger import Ledger, Watcher
from cxr_edge.result import Finding, Result
from cxr_edge.status import (
    Disk,
    Folder,
    Limits,
    answers,
    disks_of,
    look,
    of_disk,
    of_folder,
    space_of,
    state_of,
)
from cxr_edge.watch.claim import Claim
from cxr_edge.watch.settle import Look

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LOOK = Look(1, 2, 3)
WATCHER = Watcher(
    folder="/scans",
    host="pc",
    pid=4711,
    started_at=(NOW - DAY).isoformat(),
    beat_at=NOW.isoformat(),
    version="1.0",
    model="tiny 1",
    model_sha256="ab" * 32,
    provider="CPUExecutionProvider",
    csv="",
    n_waiting=0,
    trouble="",
)
WATCHED = Folder(
    path=Path("/scans"),
    held=True,
    watchers=(WATCHER,),
    n_seen=0,
    n_settled=0,
    n_read=0,
    n_put_off=0,
    csv=None,
    n_rows=0,
    rows_since=None,
    today={},
    n_copies=0,
    last_done_at=None,
    last_failure=None,
)


def ago(**how_long: float) -> datetime:
    return NOW - timedelta(**how_long)


def heard(at: datetime, **more: object) -> Folder:
    """The folder of a watcher that was heard last at that time."""
    return replace(WATCHED, watchers=(replace(WATCHER, beat_at=at.isoformat(), **more),))


def levels(folder: Folder, **limits: float) -> list[str]:
    return [trouble.level for trouble in of_folder(folder, Limits(**limits), NOW)]


@pytest.mark.parametrize(
    ("folder", "state", "found"),
    [
        (heard(ago(seconds=10)), "watched", []),
        (heard(ago(seconds=119)), "watched", []),
        (heard(ago(seconds=121)), "hanging", ["critical"]),
        (replace(heard(ago(seconds=1)), held=False), "killed", ["critical"]),
        (replace(WATCHED, held=False, watchers=()), "stopped", ["critical"]),
        (replace(WATCHED, held=True, watchers=()), "starting", ["warning"]),
        # Monitoring that may not lock has the watcher's own words alone.
        (replace(heard(ago(seconds=10)), held=None), "watched", []),
        (replace(heard(ago(seconds=121)), held=None), "killed", ["critical"]),
        (replace(WATCHED, held=None, watchers=()), "stopped", ["critical"]),
    ],
)
def test_a_folder_that_nobody_watches_is_critical(folder, state, found):
    assert state_of(folder, NOW) == state
    assert levels(folder) == found


def test_a_clock_that_was_set_back_is_no_outage_and_is_said():
    folder = heard(NOW + DAY)
    (trouble,) = of_folder(folder, Limits(), NOW)
    assert state_of(folder, NOW) == "watched"
    assert trouble.level == "warning"
    assert "the clock was set back" in trouble.says


def test_rows_that_wait_for_five_minutes_are_a_warning_by_either_side_of_a_changed_clock():
    waiting = replace(WATCHED, csv=Path("/r.csv"), n_rows=2)
    assert levels(replace(waiting, rows_since=ago(seconds=299))) == []
    assert levels(replace(waiting, rows_since=ago(seconds=301))) == ["warning"]
    assert levels(replace(waiting, rows_since=NOW + DAY)) == ["warning"]


def test_films_that_pile_up_and_a_watchers_own_trouble_are_warnings():
    assert levels(heard(NOW, n_waiting=1000)) == []
    assert levels(heard(NOW, n_waiting=1001)) == ["warning"]
    assert levels(heard(NOW, n_waiting=6), n_waiting=5) == ["warning"]
    (trouble,) = of_folder(heard(NOW, trouble="The folder cannot be listed."), Limits(), NOW)
    assert (trouble.level, trouble.says) == ("warning", "The folder cannot be listed.")


def test_films_of_a_folder_that_nobody_watches_are_counted_from_the_ledger():
    folder = replace(heard(NOW, n_waiting=7), n_seen=2, n_settled=3)
    assert folder.n_waiting == 7
    assert replace(folder, held=False).n_waiting == 5


def test_a_folder_without_new_films_is_a_warning_only_where_that_is_asked_for():
    folder = replace(WATCHED, last_done_at=ago(hours=49))
    assert levels(folder) == []
    assert levels(folder, idle_h=48) == ["warning"]
    assert levels(replace(folder, last_done_at=ago(hours=47)), idle_h=48) == []
    # Before the clock was set back.
    assert levels(replace(folder, last_done_at=NOW + 9 * DAY), idle_h=48) == []
    assert levels(WATCHED, idle_h=23) == ["warning"], "none since it was started"


@pytest.mark.parametrize(
    ("free", "level"),
    [(1_000_000_000, None), (999_999_999, "warning"), (99_999_999, "critical"), (None, "warning")],
)
def test_a_disk_that_fills_up_is_a_warning_and_then_critical(free, level):
    trouble = of_disk(Disk(("ledger",), free))
    assert (trouble and trouble.level) == level


def test_a_disk_is_said_once_with_all_that_it_holds_and_one_that_does_not_answer_too():
    places = {"ledger": Path("/a"), "CSV": Path("/b"), "heatmaps": Path("/c"), "moved": Path("/d")}
    spaces = {Path("/a"): (1, 50), Path("/b"): (2, 60), Path("/c"): (1, 50)}
    assert disks_of(places, spaces) == (
        Disk(("ledger", "heatmaps"), 50),
        Disk(("CSV",), 60),
        Disk(("moved",), None),
    )


def test_a_folder_that_is_yet_to_be_made_has_the_space_of_the_one_that_it_will_be_in(tmp_path):
    device, free = space_of(tmp_path / "moved" / "2026")
    assert device == tmp_path.stat().st_dev
    assert free > 0


def test_a_share_that_does_not_answer_holds_nobody_up():
    never = threading.Event()

    def question(name: str) -> str:
        if name == "away":
            never.wait(60)
        if name == "gone":
            raise OSError
        return name.upper()

    assert answers(question, ["away", "gone", "here"], wait_s=0.2) == {"here": "HERE"}
    never.set()


# With real ledgers


UNSURE = (Finding("pneumonia", 0.6, 0.5, 0.4, 0.7),)


def result(name: str, status: str = "ok", probability: float = 0.9, **more: object) -> Result:
    one = Result(
        source=Path(name),
        status=status,
        reason="" if status == "ok" else "io_error: no answer",
        findings=(Finding("pneumonia", probability, 0.5),) if status == "ok" else (),
        model="tiny 1",
        model_sha256="ab" * 32,
        provider="CPUExecutionProvider",
        duration_ms=1.0,
        processed_at=NOW,
        sha256=name,
    )
    return replace(one, **more)


class Site:
    """A folder with its ledger, whose clock stands still."""

    def __init__(self, tmp_path: Path, now: datetime) -> None:
        self.folder = tmp_path / "films Müller"
        self.folder.mkdir()
        self.now = now
        self.path = tmp_path / "data" / "ledger.db"
        self.csv = tmp_path / "results.csv"
        self.ledger = Ledger(self.path, now=lambda: self.now)
        self.folder_id = self.ledger.folder_id(self.folder)

    def read(self, one: Result) -> int:
        file_id = self.ledger.saw(self.folder_id, str(one.source), LOOK)
        return self.ledger.record(file_id, LOOK, one).prediction_id

    def beat(self, **more: object) -> None:
        facts = {"folder": str(self.folder), "csv": str(self.csv), "beat_at": self.now.isoformat()}
        self.ledger.beat("owner", replace(WATCHER, **facts | more))

    def look(self) -> status.Status:
        with Ledger(self.path, read_only=True) as ledger:
            return look(ledger, dict(ledger.folders()), self.now)

    def run(self, *arguments: str):
        return CliRunner().invoke(cli, ["status", "--ledger", str(self.path), *arguments])


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "space_of", lambda place: (1, 5_000_000_000))
    site = Site(tmp_path, datetime.now(UTC))
    yield site
    site.ledger.close()


def test_the_films_of_the_day_are_counted_by_outcome_and_each_once(site):
    midnight = site.now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    site.now = midnight + timedelta(hours=1)
    for name, of_film in (
        ("positive", {"processed_at": midnight}),
        ("negative", {"probability": 0.1, "processed_at": site.now}),
        ("unsure", {"findings": UNSURE, "processed_at": site.now}),
        ("refused", {"status": "refused", "processed_at": site.now}),
        ("failed", {"status": "failed", "processed_at": site.now}),
        ("yesterday", {"processed_at": midnight - timedelta(seconds=1)}),
        ("tomorrow", {"processed_at": midnight + timedelta(hours=26)}),
    ):
        site.read(result(name, **of_film))
    site.read(result("copy", sha256="positive", processed_at=site.now))
    # The same film by another model counts by what was said last.
    (first, *_) = site.ledger.predictions()
    again = result("positive", probability=0.2, processed_at=site.now, model_sha256="cd" * 32)
    site.ledger.record_again(first, again)
    (folder,) = site.look().folders
    assert folder.today == {
        "positive": 0,
        "negative": 2,
        "unsure": 1,
        "refused": 1,
        "failed": 1,
    }
    assert folder.n_copies == 1
    assert folder.last_done_at == site.now


def test_rows_wait_that_come_after_what_the_csv_of_the_running_watcher_has(site):
    ids = [site.read(result(name, processed_at=site.now)) for name in "abc"]
    site.ledger.set_view_through(site.csv.with_name("former.csv"), site.folder_id, 0)
    site.ledger.set_view_through(site.csv, site.folder_id, ids[0])
    site.beat()
    (folder,) = site.look().folders
    assert (folder.csv, folder.n_rows, folder.n_read) == (site.csv, 2, 3)
    assert folder.rows_since == site.now
    site.ledger.forget_watchers(site.folder_id)
    (folder,) = site.look().folders
    assert (folder.csv, folder.n_rows) == (site.csv, 2)
    site.beat(csv="")
    (folder,) = site.look().folders
    assert (folder.csv, folder.n_rows) == (None, 0)


def test_films_that_wait_are_told_from_those_that_are_put_off(site):
    ledger = site.ledger
    ledger.saw(site.folder_id, "seen", LOOK)
    for name in ("settled", "put off", "tried again"):
        file_id = ledger.saw(site.folder_id, name, LOOK)
        assert ledger.take(file_id, LOOK, "owner", 0.0, 600.0)
        if name != "settled":
            ledger.put_off(file_id, "no_permission")
    assert ledger.take(file_id, LOOK, "owner", 0.0, 600.0)
    (folder,) = site.look().folders
    assert (folder.n_seen, folder.n_settled, folder.n_put_off) == (1, 3, 1)


def test_the_last_error_is_the_later_one_of_a_failure_and_a_try_put_off(site):
    site.read(result("failed.png", "failed", processed_at=site.now))
    (folder,) = site.look().folders
    assert folder.last_failure.code == "io_error"
    site.now += timedelta(seconds=1)
    site.ledger.put_off(site.ledger.saw(site.folder_id, "DOE JANE.png", LOOK), "no_permission")
    (folder,) = site.look().folders
    assert (folder.last_failure.code, folder.last_failure.at) == ("no_permission", site.now)
    assert folder.last_failure.name == "DOE JANE.png"


def test_all_well_is_exit_code_0_and_one_line_says_so(site):
    site.read(result("a.png", processed_at=site.now))
    site.ledger.set_view_through(site.csv, site.folder_id, 1)
    site.beat(n_waiting=3)
    with Claim(site.folder, site.path):
        outcome = site.run()
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.splitlines()[0] == (
        f"OK: {site.folder} watched, 3 films wait, 1 done today."
    )
    assert "process 4711 on pc" in outcome.stdout
    assert "tiny 1, abababababab, CPUExecutionProvider, cxr-edge 1.0" in outcome.stdout
    assert "site profile" not in outcome.stdout
    assert "1 positive, 0 negative" in outcome.stdout
    assert "5.0 GB for ledger" in outcome.stdout
    assert "Not for diagnostic use" in outcome.stdout


def test_the_site_profile_that_films_are_judged_by_is_named(site):
    site.beat(profile="Clinic 7 0a1b2c3d")
    assert re.search(r"site profile +Clinic 7 0a1b2c3d\n", site.run().stdout)


def test_a_trouble_is_exit_code_1_and_comes_first(site):
    site.beat(trouble="The folder cannot be listed (Stale file handle).", n_waiting=5)
    with Claim(site.folder, site.path):
        outcome = site.run("--warn-waiting", "4")
    assert outcome.exit_code == 1
    assert outcome.stdout.startswith(
        f"WARNING: {site.folder}: The folder cannot be listed (Stale file handle). (1 more)\n"
    )


TESTS = (
    Check("scores", "pneumonia", 196, 61.2, 0.0007, True),
    Check("distances", "", 196, 0.4, 0.31, False),
    Check("refusals", "", 200, 0.01, 0.2, False),
)
UNLIKE = Comparison("2026-03-02", "tiny 1", 200, 4, 0, 0.01, TESTS)


def test_a_week_that_was_unlike_the_training_data_is_a_warning_with_its_test_and_its_rate(site):
    site.beat(drift=asdict(UNLIKE))
    with Claim(site.folder, site.path):
        outcome = site.run()
        as_json = site.run("--json")
    assert (outcome.exit_code, as_json.exit_code) == (1, 1)
    first, *others = outcome.stdout.splitlines()
    assert first.startswith(
        f"WARNING: {site.folder}: In the week of 2026-03-02 the films (200) did not look like those"
    )
    assert "(likelihood-ratio test against every mix, p = 0.0007)" in first
    assert "one week in 100" in first
    assert any("run cxr-edge calibrate" in line for line in others)
    (folder,) = json.loads(as_json.stdout)["folders"]
    (trouble,) = folder["troubles"]
    assert (trouble["level"], trouble["says"]) == ("warning", summary(UNLIKE))
    assert [one["p"] for one in folder["watchers"][0]["drift"]["tests"]] == [0.0007, 0.31, 0.2]


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (TESTS[1:], "the films (200) looked like those that tiny 1 was measured on"),
        ((replace(TESTS[1], p=None),), "too few to compare"),
        ((), "The model's card has nothing to compare with."),
    ],
)
def test_a_week_without_a_difference_is_said_and_is_no_warning(site, tests, said):
    site.beat(drift=asdict(replace(UNLIKE, tests=tests)))
    with Claim(site.folder, site.path):
        outcome = site.run()
    assert outcome.exit_code == 0
    assert said in outcome.stdout


@pytest.mark.parametrize("drift", [None, {"week": "in words that only a later version knows"}])
def test_what_is_not_known_of_drift_is_not_said(site, drift):
    site.beat(drift=drift)
    with Claim(site.folder, site.path):
        outcome = site.run()
    assert outcome.exit_code == 0
    assert "In the week" not in outcome.stdout


def test_a_disk_that_is_full_is_exit_code_2(site, monkeypatch):
    monkeypatch.setattr(status, "space_of", lambda place: (1, 1000))
    site.beat()
    with Claim(site.folder, site.path):
        outcome = site.run()
    assert outcome.exit_code == 2
    assert outcome.stdout.startswith("CRITICAL: Only 0 MB are free for ledger, CSV")


def test_a_watcher_that_ended_by_itself_is_exit_code_2(site):
    site.beat()
    with Claim(site.folder, site.path):
        pass
    site.ledger.forget_watcher("owner")
    site.ledger.close()
    outcome = site.run("--json")
    assert outcome.exit_code == 2
    (folder,) = json.loads(outcome.stdout)["folders"]
    assert (folder["state"], folder["watchers"]) == ("stopped", [])


def test_a_watcher_that_was_killed_is_exit_code_2_and_its_ledger_can_be_read(site):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from cxr_edge.ledger import Ledger; from cxr_edge.watch.claim import Claim\n"
        "folder, path = map(Path, sys.argv[1:])\n"
        "claim = Claim(folder, path); claim.__enter__()\n"
        "ledger = Ledger(path)\n"
        "ledger.set_fact('a', 'fact')\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    site.beat()
    site.ledger.close()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(site.folder), str(site.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        outcome = site.run()
        assert outcome.exit_code == 0, outcome.output
        process.kill()
    outcome = site.run()
    assert outcome.exit_code == 2
    assert outcome.stdout.startswith(
        f"CRITICAL: {site.folder}: Its watcher, process 4711, was killed or cut off after "
    )


def test_it_neither_waits_for_a_writer_nor_holds_one_up(site):
    site.beat()
    with Claim(site.folder, site.path), site.ledger.transaction():
        site.read(result("a.png", processed_at=site.now))
        outcome = site.run("--json")
    assert outcome.exit_code == 0
    (folder,) = json.loads(outcome.stdout)["folders"]
    assert folder["today"]["positive"] == 0, "not yet recorded"


def test_no_film_is_named_unless_that_is_asked_for(site):
    site.read(result(str(site.folder / "DOE JANE.png"), "failed", processed_at=site.now))
    for arguments in ([], ["--json"]):
        assert "DOE" not in site.run(*arguments).stdout
        assert "DOE JANE.png" in site.run(*arguments, "--names").stdout


def test_a_folder_is_chosen_from_those_of_the_ledger(site, tmp_path):
    other = tmp_path / "other"
    site.ledger.folder_id(other)
    site.beat()
    with Claim(site.folder, site.path):
        assert site.run().exit_code == 2, "nobody watches the other one"
        assert site.run("--folder", str(site.folder)).exit_code == 0
    outcome = site.run("--folder", str(tmp_path / "third"))
    assert outcome.exit_code == 2
    assert outcome.stdout.startswith("CRITICAL: ")
    assert str(other) in outcome.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
def test_a_folder_whose_name_is_not_unicode_is_told_of_as_any_other(site, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff"))
    folder.mkdir()
    site.ledger.beat("other", replace(WATCHER, folder=str(folder), beat_at=site.now.isoformat()))
    with Claim(folder, site.path):
        assert site.run("--folder", str(folder)).exit_code == 0
        outcome = site.run("--folder", str(folder), "--json")
    assert json.loads(outcome.stdout)["folders"][0]["folder"] == str(folder)


def test_what_a_later_version_says_of_itself_besides_is_passed_over(site):
    site.beat()
    with site.ledger.transaction():
        (row,) = site.ledger.all("SELECT facts FROM watchers")
        facts = json.dumps(json.loads(row[0]) | {"mood": "good"})
        site.ledger.run("UPDATE watchers SET facts = ?", facts)
    assert site.look().folders[0].watcher.pid == 4711


@pytest.mark.parametrize("text", [None, b"", b"a,b\n1,2\n"], ids=["none", "empty", "another file"])
def test_a_ledger_that_is_not_there_or_is_none_is_exit_code_2_and_left_alone(tmp_path, text):
    path = tmp_path / "ledger.db"
    if text is not None:
        path.write_bytes(text)
    outcome = CliRunner().invoke(cli, ["status", "--ledger", str(path)])
    assert outcome.exit_code == 2
    assert outcome.stdout.startswith("CRITICAL: ")
    outcome = CliRunner().invoke(cli, ["status", "--ledger", str(path), "--json"])
    assert json.loads(outcome.stdout)["verdict"] == "critical"
    assert (path.read_bytes() if path.exists() else None) == text


def test_the_services_ledger_is_looked_at_where_this_user_has_none(tmp_path, monkeypatch):
    own, of_service = tmp_path / "own.db", tmp_path / "service.db"
    monkeypatch.setattr("cxr_edge.watch.settings.default_ledger_path", lambda: own)
    monkeypatch.setattr("cxr_edge.watch.settings.service_ledger_path", lambda: of_service)
    assert str(own) in CliRunner().invoke(cli, ["status"]).stdout
    Ledger(of_service).close()
    assert str(of_service) in CliRunner().invoke(cli, ["status"]).stdout
    Ledger(own).close()
    assert str(own) in CliRunner().invoke(cli, ["status"]).stdout


def test_no_model_is_loaded(site):
    code = (
        "import sys; from click.testing import CliRunner; from cxr_edge.cli import cli\n"
        "CliRunner().invoke(cli, ['status', '--ledger', sys.argv[1]])\n"
        "print({'numpy', 'onnxruntime', 'pydicom', 'watchdog', 'socket'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(site.path)]
    assert subprocess.check_output(command, text=True).strip() == "set()"
