"""Films that are handed in are read once, whole, some at a time, and come back as they are read."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import damaged, dicom, encode, film

from cxr_edge import load_model
from cxr_edge.isolation import Limits
from cxr_edge.reading import find_radiographs, predict_result, read_results
from cxr_edge.result import Result
from cxr_edge.session import CUDA, DML
from cxr_edge.terms import STANDARD_TERMS, Terms
from cxr_edge.watch import readers as readers_module
from cxr_edge.watch.readers import Readers, Reading, n_workers_for
from cxr_edge.watch.settle import Look
from tests.conftest import BROKEN, make_film

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def look_at(path: Path) -> Look:
    status = path.stat()
    return Look(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Watching:
    """Readers with somebody who waits for them."""

    def __init__(self, model, n_workers: int = 2, **more) -> None:
        self.woken = threading.Event()
        settings = {
            "draw": False,
            "with_identifiers": False,
            "look": look_at,
            "wake": self.woken.set,
        }
        self.readers = Readers(model, STANDARD_TERMS, n_workers, Limits(), **settings | more)

    def read(self, *paths: Path) -> dict[Path, Reading]:
        for path in paths:
            self.readers.submit(path, look_at(path))
        return self.wait(len(paths))

    def wait(self, n: int) -> dict[Path, Reading]:
        found: dict[Path, Reading] = {}
        end_s = time.monotonic() + 60
        while len(found) < n:
            assert time.monotonic() < end_s
            self.woken.wait(1)
            self.woken.clear()
            found |= {reading.path: reading for reading in self.readers.finished()}
        return found


@pytest.fixture
def watching(tiny_model):
    """Makes a Watching that is closed at the end."""
    made: list[Watching] = []

    def make(*args, **more) -> Watching:
        made.append(Watching(*(args or (tiny_model,)), **more))
        return made[-1]

    yield make
    for one in made:
        one.readers.close(1)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Good, refused, damaged and broken films of all kinds."""
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(5)
    plain = {
        "film.png": encode(film(), "PNG"),
        "film.jpg": encode(film(600, 500), "JPEG"),
        "film.tif": encode(film().astype(np.uint16) * 257, "TIFF"),
        "film.dcm": dicom(film().astype(np.uint16) * 16, 12),
    }
    for name, data in plain.items():
        (folder / name).write_bytes(data)
        for i in range(15):
            (folder / f"{i}-{name}").write_bytes(damaged(data, rng))
    for path in BROKEN.iterdir():
        (folder / f"broken-{path.name}").write_bytes(path.read_bytes())
    (folder / "blank.png").write_bytes(encode(np.full((90, 90), 7, np.uint8), "PNG"))
    (folder / "small.png").write_bytes(encode(film(12, 12), "PNG"))
    return sorted(find_radiographs(folder))


def facts(result: Result) -> Result:
    return replace(result, duration_ms=0, processed_at=None)


@pytest.mark.parametrize("draw", [False, True])
def test_a_result_is_that_of_predict(watching, tiny_model_path, films, draw):
    model = load_model(tiny_model_path, "cpu", 1, heatmaps=draw)
    expected = [facts(predict_result(path, model, draw=draw)) for path in films]
    readings = watching(model, draw=draw).read(*films)
    found = [readings[path] for path in films]
    assert [facts(reading.result) for reading in found] == expected
    assert len({result.code for result in expected}) > 8
    assert any(result.overlays for result in expected) == draw
    assert [(reading.look, reading.gone) for reading in found] == [
        (look_at(path), False) for path in films
    ]


def test_thresholds_are_those_that_were_asked_for(tiny_model, films):
    woken = threading.Event()
    settings = {"draw": False, "with_identifiers": False, "look": look_at, "wake": woken.set}
    terms = Terms({"pneumonia": 0.001})
    readers = Readers(tiny_model, terms, 1, Limits(), **settings)
    path = next(path for path in films if path.name == "film.png")
    readers.submit(path, look_at(path))
    assert woken.wait(60)
    (reading,) = readers.finished()
    assert reading.result.findings == predict_result(path, tiny_model, terms).findings
    assert reading.result.findings[0].threshold == 0.001
    readers.close(1)


def test_a_film_that_changed_before_it_was_read_is_left(watching, tmp_path):
    path = make_film(tmp_path / "film.png")
    one = watching()
    one.readers.submit(path, Look(1, 2, 3))
    (reading,) = one.wait(1).values()
    assert reading.result is None
    assert not reading.gone
    assert not reading.heals
    assert not reading.maybe_unfinished


def test_a_film_that_is_overwritten_while_it_is_read_is_left(watching, tmp_path):
    path = make_film(tmp_path / "film.png")
    looks = []

    def look(path: Path) -> Look:
        looks.append(look_at(path))
        if len(looks) == 2:  # after it was read
            make_film(path, 90)
            return look_at(path)
        return looks[-1]

    (reading,) = watching(look=look).read(path).values()
    assert reading.result is None
    assert len(looks) == 2


@pytest.mark.parametrize("n_looks", [0, 1])
def test_a_film_that_went_away_is_gone(watching, tmp_path, n_looks):
    path = make_film(tmp_path / "film.png")
    looks = []

    def look(path: Path) -> Look:
        if len(looks) == n_looks:
            path.unlink()
        looks.append(look_at(path))
        return looks[-1]

    (reading,) = watching(look=look).read(path).values()
    assert reading.gone
    assert reading.result is None


def test_a_film_that_cannot_be_looked_at_is_left_and_not_gone(watching, tmp_path):
    path = make_film(tmp_path / "film.png")

    def look(path: Path) -> Look:
        raise OSError(5, "Input/output error")

    (reading,) = watching(look=look).read(path).values()
    assert reading.result is None
    assert not reading.gone


def result_of(reason: str) -> Reading:
    status = "failed" if reason else "ok"
    result = Result(Path("a"), status, reason, (), "m", "", "", 0, None, "")
    return Reading(Path("a"), Look(1, 1), result)


def test_what_time_may_mend_is_told_from_what_it_does_not():
    codes = "no_permission io_error stalled out_of_memory missing not_a_file no_reader stopped"
    assert all(result_of(f"{code}: it is so.").heals for code in codes.split())
    codes = "corrupt empty took_too_long reader_crashed colour unsupported_format internal_error"
    assert not any(result_of(f"{code}: it is so.").heals for code in codes.split())
    assert not result_of("").heals
    assert [code for code in codes.split() if result_of(f"{code}: so").maybe_unfinished] == [
        *("corrupt", "empty", "unsupported_format")
    ]


def test_identifiers_come_along_even_with_a_film_that_is_refused(watching, tmp_path):
    for modality in ("CR", "MR"):
        path = tmp_path / f"{modality}.dcm"
        path.write_bytes(dicom(film(), PatientID=modality, Modality=modality))
    paths = sorted(tmp_path.iterdir())
    readings = watching(with_identifiers=True).read(*paths)
    assert [readings[path].identifiers.patient for path in paths] == ["CR", "MR"]
    assert [readings[path].result.status for path in paths] == ["ok", "refused"]
    readings = watching().read(*paths)
    assert [readings[path].identifiers.patient for path in paths] == ["", ""]


def test_a_fault_of_this_program_is_one_films_and_names_nobody(
    watching, tiny_model, tmp_path, monkeypatch, caplog
):
    good, bad = make_film(tmp_path / "good.png"), make_film(tmp_path / "private.png")
    real = readers_module.result_by

    def broken(reader, path, *more):
        if path == bad:
            raise ZeroDivisionError(str(path))
        return real(reader, path, *more)

    monkeypatch.setattr(readers_module, "result_by", broken)
    readings = watching().read(good, bad)
    assert readings[good].result.status == "ok"
    assert readings[bad].result.code == "internal_error"
    assert "ZeroDivisionError" in caplog.text
    assert "raise ZeroDivisionError" in caplog.text  # the lines that led to it
    assert "private" not in caplog.text


def test_films_in_hand_are_those_not_yet_given_back(watching, tmp_path):
    go_on = threading.Event()

    def look(path: Path) -> Look:
        go_on.wait(20)
        return look_at(path)

    one = watching(n_workers=2, look=look)
    paths = [make_film(tmp_path / f"{i}.png") for i in range(5)]
    for path in paths:
        one.readers.submit(path, look_at(path))
    assert one.readers.n_in_hand == one.readers.n_unread == 5
    assert one.readers.finished() == []
    go_on.set()
    assert within(lambda: one.readers.n_unread == 0)
    assert one.readers.n_in_hand == 5
    assert one.wait(5).keys() == set(paths)
    assert one.readers.n_in_hand == 0


def test_films_that_come_one_by_one_need_one_process(watching, tmp_path):
    one = watching(n_workers=4)
    for i in range(6):
        one.read(make_film(tmp_path / f"{i}.png"))
        time.sleep(0.02)  # until the worker waits again
    assert sum(reader.pid is not None for reader in one.readers._readers) == 1


def test_the_films_that_are_read_at_the_end_are_finished_and_the_others_left(watching, tmp_path):
    begun = threading.Semaphore(0)
    go_on = threading.Event()

    def look(path: Path) -> Look:
        begun.release()
        go_on.wait(20)
        return look_at(path)

    one = watching(n_workers=2, look=look)
    for i in range(6):
        path = make_film(tmp_path / f"{i}.png")
        one.readers.submit(path, look_at(path))
    assert begun.acquire(timeout=20)
    assert begun.acquire(timeout=20)
    closing = threading.Thread(target=one.readers.close, args=(20,))
    closing.start()
    time.sleep(0.05)
    go_on.set()
    closing.join(20)
    finished = one.readers.finished()
    assert [reading.result.status for reading in finished] == ["ok", "ok"]
    assert one.readers.n_in_hand == 0
    one.readers.submit(path, look_at(path))
    assert one.readers.n_in_hand == 0


@posix
def test_a_film_that_hangs_at_the_end_is_left_for_the_next_time(watching, tmp_path):
    one = watching(n_workers=1)
    one.read(make_film(tmp_path / "0.png"))
    pid = one.readers._readers[0].pid
    os.kill(pid, signal.SIGSTOP)
    path = make_film(tmp_path / "1.png")
    one.readers.submit(path, look_at(path))
    started = time.monotonic()
    one.readers.close(0.3)
    assert time.monotonic() - started < 3
    assert one.readers.finished() == []
    assert one.readers.n_in_hand == 0
    assert one.readers._readers[0].pid is None


@pytest.mark.parametrize("provider", [CUDA, DML])
def test_a_card_holds_a_few_processes(tiny_model, monkeypatch, provider):
    monkeypatch.setattr(readers_module, "n_cores", lambda: 16)
    on_card = replace(tiny_model, session=replace(tiny_model.session, provider=provider))
    assert n_workers_for(on_card) == 4
    assert n_workers_for(tiny_model) == 16


def within(check: Callable[[], bool], timeout_s: float = 10) -> bool:
    end_s = time.monotonic() + timeout_s
    while not check() and time.monotonic() < end_s:
        time.sleep(0.01)
    return check()


def test_closing_leaves_no_thread(watching, films):
    before = threading.active_count()
    one = watching(n_workers=3)
    one.read(*films[:10])
    one.readers.close(5)
    assert within(lambda: threading.active_count() == before)


def test_real_films_give_what_predict_gives(watching, real_films):
    model = load_model(threads=1)
    paths = [path for path in find_radiographs(real_films) if "224" not in str(path)]
    paths += [path for path in find_radiographs(real_films) if "224" in str(path)][:200]
    expected = {result.source: facts(result) for result in read_results(paths, model, n_workers=2)}
    readings = watching(model).read(*paths)
    assert {path: facts(reading.result) for path, reading in readings.items()} == expected
