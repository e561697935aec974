"""Uploaded films are kept under names of ours, and their answers are in the ledger."""

import hashlib
import os
import threading
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cxr_edge.errors import LedgerError, RecordError
from cxr_edge.ledger import Ledger
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.web.problems import Problem
from cxr_edge.web.uploads import Uploads, _Waiting, cleaned_name

RESULT = Result(
    source=Path("film.jpg"),
    status="ok",
    reason="",
    findings=(Finding("pneumonia", 0.9, 0.5),),
    model="tiny 1",
    model_sha256="b" * 64,
    provider="CPUExecutionProvider",
    duration_ms=1.0,
    processed_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
    sha256="a" * 64,
)
NOBODY = Identifiers()


@pytest.fixture
def ledger_path(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    return path


@pytest.fixture
def uploads(tmp_path, ledger_path):
    uploads = Uploads(tmp_path / "uploads", ledger_path)
    yield uploads
    uploads.close()


def came_in(uploads: Uploads, data: bytes = b"film") -> Path:
    with uploads.new_file() as file:
        file.write(data)
    return Path(file.name)


def predictions(ledger_path: Path):
    with Ledger(ledger_path, read_only=True) as ledger:
        return list(ledger.predictions())


def test_a_film_is_kept_under_its_digest_and_shown_by_its_name(uploads, ledger_path):
    number = uploads.record(came_in(uploads), RESULT, NOBODY).result(10)
    (said,) = predictions(ledger_path)
    assert (said.id, said.result.source) == (number, Path("film.jpg"))
    kept = uploads.folder / "aa" / ("a" * 64)
    assert kept.read_bytes() == b"film"
    with Ledger(ledger_path, read_only=True) as ledger:
        assert ledger.places(said) == [kept]


def test_two_films_of_one_name_are_both_kept(uploads, ledger_path):
    other = replace(RESULT, sha256="c" * 64)
    for data, result in ((b"one", RESULT), (b"two", other)):
        uploads.record(came_in(uploads, data), result, NOBODY).result(10)
    with Ledger(ledger_path, read_only=True) as ledger:
        places = [ledger.places(one) for one in ledger.predictions()]
    assert [place.read_bytes() for (place,) in places] == [b"one", b"two"]


def test_the_same_film_again_has_its_earlier_number(uploads, ledger_path):
    numbers = {uploads.record(came_in(uploads), RESULT, NOBODY).result(10) for _ in range(3)}
    assert len(numbers) == len(predictions(ledger_path)) == 1


def test_many_at_the_same_time_are_all_recorded(uploads, ledger_path):
    results = [replace(RESULT, sha256=f"{number:064x}") for number in range(200)]
    futures = [uploads.record(came_in(uploads), result, NOBODY) for result in results]
    numbers = [future.result(30) for future in futures]
    said = {one.id: one.result.sha256 for one in predictions(ledger_path)}
    assert [said[number] for number in numbers] == [result.sha256 for result in results]


def test_what_may_heal_is_recorded_and_read_anew_the_next_time(uploads, ledger_path):
    failed = replace(RESULT, status="failed", reason="out_of_memory: too little.", findings=())
    numbers = [
        uploads.record(came_in(uploads), result, NOBODY).result(10) for result in (failed, RESULT)
    ]
    said = {one.id: one.result.status for one in predictions(ledger_path)}
    assert said == dict(zip(numbers, ("failed", "ok"), strict=True))


def test_a_film_that_the_end_of_the_server_cut_off_is_to_be_sent_again(uploads, ledger_path):
    stopped = replace(RESULT, status="failed", reason="stopped: ended.", findings=(), sha256="")
    path = came_in(uploads)
    with pytest.raises(Problem) as caught:
        uploads.record(path, stopped, NOBODY).result(10)
    assert (caught.value.status, caught.value.code) == (503, "stopping")
    assert int(caught.value.headers["Retry-After"]) > 0
    assert predictions(ledger_path) == []
    assert not path.exists()


def test_an_empty_film_has_a_digest_of_its_own(uploads, ledger_path):
    empty = replace(RESULT, status="failed", reason="empty: zero.", findings=(), sha256="")
    uploads.record(came_in(uploads, b""), empty, NOBODY).result(10)
    (said,) = predictions(ledger_path)
    assert said.result.sha256 == hashlib.sha256(b"").hexdigest()


def test_a_refused_film_is_kept_too(uploads, ledger_path):
    refused = replace(RESULT, status="refused", reason="colour: it is.", findings=())
    uploads.record(came_in(uploads), refused, NOBODY).result(10)
    (said,) = predictions(ledger_path)
    assert said.result.code == "colour"
    assert (uploads.folder / "aa" / ("a" * 64)).exists()


def test_films_are_forgotten_where_that_is_asked_for(tmp_path, ledger_path):
    uploads = Uploads(tmp_path / "uploads", ledger_path, keeps=False)
    uploads.record(came_in(uploads), RESULT, NOBODY).result(10)
    uploads.close()
    assert [path for path in uploads.folder.rglob("*") if path.is_file()] == []
    assert len(predictions(ledger_path)) == 1


def test_identifiers_are_disguised_before_they_are_recorded(tmp_path, ledger_path):
    uploads = Uploads(tmp_path / "uploads", ledger_path, lambda found: replace(found, patient="x"))
    uploads.record(came_in(uploads), RESULT, Identifiers("Anna", "1", "2")).result(10)
    uploads.close()
    (said,) = predictions(ledger_path)
    assert said.identifiers == Identifiers("x", "1", "2")


def test_a_ledger_that_is_gone_is_said_to_each(tmp_path, uploads, ledger_path):
    path = came_in(uploads)
    ledger_path.unlink()
    ledger_path.mkdir()
    with pytest.raises(LedgerError):
        uploads.record(path, RESULT, NOBODY).result(10)


def test_what_an_earlier_start_left_half_written_is_cleared_away(tmp_path, ledger_path):
    incoming = tmp_path / "uploads" / "incoming"
    incoming.mkdir(parents=True)
    left, of_another_server = incoming / "left", incoming / "new"
    for path in (left, of_another_server):
        path.write_bytes(b"half a film")
    os.utime(left, (0, 0))
    Uploads(tmp_path / "uploads", ledger_path).close()
    assert list(incoming.iterdir()) == [of_another_server]


def test_a_film_that_cannot_be_kept_fails_alone(uploads, ledger_path, tmp_path):
    gate, held = threading.Event(), came_in(uploads)
    # While one waits for its row the others gather.
    slow = Future()
    slow.set_exception = slow.set_result = lambda _: gate.wait(10)
    uploads._waiting.put(_Waiting(held, RESULT, NOBODY, slow))
    lost, other = came_in(uploads), came_in(uploads, b"other")
    lost.unlink()
    failed = uploads.record(lost, replace(RESULT, sha256="c" * 64), NOBODY)
    recorded = uploads.record(other, replace(RESULT, sha256="d" * 64), NOBODY)
    gate.set()
    with pytest.raises(RecordError):
        failed.result(10)
    assert recorded.result(10)


def test_nothing_on_the_disk_or_in_a_place_is_called_as_the_client_says(uploads, ledger_path):
    result = replace(RESULT, source=Path("CON.jpg"))
    uploads.record(came_in(uploads), result, NOBODY).result(10)
    (said,) = predictions(ledger_path)
    with Ledger(ledger_path) as ledger:
        (bearer,) = ledger.bearers(said)
        ledger.forget_place(bearer.file_id)  # as retention does it
        places = [bearer.place, *ledger.places(said)]
    assert not any("CON" in str(path) for path in [*places, *uploads.folder.rglob("*")])


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path, ledger_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError):
        Uploads(tmp_path / "file" / "uploads", ledger_path)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("film.jpg", "film.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\Anna\\film.dcm", "film.dcm"),
        ("", "film"),
        ("..", "film"),
        ("a/b/", "film"),
        ("Größe 1.png", "Größe 1.png"),
        ("two\nlines\x00.jpg", "twolines.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
        ("x" * 300, "x" * 120),
    ],
)
def test_a_name_is_the_last_part_of_what_a_client_says(given, shown):
    assert cleaned_name(given) == shown
