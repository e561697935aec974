"""Many films: each gets its row, in order, whatever the others do."""

import threading
from pathlib import Path

import cv2
import pytest

from cxr_edge import reading
from cxr_edge.reading import predict_result, read_results
from cxr_edge.terms import Terms
from tests.conftest import make_film


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Films that differ, with one that is cut short and one that is missing among them."""
    folder = tmp_path_factory.mktemp("films")
    films = [make_film(folder / f"{i:02}.png", 40 + 5 * i) for i in range(40)]
    films[7].write_bytes(films[7].read_bytes()[:300])
    films[23].unlink()
    return films


def facts(result: reading.Result) -> tuple[object, ...]:
    return result.source, result.status, result.reason, result.findings, result.sha256


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_films(films, tiny_model, n_workers):
    one_by_one = [predict_result(film, tiny_model) for film in films]
    results = list(read_results(films, tiny_model, Terms({"pneumonia": 0.5}), n_workers))
    assert [facts(result) for result in results] == [facts(result) for result in one_by_one]
    assert [results[i].status for i in (6, 7, 23)] == ["ok", "failed", "failed"]
    assert len({result.findings for result in results}) > 30


@pytest.mark.parametrize("n_workers", [1, 3])
def test_a_film_that_breaks_the_program_is_contained(
    films, tiny_model, monkeypatch, caplog, n_workers
):
    real = reading.predict_result

    def broken(path, *args):
        if path == films[3]:
            raise ZeroDivisionError("a bug")
        return real(path, *args)

    monkeypatch.setattr(reading, "predict_result", broken)
    results = list(read_results(films[:6], tiny_model, n_workers=n_workers))
    assert [result.status for result in results] == ["ok"] * 3 + ["failed"] + ["ok"] * 2
    assert "internal_error: ZeroDivisionError: a bug" in results[3].reason
    assert "Traceback" in caplog.text


def test_workers_read_at_the_same_time(films, tiny_model, monkeypatch):
    both_inside = threading.Barrier(2, timeout=20)

    def waiting(path, *args):
        both_inside.wait()
        return predict_result(path, *args)

    monkeypatch.setattr(reading, "predict_result", waiting)
    assert len(list(read_results(films[:4], tiny_model, n_workers=2))) == 4


def test_only_so_many_films_are_read_ahead(films, tiny_model):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield films[0]

    results = read_results(endless(), tiny_model, n_workers=2)
    for _ in range(3):
        next(results)
    results.close()
    assert taken <= 3 + 2 * reading.N_AHEAD


def test_ctrl_c_ends_it_at_once(films, tiny_model, monkeypatch):
    started = []

    def interrupted(path, *args):
        started.append(path)
        if path == films[2]:
            raise KeyboardInterrupt
        return predict_result(path, *args)

    monkeypatch.setattr(reading, "predict_result", interrupted)
    results = read_results(films * 20, tiny_model, n_workers=2)
    with pytest.raises(KeyboardInterrupt):
        list(results)
    assert len(started) < len(films * 20)
    assert list(results) == []


def test_opencv_starts_no_threads_beside_the_workers(films, tiny_model, monkeypatch):
    before, seen = cv2.getNumThreads(), set()

    def looking(path, *args):
        seen.add(cv2.getNumThreads())
        return predict_result(path, *args)

    monkeypatch.setattr(reading, "predict_result", looking)
    list(read_results(films[:4], tiny_model, n_workers=2))
    assert seen == {1}
    assert cv2.getNumThreads() == before
