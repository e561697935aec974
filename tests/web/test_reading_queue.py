"""Uploaded films wait for their turn, run together where that pays, and none waits for ever."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr_edge.batching import BatchingSession
from cxr_edge.decoding import Prepared
from cxr_edge.errors import RefusedError
from cxr_edge.radiograph import Header
from cxr_edge.result import Identifiers
from cxr_edge.terms import STANDARD_TERMS, Terms
from cxr_edge.web.problems import Problem
from cxr_edge.web.reading_queue import Decoders, ReadingQueue

FILM = Path("film.jpg")


class FakeDecoder:
    """Decodes nothing; waits for `gate`, and fails as it is told to."""

    def __init__(self, gate: threading.Event, error: Exception | None = None) -> None:
        self.sha256, self.identifiers = "", Identifiers("P1")
        self._gate, self._error = gate, error

    def prepare(self, path: Path) -> Prepared:
        self.sha256 = "a" * 64
        self._gate.wait(30)
        if self._error is not None:
            raise self._error
        return Prepared(np.full((1, 1, 32, 32), 0.9, np.float32), (64, 64), Header(), ())

    def close(self) -> None:
        self._gate.set()


@contextmanager
def queue_of(
    model, n_workers=2, n_places=4, error=None, terms=STANDARD_TERMS
) -> Iterator[ReadingQueue]:
    gate = threading.Event()
    gate.set()
    decoders = Decoders(lambda: FakeDecoder(gate, error), n_workers)
    queue = ReadingQueue(model, terms, decoders, n_workers, n_places)
    try:
        yield queue
    finally:
        queue.close()


def test_a_film_has_its_result_its_name_and_its_patient(tiny_model):
    with queue_of(tiny_model) as queue:
        read = queue.read(FILM, "anna.jpg").result(30)
    assert (read.result.status, read.result.source) == ("ok", Path("anna.jpg"))
    assert read.result.findings[0].positive
    assert read.result.sha256 == "a" * 64
    assert read.identifiers == Identifiers("P1")


def test_thresholds_take_the_place_of_the_cards(tiny_model):
    with queue_of(tiny_model, terms=Terms({"pneumonia": 0.999})) as queue:
        read = queue.read(FILM, "film").result(30)
    assert not read.result.findings[0].positive


def test_a_refused_film_is_told_with_its_reason(tiny_model):
    with queue_of(tiny_model, error=RefusedError("lateral", "It is.", "Send another.")) as queue:
        read = queue.read(FILM, "film").result(30)
    assert (read.result.status, read.result.code) == ("refused", "lateral")


def test_a_fault_of_the_program_is_an_answer_and_its_log_names_no_film(tiny_model, caplog):
    with queue_of(tiny_model, error=ZeroDivisionError("anna.jpg")) as queue:
        read = queue.read(FILM, "anna.jpg").result(30)
    assert read.result.code == "internal_error"
    assert "ZeroDivisionError" in caplog.text
    assert "anna" not in caplog.text


def test_places_are_given_back_whatever_happens(tiny_model):
    with queue_of(tiny_model, n_places=2) as queue:
        with pytest.raises(KeyError), queue.places(2):
            assert queue.n_waiting == 2
            with pytest.raises(Problem) as caught, queue.places():
                pass
            raise KeyError
        assert queue.n_waiting == 0
        with queue.places(2):
            pass
    assert (caught.value.status, caught.value.code) == (503, "queue_full")


def test_more_places_than_there_are_can_never_be_had(tiny_model):
    with queue_of(tiny_model, n_places=2) as queue, pytest.raises(Problem), queue.places(3):
        pass


def test_films_that_wait_at_the_same_time_run_as_one_batch(tiny_model):
    sizes: list[int] = []

    class Counting(BatchingSession):
        def _answer(self, batch):
            sizes.append(sum(len(one.inputs) for one in batch))
            super()._answer(batch)

    session = tiny_model.session
    together = Counting(session.onnx, session.provider, session.cached_at, 8)
    with queue_of(replace(tiny_model, session=together), n_workers=8, n_places=64) as queue:
        with together._running:  # a batch that takes as long as the others take to gather
            films = [queue.read(FILM, f"{n}") for n in range(8)]
            until_s = time.monotonic() + 30
            while len(together._waiting) < 8 and time.monotonic() < until_s:
                time.sleep(0.01)
        with together._changed:
            together._changed.notify_all()
        done, _ = wait(films, 30)
    assert len(done) == 8
    assert sizes == [8]
    assert {film.result().result.findings[0].positive for film in films} == {True}


def test_films_in_hand_end_when_the_server_does(tiny_model):
    gate = threading.Event()
    queue = ReadingQueue(tiny_model, STANDARD_TERMS, Decoders(lambda: FakeDecoder(gate), 1), 1, 4)
    films = [queue.read(FILM, f"{n}") for n in range(3)]
    queue.close()
    assert films[0].result(30).result.status == "ok"
    assert all(film.cancelled() for film in films[1:])
