"""Watch: every radiograph its row, once."""

import csv
import logging
from pathlib import Path

import pytest

from cxr_edge import reading
from cxr_edge.errors import RecordError
from cxr_edge.record import CsvRecord
from cxr_edge.watch import Look, SettleTracker, watch
from tests.conftest import make_film

A, B = Path("a.jpg"), Path("b.jpg")


def test_a_file_is_handed_out_once_it_has_not_changed_for_the_settle_time():
    tracker = SettleTracker(settle_s=2)
    assert tracker.settled({A: Look(10, 1)}, now_s=0) == []
    assert tracker.settled({A: Look(10, 1)}, now_s=1) == []
    assert tracker.settled({A: Look(10, 1)}, now_s=2) == [A]
    tracker.hand_out(A)
    assert tracker.settled({A: Look(10, 1)}, now_s=3) == []


def test_a_slow_writer_is_waited_for_however_long_it_takes():
    tracker = SettleTracker(settle_s=2)
    for second in range(1000):
        assert tracker.settled({A: Look(second, second)}, now_s=second) == []
    tracker.settled({A: Look(1000, 1000)}, now_s=1000)
    assert tracker.settled({A: Look(1000, 1000)}, now_s=1002) == [A]


def test_even_without_settle_time_a_file_is_seen_twice_before_it_is_read():
    tracker = SettleTracker(settle_s=0)
    assert tracker.settled({A: Look(10, 1)}, now_s=0) == []
    assert tracker.settled({A: Look(10, 1)}, now_s=0) == [A]


def test_a_file_that_changes_after_it_was_read_is_read_again():
    tracker = SettleTracker(settle_s=0)
    tracker.settled({A: Look(10, 1)}, now_s=0)
    tracker.hand_out(A)
    assert tracker.settled({A: Look(11, 2)}, now_s=1) == []
    assert tracker.settled({A: Look(11, 2)}, now_s=2) == [A]


def test_a_file_that_went_and_came_back_is_handed_out_again():
    tracker = SettleTracker(settle_s=0)
    tracker.settled({A: Look(10, 1), B: Look(1, 1)}, now_s=0)
    tracker.hand_out(A)
    tracker.settled({B: Look(1, 1)}, now_s=1)
    tracker.settled({A: Look(10, 1), B: Look(1, 1)}, now_s=2)
    assert A in tracker.settled({A: Look(10, 1), B: Look(1, 1)}, now_s=3)


class Rounds:
    """Stands in for time: stops `watch` after n scans, and acts between two of them."""

    def __init__(self, n: int, **actions) -> None:
        self.n, self.round, self.actions = n, 0, actions

    def stopping(self) -> bool:
        return self.round >= self.n

    def wait(self, seconds: float) -> None:
        self.round += 1
        if action := self.actions.get(f"after_{self.round}"):
            action()


def run(folder: Path, model, record: CsvRecord, rounds: Rounds, **options) -> None:
    watch(
        folder,
        model,
        record,
        stopping=rounds.stopping,
        wait=rounds.wait,
        settle_s=0,
        clock=lambda: float(rounds.round),
        **options,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans ü"
    make_film(folder / "1.png", 50)
    make_film(folder / "ward 3" / "2.jpg", 200)
    return folder


@pytest.fixture
def csv_path(tmp_path) -> Path:
    return tmp_path / "results.csv"


def test_films_there_at_the_start_and_films_that_come_later_get_one_row_each(
    scans, csv_path, tiny_model
):
    late = Rounds(6, after_3=lambda: make_film(scans / "3.png", 100))
    run(scans, tiny_model, CsvRecord(csv_path), late)
    found = rows(csv_path)
    assert [Path(row["file"]).name for row in found] == ["1.png", "2.jpg", "3.png"]
    assert [row["status"] for row in found] == ["ok"] * 3
    assert [row["positive"] for row in found] == ["false", "true", "false"]


def test_a_restart_repeats_nothing_and_reads_what_came_meanwhile(scans, csv_path, tiny_model):
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    make_film(scans / "3.png", 100)
    make_film(scans / "1.png", 250)  # replaced by another film of the same name
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    names = [Path(row["file"]).name for row in rows(csv_path)]
    assert sorted(names) == ["1.png", "1.png", "2.jpg", "3.png"]


def test_a_bad_film_is_a_row_once_and_the_next_one_is_read(scans, csv_path, tiny_model):
    (scans / "0.jpg").write_bytes(b"")
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    assert [row["status"] for row in rows(csv_path)] == ["failed", "ok", "ok"]
    assert rows(csv_path)[0]["reason"].startswith("empty: ")


def test_a_film_that_breaks_the_program_is_contained(
    scans, csv_path, tiny_model, monkeypatch, caplog
):
    real = reading.predict_result

    def broken(path, *args):
        if path.name == "1.png":
            raise ZeroDivisionError("a bug")
        return real(path, *args)

    monkeypatch.setattr(reading, "predict_result", broken)
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    assert [row["status"] for row in rows(csv_path)] == ["failed", "ok"]
    assert "internal_error: ZeroDivisionError: a bug" in rows(csv_path)[0]["reason"]
    assert "Traceback" in caplog.text


class LockedUntil(CsvRecord):
    """A CSV that another program holds open until it is released."""

    locked = True

    def append(self, result):
        if self.locked:
            raise RecordError("results.csv cannot be written (Permission denied).")
        super().append(result)

    def release(self):
        self.locked = False


def test_rows_wait_in_order_while_the_csv_is_locked(scans, csv_path, tiny_model, caplog):
    record = LockedUntil(csv_path)
    run(scans, tiny_model, record, Rounds(8, after_5=record.release))
    assert [Path(row["file"]).name for row in rows(csv_path)] == ["1.png", "2.jpg"]
    assert len([r for r in caplog.records if "cannot be written" in r.message]) <= 3


def test_rows_that_never_could_be_written_are_told_at_the_end(scans, csv_path, tiny_model):
    with pytest.raises(RecordError, match="2 rows could not be written"):
        run(scans, tiny_model, LockedUntil(csv_path), Rounds(3))


def test_a_share_that_drops_and_comes_back_is_survived(scans, csv_path, tiny_model, caplog):
    away = scans.with_name("away")
    rounds = Rounds(8, after_3=lambda: scans.rename(away), after_5=lambda: away.rename(scans))
    run(scans, tiny_model, CsvRecord(csv_path), rounds)
    assert len(rows(csv_path)) == 2
    assert "cannot be listed" in caplog.text


def test_stopping_leaves_the_rest_for_the_next_start(scans, csv_path, tiny_model):
    rounds = Rounds(9)

    def stop(result) -> None:
        rounds.round = 9

    run(scans, tiny_model, CsvRecord(csv_path), rounds, on_result=stop)
    assert len(rows(csv_path)) == 1
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    assert [Path(row["file"]).name for row in rows(csv_path)] == ["1.png", "2.jpg"]


def test_hidden_files_links_and_other_files_are_passed_over(scans, csv_path, tiny_model, tmp_path):
    outside = make_film(tmp_path / "outside.png")
    (scans / "link.png").symlink_to(outside)
    make_film(scans / ".4.png")
    (scans / "notes.txt").write_text("ward round at 8")
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    assert len(rows(csv_path)) == 2


def test_a_library_call_logs_and_prints_nothing(scans, csv_path, tiny_model, capsys, caplog):
    caplog.set_level(logging.INFO)
    run(scans, tiny_model, CsvRecord(csv_path), Rounds(3))
    assert capsys.readouterr() == ("", "")
