"""The watch loop: every radiograph its row, once, whatever happens in between."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_edge.errors import LedgerError, RecordError
from cxr_edge.watch.settings import AfterSettings
from tests.conftest import make_film
from tests.made_csv import written_before
from tests.watching import Bench, Clock


@pytest.fixture
def bench(tmp_path, tiny_model) -> Bench:
    bench = Bench(tmp_path, tiny_model)
    make_film(bench.folder / "1.png", 50)
    make_film(bench.folder / "ward 3" / "2.jpg", 200)
    return bench


def failing(code: str):
    return lambda result: replace(
        result, status="failed", reason=f"{code}: made up.", findings=(), sha256=""
    )


def test_films_there_at_the_start_and_films_that_come_later_get_one_row_each(bench):
    bench.rounds()
    make_film(bench.folder / "3.png", 100)
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg", "3.png"]
    assert {row["status"] for row in bench.rows} == {"ok"}
    assert set(bench.states().values()) == {"recorded"}


def test_a_restart_repeats_nothing_and_reads_what_came_meanwhile(bench, tmp_path, tiny_model):
    bench.rounds()
    bench.stop()
    make_film(bench.folder / "3.png", 100)
    make_film(bench.folder / "1.png", 250)  # replaced by another film of the same name
    again = Bench(tmp_path, tiny_model).rounds()
    assert sorted(again.names) == ["1.png", "1.png", "2.jpg", "3.png"]
    assert sorted(path.name for path in again.readers.read) == ["1.png", "3.png"]


def test_a_film_replaced_while_it_is_watched_is_read_again(bench):
    bench.rounds()
    make_film(bench.folder / "1.png", 250)
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "1.png", "2.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there tells when a file was replaced")
def test_a_film_of_the_same_size_and_time_put_in_anothers_place_is_read(bench):
    film = bench.folder / "1.bmp"
    make_film(film, 50)
    status = film.stat()
    bench.rounds()
    make_film(film, 250)
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert film.stat().st_size == status.st_size
    bench.rounds()
    assert bench.names.count("1.bmp") == 2


def test_a_film_that_was_only_touched_has_one_row(bench):
    bench.rounds()
    os.utime(bench.folder / "1.png")
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg"]
    assert set(bench.states().values()) == {"recorded"}


def test_the_same_film_under_two_names_is_recorded_once_and_said_so(bench):
    told = []
    bench.watch.told = replace(bench.watch.told, recorded=lambda result, how: told.append(how))
    (bench.folder / "copy.png").write_bytes((bench.folder / "1.png").read_bytes())
    bench.rounds()
    assert len(bench.rows) == 2
    assert len([how for how in told if how.copy_of]) == 1
    assert set(bench.states().values()) == {"recorded"}


def test_a_name_that_comes_to_bear_a_known_film_says_so_in_its_last_row(bench):
    bench.rounds()
    (bench.folder / "1.png").write_bytes((bench.folder / "ward 3" / "2.jpg").read_bytes())
    bench.rounds()
    last = bench.rows[-1]
    assert (Path(last["file"]).name, last["positive"]) == ("1.png", "true")


def test_a_slow_writer_is_waited_for_and_read_once(bench):
    whole = (bench.folder / "1.png").read_bytes()
    slow = bench.folder / "slow.png"
    for n in range(1, len(whole), 40):
        slow.write_bytes(whole[:n])
        bench.rounds(1)
    assert "slow.png" not in bench.names
    make_film(slow, 77)
    bench.rounds()
    assert bench.names.count("slow.png") == 1
    assert {row["status"] for row in bench.rows} == {"ok"}


def test_a_film_that_stalls_half_way_is_not_called_damaged_before_patience_ends(bench):
    whole = (bench.folder / "1.png").read_bytes()
    slow = bench.folder / "slow.png"
    slow.write_bytes(whole[:100])
    bench.rounds(20)
    assert "slow.png" not in bench.names
    make_film(slow, 77)
    bench.rounds()
    assert [row["status"] for row in bench.rows] == ["ok"] * 3


def test_a_damaged_film_is_a_row_once_patience_has_ended_and_the_others_do_not_wait(bench):
    whole = (bench.folder / "1.png").read_bytes()
    (bench.folder / "damaged.png").write_bytes(whole[:100])
    bench.rounds(5)
    assert len(bench.rows) == 2
    bench.rounds(40)
    assert bench.rows[-1]["reason"].startswith("corrupt: ")
    assert len(bench.rows) == 3
    assert bench.states()["damaged.png"] == "failed"


def test_what_may_heal_is_tried_again_and_gets_one_row(bench):
    film = bench.folder / "1.png"
    bench.readers.becomes[film] = failing("no_permission")
    bench.rounds(20)
    assert bench.names == ["2.jpg"]
    n_tries = bench.readers.read.count(film)
    assert 3 <= n_tries <= 6  # each after twice the time
    del bench.readers.becomes[film]
    bench.rounds(40)
    assert sorted(bench.names) == ["1.png", "2.jpg"]
    (row,) = bench.ledger.all("SELECT count(*), min(code) FROM attempts")
    assert row == (n_tries, "no_permission")


def test_what_does_not_heal_in_time_gets_its_row(tmp_path, tiny_model):
    bench = Bench(tmp_path, tiny_model, retry_for_s=30)
    film = make_film(bench.folder / "1.png")
    bench.readers.becomes[film] = failing("io_error")
    bench.rounds(100)
    assert [row["reason"][:8] for row in bench.rows] == ["io_error"]


def test_a_film_that_changes_while_it_is_read_is_read_as_it_is_in_the_end(bench):
    film = bench.folder / "1.png"

    def overwrite(path) -> None:
        if path == film and bench.clock.now_s < 1005:
            make_film(film, int(bench.clock.now_s) % 200)

    bench.readers.before = overwrite
    bench.rounds(12)
    assert bench.names.count("1.png") == 1


def test_a_file_that_is_gone_before_it_is_read_leaves_no_row(bench):
    film = bench.folder / "1.png"
    bench.readers.before = lambda path: path == film and film.unlink(missing_ok=True)
    bench.rounds()
    assert bench.names == ["2.jpg"]
    assert bench.states()["1.png"] == "gone"
    bench.readers.before = lambda path: None
    make_film(film, 50)
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg"]


def test_a_film_that_went_before_it_was_read_waits_no_longer(bench, tmp_path, tiny_model):
    bench.watch.n_ahead = 0
    bench.rounds()
    assert bench.states()["1.png"] == "seen"
    bench.stop()
    (bench.folder / "1.png").unlink()
    again = Bench(tmp_path, tiny_model).rounds(40)
    assert again.states() == {"1.png": "gone", str(Path("ward 3/2.jpg")): "recorded"}


class Locked:
    """A CSV view whose file another program holds open until it is released."""

    def __init__(self, view) -> None:
        self.view, self.locked, self.n_tries = view, True, 0
        self.kept_aside = ""

    def fill(self, limit=1000):
        self.n_tries += 1
        if self.locked:
            raise RecordError("results.csv cannot be written (Permission denied).")
        return self.view.fill(limit)


def test_rows_wait_in_the_ledger_while_the_csv_is_locked(bench, caplog):
    locked = bench.watch.view = Locked(bench.watch.view)
    bench.rounds(120)
    assert set(bench.states().values()) == {"read"}
    assert "cannot be written" in bench.watch.trouble
    assert len([r for r in caplog.records if "cannot be written" in r.getMessage()]) == 1
    assert locked.n_tries < 15
    locked.locked = False
    bench.rounds(40)
    assert sorted(bench.names) == ["1.png", "2.jpg"]
    assert bench.watch.trouble == ""
    assert set(bench.states().values()) == {"recorded"}


def test_a_csv_of_an_earlier_version_is_kept_and_status_tells_where(bench, tmp_path, tiny_model):
    bench.rounds()
    bench.stop()
    written_before(bench.csv_path)
    before = bench.csv_path.read_bytes()
    again = Bench(tmp_path, tiny_model).rounds()
    assert sorted(again.names) == ["1.png", "2.jpg"]
    aside = again.csv_path.with_name("results.earlier-version.csv")
    assert aside.read_bytes() == before
    (watcher,) = again.ledger.watchers()
    assert "written by an earlier version" in watcher.trouble
    assert str(aside) in watcher.trouble
    # It keeps it from nothing, and is no reason to end with an error.
    assert again.watch.trouble == ""
    again.stop()


def test_a_csv_that_is_deleted_comes_back_with_all_its_rows_though_no_film_comes(bench):
    bench.rounds()
    bench.csv_path.unlink()
    bench.rounds(40)
    assert sorted(bench.names) == ["1.png", "2.jpg"]


def test_rows_that_waited_when_it_was_stopped_are_written_at_the_next_start(
    bench, tmp_path, tiny_model
):
    bench.watch.view = Locked(bench.watch.view)
    bench.rounds()
    bench.stop()
    again = Bench(tmp_path, tiny_model).rounds(1)
    assert sorted(again.names) == ["1.png", "2.jpg"]
    assert again.readers.read == []


@pytest.mark.parametrize("step", ["saw", "take", "record"])
def test_a_ledger_that_cannot_be_written_loses_nothing(bench, monkeypatch, step):
    real = getattr(bench.ledger, step)
    full = True

    def write(*args):
        if full:
            raise LedgerError("The ledger cannot be used (database or disk is full).")
        return real(*args)

    monkeypatch.setattr(bench.ledger, step, write)
    bench.rounds(5)
    assert bench.rows == []
    assert "disk is full" in bench.watch.trouble
    full = False
    bench.rounds(10)
    assert sorted(bench.names) == ["1.png", "2.jpg"]
    assert len(bench.readers.read) == 2
    assert bench.watch.trouble == ""


def test_a_share_that_drops_and_comes_back_is_survived(bench, caplog):
    bench.rounds()
    away = bench.folder.with_name("away")
    bench.folder.rename(away)
    bench.rounds(3)
    assert "cannot be listed" in bench.watch.trouble
    away.rename(bench.folder)
    make_film(bench.folder / "3.png", 100)
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg", "3.png"]
    assert bench.watch.trouble == ""


def test_a_clock_set_back_by_a_day_loses_and_doubles_nothing(bench):
    from datetime import timedelta

    bench.rounds()
    bench.clock.wall_offset = timedelta(days=-1)
    make_film(bench.folder / "3.png", 100)
    os.utime(bench.folder / "3.png", (0, 0))
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg", "3.png"]


def test_stopping_leaves_the_rest_for_the_next_start(bench, tmp_path, tiny_model):
    bench.readers.per_round = 1
    bench.rounds(3)
    bench.stop()
    n_first = len(bench.rows)
    assert n_first < 2
    assert len(Bench(tmp_path, tiny_model).rounds().rows) == 2


def test_newest_first_reads_the_backlog_from_its_end(tmp_path, tiny_model):
    for newest_first in (False, True):
        bench = Bench(tmp_path / str(newest_first), tiny_model, newest_first=newest_first)
        for n in range(20):
            os.utime(make_film(bench.folder / f"{n:02}.png", n * 10), (n, n))
        bench.rounds(12)
        assert bench.names == sorted(bench.names, reverse=newest_first)
        assert len(bench.names) == 20


def test_hidden_files_links_and_other_files_are_passed_over(bench, tmp_path, caplog):
    outside = make_film(tmp_path / "outside.png", 99)
    try:
        (bench.folder / "link.png").symlink_to(outside)
        (bench.folder / "links").symlink_to(tmp_path)
    except OSError:
        pytest.skip("links need rights on Windows")
    make_film(bench.folder / ".4.png", 20)
    (bench.folder / "notes.txt").write_text("ward round at 8")
    bench.rounds()
    assert sorted(bench.names) == ["1.png", "2.jpg"]
    assert caplog.text.count("2 links are not followed.") == 1
    assert bench.watch.trouble == ""


def test_patterns_and_subfolders_choose_what_is_read(tmp_path, tiny_model):
    def names(where: str, **options) -> list[str]:
        bench = Bench(tmp_path / where, tiny_model, **options)
        for n, name in enumerate(("a.png", "B.JPG", "ward/c.png", "ward/old/d.png")):
            make_film(bench.folder / name, 30 * n)
        return sorted(bench.rounds().names)

    assert names("1", include=("*.PNG",)) == ["a.png", "c.png", "d.png"]
    assert names("2", exclude=("ward/*",)) == ["B.JPG", "a.png"]
    assert names("3", subfolders=False) == ["B.JPG", "a.png"]


def test_names_that_are_long_or_not_unicode_are_read_once(bench):
    deep = bench.folder
    for _ in range(3):
        deep = deep / ("x" * 100)
    make_film(deep / "deep.png", 10)
    make_film(bench.folder / "film-\udcff.png", 20)  # the byte 0xff on Linux
    bench.rounds()
    assert len(bench.rows) == 4
    bench.rounds()
    assert len(bench.rows) == 4


@pytest.fixture
def moved_to(tmp_path) -> Path:
    return tmp_path / "done"


@pytest.fixture
def moving(tmp_path, tiny_model, moved_to) -> Bench:
    after = AfterSettings("move", moved_to, tmp_path / "failed")
    return Bench(tmp_path, tiny_model, after=after, patience_s=0)


def test_films_are_moved_with_their_folders_and_failed_ones_with_their_reason(
    moving, moved_to, tmp_path
):
    make_film(moving.folder / "ward 3" / "2.jpg", 200)
    (moving.folder / "bad.jpg").write_bytes(b"\xff\xd8\xffnothing")
    moving.rounds()
    assert (moved_to / "ward 3" / "2.jpg").exists()
    assert (tmp_path / "failed" / "bad.jpg").exists()
    reason = (tmp_path / "failed" / "bad.jpg.reason.txt").read_text()
    assert reason.startswith("failed: corrupt: ")
    assert not any(path.is_file() for path in moving.folder.rglob("*"))
    assert moving.states() == {"bad.jpg": "set_aside", str(Path("ward 3/2.jpg")): "recorded"}


def test_a_film_is_moved_only_when_its_row_is_written(moving, moved_to):
    locked = moving.watch.view = Locked(moving.watch.view)
    film = make_film(moving.folder / "1.png")
    moving.rounds()
    assert film.exists()
    locked.locked = False
    moving.rounds(40)
    assert not film.exists()
    assert (moved_to / "1.png").exists()


def test_a_film_is_moved_when_its_folder_is_back(moving, moved_to):
    locked = moving.watch.view = Locked(moving.watch.view)
    make_film(moving.folder / "1.png")
    moving.rounds()
    away = moving.folder.rename(moving.folder.with_name("away"))
    locked.locked = False
    moving.rounds(40)
    away.rename(moving.folder)
    moving.rounds(40)
    assert (moved_to / "1.png").exists()
    assert moving.states() == {"1.png": "recorded"}


def test_a_moved_film_never_replaces_another_of_its_name(moving, moved_to):
    for brightness in (10, 100, 10):
        make_film(moving.folder / "1.png", brightness)
        moving.rounds()
    assert sorted(path.name for path in moved_to.iterdir()) == ["1 (2).png", "1.png"]


def test_a_watch_that_ended_between_moving_and_saying_so_says_it_later(
    moving, tmp_path, tiny_model, moved_to, monkeypatch
):
    make_film(moving.folder / "1.png")

    def cut(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(moving.ledger, "finish", cut)
    with pytest.raises(KeyboardInterrupt):
        moving.rounds()
    assert (moved_to / "1.png").exists()
    after = AfterSettings("move", moved_to)
    again = Bench(tmp_path, tiny_model, after=after).rounds(2)
    assert again.states() == {"1.png": "recorded"}
    assert len(again.rows) == 1


def test_a_read_only_film_goes_to_another_disk(moving, moved_to, monkeypatch):
    """As films from a CD are."""
    film = make_film(moving.folder / "1.png")
    data = film.read_bytes()
    film.chmod(0o444)
    real = Path.rename

    def rename(self, target):
        if self.parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    moving.rounds()
    assert (moved_to / "1.png").read_bytes() == data
    assert [path.name for path in moved_to.iterdir()] == ["1.png"]
    assert not film.exists()


def test_a_film_that_cannot_be_moved_is_said_and_moved_later(moving, moved_to, monkeypatch):
    make_film(moving.folder / "1.png")
    make_film(moving.folder / "2.png", 99)
    real = Path.rename

    def rename(self, target):
        if self.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr(
            "shutil.copyfile", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no"))
        )
        moving.rounds()
    assert (moved_to / "2.png").exists()
    assert "cannot be put away" in moving.watch.trouble
    moving.rounds(40)
    assert (moved_to / "1.png").exists()
    assert moving.watch.trouble == ""


def test_a_film_replaced_before_it_was_moved_is_not_moved_for_it(moving, moved_to):
    locked = moving.watch.view = Locked(moving.watch.view)
    film = make_film(moving.folder / "1.png", 10)
    moving.rounds()
    make_film(film, 150)
    locked.locked = False
    moving.rounds(60)
    assert len(moving.rows) == 2
    assert (moved_to / "1.png").exists()
    assert not film.exists()


def test_films_that_were_left_are_moved_once_they_are_to_be(tmp_path, tiny_model, moved_to):
    left = Bench(tmp_path, tiny_model)
    make_film(left.folder / "1.png")
    left.rounds()
    left.stop()
    moving = Bench(tmp_path, tiny_model, after=AfterSettings("move", moved_to)).rounds(40)
    assert (moved_to / "1.png").exists()
    assert len(moving.rows) == 1
    assert moving.readers.read == []


def test_films_whose_share_was_unmounted_when_they_were_to_be_moved_are_moved_later(
    moving, moved_to
):
    locked = moving.watch.view = Locked(moving.watch.view)
    make_film(moving.folder / "1.png")
    moving.rounds()
    away = moving.folder.with_name("away")
    moving.folder.rename(away)
    moving.folder.mkdir()  # the mount point
    locked.locked = False
    moving.rounds(60)
    moving.folder.rmdir()
    away.rename(moving.folder)
    moving.rounds(60)
    assert (moved_to / "1.png").exists()
    assert len(moving.rows) == 1


def test_delete_deletes_what_was_read_and_nothing_else(tmp_path, tiny_model):
    bench = Bench(tmp_path, tiny_model, after=AfterSettings("delete"), patience_s=0)
    make_film(bench.folder / "1.png")
    (bench.folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    bench.rounds()
    assert [path.name for path in bench.folder.iterdir()] == ["bad.png"]
    assert len(bench.rows) == 2


def test_two_watchers_that_share_a_folder_read_each_film_once(tmp_path, tiny_model):
    clock = Clock()
    first = Bench(tmp_path, tiny_model, clock, share_work=True)
    second = Bench(tmp_path, tiny_model, clock, share_work=True)
    for bench in (first, second):
        bench.readers.per_round = 1
    for n in range(30):
        make_film(first.folder / f"{n}.png", n * 8)
    for _ in range(40):
        first.watch.step()
        second.watch.step()
        clock.now_s += 1
    assert len(first.rows) == 30
    assert len(first.readers.read) + len(second.readers.read) == 30
    assert first.readers.read
    assert second.readers.read


def test_the_films_of_a_watcher_that_died_are_read_by_the_other_when_its_lease_ends(
    tmp_path, tiny_model
):
    clock = Clock()
    dead = Bench(tmp_path, tiny_model, clock, share_work=True)
    living = Bench(tmp_path, tiny_model, clock, share_work=True)
    dead.readers.per_round = 0
    make_film(dead.folder / "1.png")
    dead.rounds(3)
    living.rounds(3)
    assert living.rows == []
    living.rounds(6, seconds=601)
    assert len(living.rows) == 1


def test_a_folder_of_many_films_is_kept_in_bounded_memory(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr("cxr_edge.watch.scan.MAX_CANDIDATES", 10)
    monkeypatch.setattr("cxr_edge.watch.loop.MAX_CANDIDATES", 10)
    bench = Bench(tmp_path, tiny_model)
    for n in range(60):
        os.utime(make_film(bench.folder / f"{n:02}.png", n * 4), (n, n))
    bench.rounds(2)
    assert len(bench.watch._films) <= 20
    assert bench.watch.n_waiting >= 50
    bench.rounds(60)
    assert bench.names == sorted(bench.names)
    assert len(bench.names) == 60


def test_the_ledger_knows_how_the_watcher_does(bench):
    bench.rounds(12)
    (watcher,) = bench.ledger.watchers()
    assert (watcher.n_waiting, watcher.trouble) == (0, "")
    assert watcher.beat_at > "2026"


def test_old_results_are_forgotten_and_their_films_not_read_again(tmp_path, tiny_model):
    from datetime import timedelta

    from cxr_edge.watch.settings import RetentionSettings

    bench = Bench(tmp_path, tiny_model, retention=RetentionSettings(results_days=30))
    make_film(bench.folder / "1.png")
    make_film(bench.folder / "2.png", 20)
    bench.rounds()
    (bench.folder / "2.png").unlink()
    bench.clock.wall_offset = timedelta(days=40_000)
    bench.clock.now_s += 4000
    bench.rounds()
    assert list(bench.ledger.predictions()) == []
    assert bench.states() == {"1.png": "recorded"}
    assert len(bench.readers.read) == 2


def test_old_heatmaps_are_deleted_and_other_pictures_beside_them_are_not(tmp_path, tiny_model):
    from cxr_edge.watch.settings import HeatmapSettings, RetentionSettings

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("1-0123abcd-pneumonia.png", "new-0123abcd-pneumonia.png", "holiday.png"):
        (pictures / name).write_bytes(b"")
    for name in ("1-0123abcd-pneumonia.png", "holiday.png"):
        os.utime(pictures / name, (0, 0))
    bench = Bench(
        tmp_path,
        tiny_model,
        heatmaps=HeatmapSettings(pictures),
        retention=RetentionSettings(heatmaps_days=30),
    )
    bench.rounds(1)
    assert sorted(path.name for path in pictures.iterdir()) == [
        "holiday.png",
        "new-0123abcd-pneumonia.png",
    ]
