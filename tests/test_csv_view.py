"""RECORD: a CSV that shows the ledger, through locks, kills, edits and full disks."""

import csv
import logging
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cxr_edge.csv_view import CsvView
from cxr_edge.errors import LedgerError, RecordError
from cxr_edge.ledger import Ledger
from cxr_edge.record import COLUMNS, DIALECTS, STANDARD, CsvRecord, to_line
from cxr_edge.result import Finding, Result
from cxr_edge.watch.settle import Look
from tests.made_csv import written_before

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODEL = "b" * 64


def result(name: str, at: datetime = NOON, model_sha256: str = MODEL) -> Result:
    return Result(
        source=Path("/films") / name,
        status="ok",
        reason="",
        findings=(Finding("pneumonia", 0.876543, 0.5),),
        model="tiny 1",
        model_sha256=model_sha256,
        provider="CPUExecutionProvider",
        duration_ms=12.34,
        processed_at=at,
        sha256=name.encode().hex().ljust(64, "0")[:64],
    )


class Site:
    """A folder with films, its ledger and its CSV."""

    def __init__(self, folder: Path) -> None:
        self.csv = folder / "results" / "results.csv"
        self.csv.parent.mkdir(exist_ok=True)
        self.films = folder / "films"
        self.ledger = Ledger(folder / "ledger.db")
        self.n_films = 0

    def film(self, name: str = "", at: datetime = NOON, films: Path | None = None) -> Result:
        """Record a film as the watch loop does."""
        self.n_films += 1
        made = result(name or f"{self.n_films}.jpg", at)
        look = Look(self.n_films, self.n_films)
        folder_id = self.ledger.folder_id(films or self.films)
        self.ledger.record(self.ledger.saw(folder_id, made.source.name, look), look, made)
        return made

    def again(self, at: datetime, model_sha256: str = MODEL) -> None:
        """Record what a model says of the last film that was recorded."""
        *_, last = self.ledger.predictions(self.films)
        name = last.result.source.name
        self.ledger.record_again(last, result(name, at, model_sha256))

    def view(self, films: Path | None = None, **options) -> CsvView:
        return CsvView(self.csv, films or self.films, self.ledger, **options)

    def fill(self, **options) -> int:
        """As a process that has just been started does."""
        return self.view(**options).fill()

    def names(self, path: Path | None = None, delimiter: str = ",") -> list[str]:
        with (path or self.csv).open(newline="", encoding="utf-8-sig") as file:
            return [Path(row["file"]).name for row in csv.DictReader(file, delimiter=delimiter)]

    @property
    def through(self) -> int:
        return self.ledger.view_through(self.csv, self.ledger.folder_id(self.films))

    @contextmanager
    def killed_before_the_commit(self, monkeypatch):
        """The CSV is written, and the ledger never gets to say so."""

        class Killed(BaseException):
            pass

        def dies(*_):
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Ledger, "set_view_through", dies)
            yield


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.ledger.close()


def test_rows_come_in_the_order_of_the_ledger_and_once(site):
    site.fill()
    assert site.csv.read_bytes() == STANDARD.header
    films = [site.film(), site.film()]
    view = site.view()
    assert view.fill() == 2
    assert view.fill() == site.fill() == 0
    films.append(site.film())
    assert view.fill() == 1
    lines = [to_line(film, STANDARD) for film in films]
    assert site.csv.read_bytes() == STANDARD.header + b"".join(lines)


def test_of_a_csv_that_is_in_order_only_the_first_line_is_read(site, monkeypatch):
    """Once by each process: an earlier version may have written it."""
    view = site.view()
    view.fill()
    modes = []
    opened = Path.open

    def spy(self, mode="r", *more, **options):
        modes.append(mode)
        return opened(self, mode, *more, **options)

    def reads(*_):
        raise AssertionError("its rows are read")

    monkeypatch.setattr(Path, "open", spy)
    monkeypatch.setattr("cxr_edge.csv_view.records", reads)
    for _ in range(3):
        site.film()
        view.fill()
        site.fill()  # as a process that has just started
    assert modes.count("rb") == 4
    assert [mode for mode in modes if mode != "rb"] == ["ab"] * 3


def test_many_rows_come_in_parts(site):
    for _ in range(25):
        site.film()
    view = site.view()
    assert [view.fill(10), view.fill(10), view.fill(10), view.fill(10)] == [10, 10, 5, 0]
    assert len(site.names()) == 25


def test_a_second_csv_gets_all_rows_too(site):
    site.film()
    site.fill()
    site.csv = site.csv.with_name("other.csv")
    assert site.fill() == 1
    assert site.names() == ["1.jpg"]


def test_two_folders_may_share_a_csv_also_when_it_is_begun_anew(site, tmp_path):
    ward = tmp_path / "ward"
    first, second = site.view(), site.view(ward)
    site.film("a.jpg")
    first.fill()
    site.film("b.jpg", films=ward)
    second.fill()
    assert site.names() == ["a.jpg", "b.jpg"]
    site.csv.unlink()
    first.fill()
    second.fill()
    assert site.names() == ["a.jpg", "b.jpg"]


# Deleted, locked, full


def test_a_deleted_csv_is_begun_anew_with_all_its_rows_and_a_warning(site, caplog):
    view = site.view()
    site.film()
    view.fill()
    site.csv.unlink()
    assert view.fill() == 1
    assert site.names() == ["1.jpg"]
    assert "begun anew" in caplog.text
    site.csv.write_bytes(b"")
    site.film()
    view.fill()
    assert site.names() == ["1.jpg", "2.jpg"]


def test_a_kill_while_it_is_begun_anew_neither_loses_nor_doubles(site, monkeypatch):
    for _ in range(5):
        site.film()
    site.fill()
    site.csv.unlink()
    view = site.view()
    view.fill(2)
    names = site.names()
    assert len(names) == 2
    append = Ledger.set_view_through
    n_calls = []

    def dies(self, *more):
        n_calls.append(1)
        if len(n_calls) == 2:
            raise KeyboardInterrupt
        append(self, *more)

    site.csv.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "set_view_through", dies)
        site.view().fill(3)
    assert len(site.names()) == 3
    while site.view().fill(3):
        pass
    assert site.names() == [f"{n}.jpg" for n in range(1, 6)]


def test_a_locked_csv_gets_its_rows_later(site, monkeypatch):
    view = site.view()
    view.fill()
    site.film()

    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)
        for _ in range(3):
            with pytest.raises(RecordError, match="Close it in other programs"):
                view.fill()
            site.film()
    assert site.through == 0
    assert view.fill() == 4
    assert site.names() == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]


def test_a_read_only_csv_gets_its_rows_later(site):
    site.fill()
    site.film()
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+i", site.csv], capture_output=True).returncode:
        site.csv.chmod(0o400)
    try:
        if os.access(site.csv, os.W_OK) and _is_writable(site.csv):
            pytest.skip("nothing is read-only to this user on this disk")
        with pytest.raises(RecordError, match="check permission"):
            site.fill()
    finally:
        if chattr:
            subprocess.run([chattr, "-i", site.csv], capture_output=True)
        site.csv.chmod(0o600)
    assert site.fill() == 1
    assert site.names() == ["1.jpg"]


def _is_writable(path: Path) -> bool:
    try:
        path.open("ab").close()
    except OSError:
        return False
    return True


def test_a_lost_folder_gets_its_rows_when_it_is_back(site):
    site.fill()
    away = site.csv.parent.with_name("away")
    site.csv.parent.rename(away)
    site.film()
    with pytest.raises(RecordError, match="There is no folder"):
        site.fill()
    away.rename(site.csv.parent)
    assert site.fill() == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KB at tmp_path/results."""
    place = tmp_path / "results"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_full_disk_leaves_whole_rows_and_gets_the_rest_when_there_is_room(small_disk, tmp_path):
    site = Site(tmp_path)
    (small_disk / "ballast").write_bytes(bytes(50_000))
    for _ in range(100):
        site.film()
    with pytest.raises(RecordError, match="No space left"):
        while site.fill() == 1000:
            pass
    assert site.through == 0
    assert site.csv.stat().st_size in (0, len(STANDARD.header))
    view = site.view()
    for _ in range(2):
        with pytest.raises(RecordError, match="No space left"):
            view.fill()
    (small_disk / "ballast").unlink()
    view.fill()
    assert site.names() == [f"{n}.jpg" for n in range(1, 101)]
    site.ledger.close()


def test_rows_do_not_go_below_a_share_that_is_away(small_disk, tmp_path):
    """Where it was, its empty folder shows through."""
    site = Site(tmp_path)
    site.film()
    site.fill()
    saved = site.csv.read_bytes()
    subprocess.run(["umount", str(small_disk)], check=True)
    view = site.view()
    view.check()  # a watcher may start before its share is there
    for _ in range(2):
        with pytest.raises(RecordError, match=r"disk or share .* is not there"):
            view.fill()
        site.film()
    assert not site.csv.exists()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small_disk)]
    subprocess.run(mount, check=True)
    site.csv.write_bytes(saved)
    view.fill()
    assert site.names() == ["1.jpg", "2.jpg", "3.jpg"]
    site.ledger.close()


# Killed, or the power cut


def test_rows_written_before_a_kill_are_not_written_twice(site, monkeypatch):
    site.fill()
    site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    assert site.names() == ["1.jpg"]
    site.film()
    site.fill()
    assert site.names() == ["1.jpg", "2.jpg"]


def test_a_kill_leaves_the_ledger_and_a_csv_with_rows_that_it_does_not_know_of(site, tmp_path):
    """What lies on the disk between the append and the commit, with another process's ledger."""
    site.film()
    site.fill()
    site.film()
    site.film()
    (tmp_path / "copy").mkdir()
    before = tmp_path / "copy" / "ledger.db"
    for file in tmp_path.glob("ledger.db*"):
        shutil.copy(file, before.parent / file.name)
    site.fill()
    site.ledger.close()
    with Ledger(before) as ledger:
        assert ledger.view_through(site.csv, 1) == 1
        assert CsvView(site.csv, site.films, ledger).fill() == 2
    assert site.names() == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize("n_lost", [1, 2, 30, 200])
def test_a_half_written_row_is_written_anew(site, monkeypatch, n_lost):
    site.film()
    site.fill()
    site.film("line\nbreak.jpg")
    site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    whole = site.csv.read_bytes()
    site.csv.write_bytes(whole[:-n_lost])
    site.fill()
    assert site.csv.read_bytes() == whole


@pytest.mark.parametrize("n_lost", [1, 70, 300, 500])
def test_zeros_that_a_power_cut_left_are_no_row(site, monkeypatch, n_lost):
    """The file had its new size on the disk, and not yet its new bytes."""
    site.film()
    site.fill()
    for _ in range(3):
        site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    whole = site.csv.read_bytes()
    site.csv.write_bytes(whole[:-n_lost] + bytes(n_lost + 4096))
    site.fill()
    assert site.csv.read_bytes() == whole


def test_a_csv_of_zeros_alone_is_begun_anew(site):
    site.csv.write_bytes(bytes(len(STANDARD.header)))
    site.film()
    site.view().check()
    site.fill()
    assert site.names() == ["1.jpg"]


def test_zeros_in_somebody_elses_file_are_theirs(site):
    site.csv.write_bytes(b"notes" + bytes(100))
    with pytest.raises(RecordError, match="not a result file"):
        site.view().check()
    assert site.csv.read_bytes() == b"notes" + bytes(100)


def test_any_cut_through_the_first_rows_heals(site, monkeypatch):
    site.film("ü\nline.jpg")
    site.film("=2, and more.jpg")
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    whole = site.csv.read_bytes()
    for n_bytes in range(0, len(whole), 7):
        site.csv.write_bytes(whole[:n_bytes])
        with site.killed_before_the_commit(monkeypatch):
            site.fill()
        assert site.csv.read_bytes() == whole


def test_the_half_row_of_another_folder_is_its_own(site, tmp_path, monkeypatch):
    """The CSV is shared; the process that wrote into it was killed."""
    ward = tmp_path / "ward"
    first, second = site.view(), site.view(ward)
    first.fill()
    second.fill()
    site.film("a.jpg", films=ward)
    with site.killed_before_the_commit(monkeypatch):
        second.fill()
    site.csv.write_bytes(site.csv.read_bytes()[:-20])
    site.film("b.jpg")
    first.fill()
    second.fill()
    assert sorted(site.names()) == ["a.jpg", "b.jpg"]


def test_where_taking_back_fails_too_the_next_time_heals(site, monkeypatch):
    """The share goes away in the middle of a row."""
    site.fill()
    site.film()
    site.film()
    row = to_line(result("1.jpg"), STANDARD)
    monkeypatch.setattr("cxr_edge.csv_view.append_to", _torn_append)
    with pytest.raises(RecordError):
        site.fill()
    monkeypatch.undo()
    assert site.csv.read_bytes() == STANDARD.header + row[:100]
    site.fill()
    assert site.names() == ["1.jpg", "2.jpg"]


def _torn_append(path, rows, dialect, durable=False):
    with path.open("ab") as file:
        file.write(rows[:100])
    raise RecordError("The share is gone.")


def test_a_ledger_that_fails_leaves_nothing_double(site, monkeypatch):
    site.fill()
    site.film()

    def full(*_):
        raise LedgerError("database or disk is full")

    with monkeypatch.context() as patch, pytest.raises(LedgerError):
        patch.setattr(Ledger, "set_csv_size", full)
        site.fill()
    site.fill()
    assert site.names() == ["1.jpg"]


# Edited by a person


def test_what_a_person_changed_stays_and_new_rows_follow(site):
    site.film()
    site.film()
    site.film()
    site.fill()
    header, one, _, three = site.csv.read_bytes().splitlines(keepends=True)
    edited = header + three + b"a note, by hand\n" + one.replace(b"true", b"false")
    site.csv.write_bytes(edited)
    site.film()
    site.fill()
    assert site.csv.read_bytes() == edited + to_line(result("4.jpg"), STANDARD)


@pytest.mark.parametrize("note", ["a note", 'a "note', "/films/9.jp"])
def test_a_note_without_a_line_break_stays_a_line_of_its_own(site, note):
    site.film()
    site.fill()
    edited = site.csv.read_bytes() + note.encode()
    site.csv.write_bytes(edited)
    site.film()
    site.fill()
    assert site.csv.read_bytes() == edited + b"\n" + to_line(result("2.jpg"), STANDARD)


def test_a_quotation_mark_set_by_hand_doubles_nothing(site, monkeypatch):
    for _ in range(4):
        site.film()
    site.fill()
    site.film()
    site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    before = str(Path("/films/3")).encode()
    site.csv.write_bytes(site.csv.read_bytes().replace(before, b'"' + before)[:-9])
    site.fill()
    text = site.csv.read_text()
    assert [text.count(f"{Path('/films') / f'{n}.jpg'},") for n in range(1, 7)] == [1] * 6


@pytest.mark.parametrize(
    "other",
    [
        b"name,ward\nA,3\n",
        b"\xff\xfef\x00i\x00l\x00e\x00",
        b"PK\x03\x04",
        ",".join(COLUMNS[:-1]).encode() + b"\n",
    ],
)
def test_another_file_is_left_untouched_and_named_until_it_is_moved(site, other):
    site.film()
    site.fill()
    site.csv.write_bytes(other)
    site.film()
    view = site.view()
    with pytest.raises(RecordError, match="its first line is"):
        view.check()
    for _ in range(2):
        with pytest.raises(RecordError, match="move this one away"):
            view.fill()
    assert site.csv.read_bytes() == other
    site.csv.rename(site.csv.with_name("theirs.csv"))
    assert view.fill() == 2
    assert site.names() == ["1.jpg", "2.jpg"]


def test_a_csv_saved_by_excel_in_another_dialect_is_named(site):
    site.film()
    site.fill()
    saved = site.csv.read_text().replace(",", ";")
    site.csv.write_text(saved, encoding="utf-8-sig")
    site.film()
    with pytest.raises(RecordError, match="written with --csv-dialect excel-semicolon"):
        site.fill()


@pytest.mark.parametrize("dialect", ["standard", "excel"])
def test_a_byte_order_mark_that_comes_or_goes_is_no_matter(site, dialect):
    site.film()
    site.fill(dialect=DIALECTS[dialect])
    text = site.csv.read_text(encoding="utf-8-sig")
    site.csv.write_text(text, encoding="utf-8" if dialect == "excel" else "utf-8-sig")
    site.film()
    site.fill(dialect=DIALECTS[dialect])
    assert site.names() == ["1.jpg", "2.jpg"]


def test_rows_are_known_after_a_spreadsheet_rewrote_their_times(site, monkeypatch):
    """It was saved between a kill and the next start."""
    site.film()
    site.fill()
    site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    text = site.csv.read_text().replace("2026-11-21T12:00:00+00:00", "21/11/2026 12:00")
    site.csv.write_text(text, newline="\r\n")
    site.again(NOON + timedelta(hours=1))
    site.fill()
    assert site.names() == ["1.jpg", "2.jpg", "2.jpg"]


def test_the_rows_of_an_earlier_version_are_not_doubled(site):
    """It kept no ledger, so that all films are read again when this version first starts."""
    record = CsvRecord(site.csv)
    for n in range(1, 31):
        record.append(result(f"{n}.jpg", NOON - timedelta(days=9)))
    before = site.csv.read_bytes()
    for _ in range(32):
        site.film()
    assert site.view().fill(7) == 7
    view = site.view()  # stopped and started in between
    while view.fill(7) == 7:
        pass
    lines = [to_line(result(f"{n}.jpg"), STANDARD) for n in (31, 32)]
    assert site.csv.read_bytes() == before + b"".join(lines)


def test_another_model_and_a_reading_again_are_rows_of_their_own(site, monkeypatch):
    site.film()
    site.fill()
    site.again(NOON + timedelta(seconds=1))
    site.again(NOON, model_sha256="c" * 64)
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    site.fill()
    assert site.names() == ["1.jpg"] * 3


# Rotated


TOKYO = timezone(timedelta(hours=9))


def test_rows_go_to_the_day_on_which_they_were_read_there(site):
    view = site.view(rotate="day", timezone=TOKYO)
    site.film(at=datetime(2026, 11, 21, 14, 59, tzinfo=UTC))
    site.film(at=datetime(2026, 11, 21, 15, 0, tzinfo=UTC))
    assert view.fill() == 2
    assert not site.csv.exists()
    assert site.names(site.csv.with_name("results-2026-11-21.csv")) == ["1.jpg"]
    assert site.names(site.csv.with_name("results-2026-11-22.csv")) == ["2.jpg"]


def test_a_deleted_month_is_begun_anew_and_the_others_stay(site):
    october, november = (site.csv.with_name(f"results-2026-{n}.csv") for n in (10, 11))
    for day in (NOON - timedelta(days=40), NOON, NOON + timedelta(days=1)):
        site.film(at=day)
    view = site.view(rotate="month", timezone=UTC)
    view.fill()
    assert (site.names(october), site.names(november)) == (["1.jpg"], ["2.jpg", "3.jpg"])
    november.unlink()
    october.unlink()  # nothing more goes there: it is a person's to delete
    site.film()
    view.fill()
    assert site.names(november) == ["2.jpg", "3.jpg", "4.jpg"]
    november.unlink()
    site.fill(rotate="month", timezone=UTC)
    assert site.names(november) == ["2.jpg", "3.jpg", "4.jpg"]
    assert not october.exists()


def test_readings_that_end_in_another_order_around_midnight_stay_single(site):
    first, second = (site.csv.with_name(f"results-2026-11-{n}.csv") for n in (21, 22))
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    for seconds in (-20, 1, -10, 2):
        site.film(at=midnight + timedelta(seconds=seconds))
    view = site.view(rotate="day", timezone=UTC)
    view.fill()
    second.unlink()
    view.fill()
    assert (site.names(first), site.names(second)) == (["1.jpg", "3.jpg"], ["2.jpg", "4.jpg"])


def test_another_rotation_puts_all_rows_into_its_own_files(site):
    site.film()
    site.fill()
    november = site.csv.with_name("results-2026-11.csv")
    site.fill(rotate="month", timezone=UTC)
    assert site.names(november) == ["1.jpg"]
    site.film()
    site.fill(rotate="month", timezone=UTC)
    site.fill()
    site.fill(rotate="month", timezone=UTC)
    assert site.names() == site.names(november) == ["1.jpg", "2.jpg"]


# Of an earlier version


@pytest.mark.parametrize("dialect", list(DIALECTS.values()), ids=list(DIALECTS))
def test_the_csv_of_an_earlier_version_is_kept_aside_and_begun_anew(site, caplog, dialect):
    site.film()
    site.film()
    site.fill(dialect=dialect)
    written_before(site.csv, dialect)
    before = site.csv.read_bytes()
    site.film()
    view = site.view(dialect=dialect)
    view.check()
    assert site.csv.read_bytes() == before
    assert view.fill() == 3
    aside = site.csv.with_name("results.earlier-version.csv")
    assert aside.read_bytes() == before
    lines = [to_line(result(f"{n}.jpg"), dialect) for n in (1, 2, 3)]
    assert site.csv.read_bytes() == dialect.header + b"".join(lines)
    assert f"it is kept as {aside}" in view.kept_aside
    assert [one.getMessage() for one in caplog.records] == [view.kept_aside]
    # Once.
    site.film()
    later = site.view(dialect=dialect)
    assert later.fill() == 1
    assert later.kept_aside == ""
    assert set(site.csv.parent.iterdir()) == {site.csv, aside}


def test_a_csv_of_an_earlier_version_that_excel_has_saved_is_known_too(site):
    site.film()
    site.fill()
    written_before(site.csv)
    header, *rows = site.csv.read_text().splitlines()
    quoted = ";".join(f'"{name}"' for name in header.split(","))
    site.csv.write_text("\r\n".join([quoted, *rows]), encoding="utf-8-sig")
    assert site.fill() == 1
    assert site.names() == ["1.jpg"]


def test_what_was_kept_aside_before_is_never_written_over(site):
    for n in range(3):
        site.film()
        site.fill()
        written_before(site.csv)
        site.csv.write_bytes(site.csv.read_bytes() + b"note %d\n" % n)
    site.fill()
    names = ("earlier-version", "earlier-version-2", "earlier-version-3")
    kept = [site.csv.with_name(f"results.{name}.csv").read_bytes() for name in names]
    assert [text.splitlines()[-1] for text in kept] == [b"note 0", b"note 1", b"note 2"]
    assert site.names() == ["1.jpg", "2.jpg", "3.jpg"]


def test_of_rotated_files_the_one_that_rows_go_to_is_begun_anew(site):
    october, november = (site.csv.with_name(f"results-2026-{n}.csv") for n in (10, 11))
    for day in (NOON - timedelta(days=40), NOON):
        site.film(at=day)
    options = {"rotate": "month", "timezone": UTC}
    site.fill(**options)
    for file in (october, november):
        written_before(file)
    before = october.read_bytes(), november.read_bytes()
    site.film(at=NOON + timedelta(days=1))
    site.view(**options).check()
    site.fill(**options)
    assert site.names(november) == ["2.jpg", "3.jpg"]
    assert site.csv.with_name("results-2026-11.earlier-version.csv").read_bytes() == before[1]
    assert october.read_bytes() == before[0]
    # A film that was read last month, and whose row comes only now.
    site.film(at=NOON - timedelta(days=39))
    site.fill(**options)
    assert site.names(october) == ["1.jpg", "4.jpg"]
    assert site.csv.with_name("results-2026-10.earlier-version.csv").read_bytes() == before[0]
    assert site.names(november) == ["2.jpg", "3.jpg"]


def test_where_nothing_can_be_renamed_the_rows_wait(site, monkeypatch):
    site.film()
    site.fill()
    written_before(site.csv)
    before = site.csv.read_bytes()
    site.film()
    view = site.view()

    def read_only(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", read_only)
        view.check()
        for _ in range(2):
            with pytest.raises(RecordError, match="check permission"):
                view.fill()
    assert site.csv.read_bytes() == before
    assert (site.through, view.kept_aside) == (1, "")
    assert view.fill() == 2
    assert site.names() == ["1.jpg", "2.jpg"]


def test_a_kill_between_the_new_name_and_the_first_row_loses_nothing(site, monkeypatch):
    site.film()
    site.fill()
    written_before(site.csv)
    site.film()
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    assert not site.csv.exists()
    site.fill()
    assert site.names() == ["1.jpg", "2.jpg"]
    assert site.csv.with_name("results.earlier-version.csv").exists()


def test_one_of_which_the_ledger_knows_nothing_is_left_untouched(site):
    """Its rows may be nowhere else."""
    record = CsvRecord(site.csv)
    record.append(result("theirs.jpg"))
    written_before(site.csv)
    before = site.csv.read_bytes()
    site.film()
    for ask in (site.view().check, site.view().fill):
        with pytest.raises(RecordError, match="by an earlier version") as info:
            ask()
        assert "move this one away" in info.value.next_step
    assert site.csv.read_bytes() == before


def test_two_folders_that_share_it_both_get_all_their_rows(site, tmp_path):
    ward = tmp_path / "ward"
    site.film("a.jpg")
    site.film("b.jpg", films=ward)
    for films in (None, ward):
        site.view(films).fill()
    written_before(site.csv)
    first, second = site.view(), site.view(ward)
    assert (first.fill(), second.fill()) == (1, 1)
    assert site.names() == ["a.jpg", "b.jpg"]
    assert second.kept_aside == ""


# Asked at the start


def test_a_csv_in_no_folder_is_said_at_the_start(site):
    site.csv = site.csv.parent / "none" / "r.csv"
    with pytest.raises(RecordError, match="There is no folder"):
        site.view().check()


def test_a_csv_that_was_written_to_before_may_be_away_at_the_start(site, monkeypatch):
    site.film()
    site.fill()
    shutil.rmtree(site.csv.parent)
    site.view().check()


def test_a_disk_that_takes_nothing_is_said_at_the_start(site):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    site.csv = Path("/dev/full")
    with pytest.raises(RecordError, match="No space left"):
        site.view().check()


def test_no_name_of_a_film_is_logged(site, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    site.film("Muster Erika.jpg")
    with site.killed_before_the_commit(monkeypatch):
        site.fill()
    site.csv.write_bytes(site.csv.read_bytes()[:-20])
    site.fill()
    site.csv.unlink()
    site.fill()
    assert "half-written" in caplog.text and "begun anew" in caplog.text
    assert "Erika" not in caplog.text


def test_of_two_watchers_that_start_at_once_one_writes_the_header(tmp_path):
    """Each would find no file, and both would begin one."""
    path, films = tmp_path / "results.csv", tmp_path / "films"

    def check() -> None:
        with Ledger(tmp_path / "ledger.db") as ledger:
            CsvView(path, films, ledger, STANDARD).check()

    with Ledger(tmp_path / "ledger.db") as ledger:
        CsvView(path, films, ledger, STANDARD)
        other = threading.Thread(target=check)
        with ledger.transaction():
            other.start()
            other.join(0.5)
            assert not path.exists()
        other.join(20)
    assert path.read_bytes() == STANDARD.header
