"""The ledger: what is said to be recorded is on the disk, once."""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from cxr_edge.errors import LedgerError
from cxr_edge.ledger import Ledger, database, schema
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.watch.settle import Look

FOLDER = Path("/films ü")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LOOK = Look(10, 20, 30)


def result(source: str = "a.jpg", sha256: str = "a" * 64, **changes) -> Result:
    values = {
        "source": FOLDER / source,
        "status": "ok",
        "reason": "",
        "findings": (Finding("pneumonia", 0.75, 0.5), Finding("no finding", 0.25, None)),
        "model": "tiny 1",
        "model_sha256": "b" * 64,
        "provider": "CPUExecutionProvider",
        "duration_ms": 12.5,
        "processed_at": NOW,
        "sha256": sha256,
    }
    return Result(**(values | changes))


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    with Ledger(tmp_path / "state" / "ledger.db", now=lambda: NOW) as ledger:
        yield ledger


def seen(ledger: Ledger, name: str = "a.jpg", look: Look = LOOK) -> int:
    return ledger.saw(ledger.folder_id(FOLDER), name, look)


def state(ledger: Ledger, name: str = "a.jpg") -> str:
    return ledger.file(ledger.folder_id(FOLDER), name).state


@pytest.mark.parametrize("name", ["a b", "ü 100%", "#1", "what%3f", "a&mode=ro"])
def test_a_folder_of_any_name_takes_a_ledger(tmp_path, name):
    path = tmp_path / name / "ledger.db"
    with Ledger(path) as made:
        seen(made)
    assert path.exists()
    with Ledger(path, read_only=True) as again:
        assert again.folders()


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (PureWindowsPath(r"C:\Röntgen 1\l.db"), "file:///C%3A/R%C3%B6ntgen%201/l.db"),
        # Two slashes more, as in file:////server: an empty authority.
        (PureWindowsPath(r"\\server\share\l.db"), "file:////server/share/l.db"),
        (PurePosixPath("/var/lib/l#.db"), "file:///var/lib/l%23.db"),
    ],
)
def test_sqlite_is_told_of_no_server(path, uri):
    """https://www.sqlite.org/uri.html: any authority but an empty one and localhost is an error."""
    assert database._uri(path) == uri


def test_a_result_comes_back_as_it_was_recorded(ledger):
    identifiers = Identifiers("patient-1", "study-1", "instance-1")
    ledger.record(seen(ledger), LOOK, result(), identifiers)
    (said,) = ledger.predictions()
    assert said.result == result()
    assert said.identifiers == identifiers
    assert said.folder == FOLDER


def test_a_file_goes_from_seen_to_recorded(ledger):
    file_id = seen(ledger)
    assert state(ledger) == "seen"
    assert ledger.take(file_id, LOOK, "me", 100.0, 60.0)
    assert state(ledger) == "settled"
    said = ledger.record(file_id, LOOK, result())
    assert state(ledger) == "read"
    (film,) = ledger.unfinished(ledger.folder_id(FOLDER), 0, said.prediction_id)
    assert (film.name, film.status) == ("a.jpg", "ok")
    ledger.finish(file_id, "ok", None, False)
    assert state(ledger) == "recorded"
    assert ledger.unfinished(ledger.folder_id(FOLDER), 0, 99) == []


@pytest.mark.parametrize(("status", "code"), [("refused", "colour"), ("failed", "corrupt")])
def test_what_could_not_be_judged_ends_in_a_state_of_that_name(ledger, status, code):
    file_id = seen(ledger)
    ledger.record(file_id, LOOK, result(status=status, reason=f"{code}: x", findings=()))
    assert ledger.finish_in_place(ledger.folder_id(FOLDER), 99, ["ok", status]) == 1
    assert state(ledger) == status


def test_the_same_film_by_the_same_model_is_recorded_once(ledger):
    first = ledger.record(seen(ledger), LOOK, result())
    copy = ledger.record(seen(ledger, "b.jpg"), LOOK, result("b.jpg"))
    assert copy.copy_of == FOLDER / "a.jpg"
    assert copy.prediction_id == first.prediction_id
    touched = ledger.record(seen(ledger, look=Look(10, 99)), Look(10, 99), result())
    assert touched.repeated
    assert len(list(ledger.predictions())) == 1


def test_another_model_or_a_film_in_anothers_place_is_recorded_anew(ledger):
    ledger.record(seen(ledger), LOOK, result())
    ledger.record(seen(ledger, "b.jpg"), LOOK, result("b.jpg", "c" * 64))
    other = ledger.record(seen(ledger, "c.jpg"), LOOK, result("c.jpg", model_sha256="d" * 64))
    assert other.copy_of is None
    replaced = ledger.record(seen(ledger, "b.jpg"), Look(10, 21), result("b.jpg"))
    assert replaced.copy_of is None
    assert len(list(ledger.predictions())) == 4


def test_the_same_film_in_another_folder_is_recorded_there_too(ledger):
    ledger.record(seen(ledger), LOOK, result())
    elsewhere = ledger.saw(ledger.folder_id(Path("/elsewhere")), "a.jpg", LOOK)
    assert ledger.record(elsewhere, LOOK, result()).copy_of is None


def test_a_failure_that_may_heal_does_not_stand_for_the_film(ledger):
    lacking = {"status": "failed", "reason": "out_of_memory: x", "findings": ()}
    ledger.record(seen(ledger), LOOK, result(**lacking))
    assert ledger.record(seen(ledger, "b.jpg"), LOOK, result("b.jpg")).copy_of is None


def test_a_name_that_is_not_unicode_comes_back(ledger):
    name = "film-\udcff.jpg"
    ledger.record(seen(ledger, name), LOOK, result(name))
    assert ledger.file(ledger.folder_id(FOLDER), name).state == "read"
    assert next(ledger.predictions()).result.source == FOLDER / name


def test_a_film_is_taken_by_one_watcher_until_its_lease_ends(ledger):
    file_id = seen(ledger)
    assert ledger.take(file_id, LOOK, "first", 100.0, 60.0)
    assert not ledger.take(file_id, LOOK, "second", 159.0, 60.0)
    assert ledger.take(file_id, LOOK, "second", 160.0, 60.0)


def test_a_lease_of_before_the_machine_was_started_anew_has_ended(ledger):
    file_id = seen(ledger)
    assert ledger.take(file_id, LOOK, "first", 900_000.0, 60.0)
    assert ledger.take(file_id, LOOK, "second", 5.0, 60.0)


def test_what_was_read_is_not_taken_again_unless_it_changes(ledger):
    file_id = seen(ledger)
    ledger.record(file_id, LOOK, result())
    assert not ledger.take(file_id, LOOK, "me", 0.0, 60.0)
    assert ledger.take(file_id, Look(11, 20, 30), "me", 0.0, 60.0)


def test_predictions_are_chosen_by_time_model_and_status(ledger):
    for n in range(4):
        ledger.record(
            seen(ledger, f"{n}.jpg"),
            LOOK,
            result(
                f"{n}.jpg",
                str(n) * 64,
                processed_at=NOW + timedelta(days=n),
                model=f"tiny {n % 2}",
                model_sha256=str(n % 2) * 64,
                status="failed" if n == 3 else "ok",
            ),
        )

    def names(**chosen) -> str:
        return "".join(said.result.source.stem for said in ledger.predictions(**chosen))

    assert names() == "0123"
    assert names(since=NOW + timedelta(days=1), until=NOW + timedelta(days=3)) == "12"
    assert names(model="tiny") == "0123"
    assert names(model="tiny 1") == names(model="1" * 12) == "13"
    assert names(model="tin") == ""
    assert names(status="failed") == "3"
    assert names(folder=Path("/elsewhere")) == ""
    assert names(after_id=2, limit=1) == "2"


def test_a_transaction_is_all_or_nothing(ledger):
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.record(seen(ledger), LOOK, result())
        raise ZeroDivisionError
    assert list(ledger.predictions()) == []
    assert ledger.file(ledger.folder_id(FOLDER), "a.jpg") is None


def test_a_copy_of_the_files_taken_at_any_moment_is_sound_and_has_all_that_was_recorded(tmp_path):
    """As after a power cut: whatever a transaction has begun, what was committed is there."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    folder_id = ledger.folder_id(FOLDER)
    for n in range(30):
        copied = tmp_path / f"copy-{n}"
        with ledger.transaction():
            for one in range(3):
                file_id = ledger.saw(folder_id, f"{n}-{one}.jpg", LOOK)
                ledger.record(file_id, LOOK, result(f"{n}-{one}.jpg", f"{n}-{one}"))
            copied.mkdir()
            for file in (path, path.with_name(path.name + "-wal")):
                shutil.copy(file, copied)
        # A power cut also cuts the log short, anywhere.
        wal = copied / "ledger.db-wal"
        wal.write_bytes(wal.read_bytes()[: wal.stat().st_size - 100 * (n % 3)])
        with Ledger(copied / "ledger.db") as copy:
            assert copy.integrity_trouble() == ""
            n_rows = len(list(copy.predictions()))
            assert n_rows == 3 * n or (n % 3 and n_rows == 3 * (n - 1))


def test_a_newer_ledger_is_refused_and_left_untouched(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="schema version 4; this cxr-edge knows versions up to 3"):
        Ledger(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]


def test_the_database_of_another_program_is_left_untouched(tmp_path):
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"name,ward\nA,3\n", b"SQLite format 3\0" + b"\1" * 90])
def test_another_file_is_refused_and_left_untouched(tmp_path, content):
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(path)
    assert path.read_bytes() == content


def test_an_older_ledger_is_brought_up_to_date_with_all_it_has(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.record(seen(ledger), LOOK, result())
    step = "CREATE TABLE novelties (id INTEGER PRIMARY KEY);"
    monkeypatch.setattr("cxr_edge.ledger.database.MIGRATIONS", (*schema.MIGRATIONS, step))
    monkeypatch.setattr("cxr_edge.ledger.database.SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with Ledger(path) as ledger:
        assert next(ledger.predictions()).result == result()
        assert ledger.all("SELECT * FROM novelties") == []
    with Ledger(path) as ledger:
        assert ledger.schema_version() == schema.SCHEMA_VERSION + 1


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    step = "CREATE TABLE novelties (id INTEGER PRIMARY KEY);\nCREATE TABLE files (x);"
    monkeypatch.setattr("cxr_edge.ledger.database.MIGRATIONS", (*schema.MIGRATIONS, step))
    monkeypatch.setattr("cxr_edge.ledger.database.SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with pytest.raises(LedgerError, match="already exists"):
        Ledger(path)
    monkeypatch.undo()
    with Ledger(path) as ledger:
        assert ledger.schema_version() == schema.SCHEMA_VERSION


def test_a_damaged_ledger_is_told_from_a_disk_in_trouble(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(200):
            ledger.record(seen(ledger, f"{n}.jpg"), LOOK, result(f"{n}.jpg", str(n)))
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="Restore it from a backup"), Ledger(path) as ledger:
        list(ledger.predictions())


def test_a_read_only_ledger_makes_nothing(tmp_path):
    with pytest.raises(LedgerError, match="Start cxr-edge watch first"):
        Ledger(tmp_path / "none" / "ledger.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_no_step_of_a_films_way_goes_through_all_films(ledger):
    statements: list[str] = []
    ledger._db.set_trace_callback(statements.append)
    file_id = seen(ledger)
    ledger.take(file_id, LOOK, "me", 0.0, 60.0)
    said = ledger.record(file_id, LOOK, result())
    folder_id = ledger.folder_id(FOLDER)
    list(ledger.predictions(FOLDER, said.prediction_id - 1, 10))
    ledger.last_prediction_id(folder_id)
    ledger.unfinished(folder_id, 0, said.prediction_id)
    ledger.finish_in_place(folder_id, said.prediction_id, ["ok"])
    ledger.release_unseen(folder_id, ())
    ledger.n_waiting(folder_id)
    ledger._db.set_trace_callback(None)
    plans = {
        statement: " | ".join(row[3] for row in ledger.all(f"EXPLAIN QUERY PLAN {statement}"))
        for statement in statements
        if statement.startswith(("SELECT", "UPDATE", "INSERT"))
    }
    assert len(plans) > 8
    for statement, plan in plans.items():
        assert "SCAN" not in plan, (statement, plan)
        if "sha256 = 'aaa" in statement and statement.startswith("SELECT"):
            assert "predictions_by_content" in plan
