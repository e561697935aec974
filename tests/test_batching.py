"""Batches under load: films that wait together run together, and each gets its own answer."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from cxr_edge import batching as batching_module
from cxr_edge import session
from cxr_edge.batching import BatchingSession, batching, n_workers_for
from cxr_edge.cli import cli
from cxr_edge.model import Model
from cxr_edge.reading import n_cores, predict_result
from tests.conftest import make_film

FILMS = np.random.default_rng(0).random((40, 1, 32, 32), np.float32)


class Watched:
    """The real onnxruntime session, with what it is given, and when it may run."""

    def __init__(self, onnx) -> None:
        self.onnx = onnx
        self.sizes: list[int] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def get_inputs(self):
        return self.onnx.get_inputs()

    def run(self, outputs, feed):
        (films,) = feed.values()
        self.sizes.append(len(films))
        assert self.may_run.wait(20)
        return self.onnx.run(outputs, feed)


def in_batches(model: Model, max_size: int) -> Model:
    onnx = Watched(model.session.onnx)
    return replace(model, session=BatchingSession(onnx, session.CPU, None, max_size))


def asked(pool: ThreadPoolExecutor, model: Model, calls: list) -> list[Future]:
    """The first call runs, and does not end, until all others wait, in their order."""
    opened = model.session
    opened.onnx.may_run.clear()
    futures = [pool.submit(calls[0])]
    until(lambda: opened.onnx.sizes)
    for n_waiting, call in enumerate(calls[1:], 1):
        futures.append(pool.submit(call))
        until(lambda n=n_waiting: len(opened._waiting) == n)
    opened.onnx.may_run.set()
    return futures


def until(happened) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0)  # the other threads' turn


def infer(model: Model, start: int, end: int):
    return lambda: model.infer(FILMS[start:end])


def test_every_caller_gets_its_own_answer(tiny_model):
    expected = tiny_model.infer(FILMS)
    model = in_batches(tiny_model, 7)
    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            answers = list(pool.map(lambda i: model.infer(FILMS[i : i + 1]), range(len(FILMS))))
            np.testing.assert_allclose(np.concatenate(answers), expected, atol=1e-5)


def test_a_film_alone_is_run_at_once_and_alone(tiny_model):
    model = in_batches(tiny_model, 8)
    for i in range(3):
        model.infer(FILMS[i : i + 1])
    assert model.session.onnx.sizes == [1, 1, 1]


def test_films_that_wait_are_run_together_up_to_the_largest_batch(tiny_model):
    model = in_batches(tiny_model, 4)
    calls = [infer(model, i, i + 1) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(20) for future in asked(pool, model, calls)]
    assert model.session.onnx.sizes == [1, 4, 3]
    np.testing.assert_allclose(np.concatenate(answers), tiny_model.infer(FILMS[:8]), atol=1e-5)


def test_calls_of_several_films_stay_whole(tiny_model):
    model = in_batches(tiny_model, 4)
    ends = [(0, 1), (1, 3), (3, 5), (5, 7), (7, 17), (17, 18)]
    with ThreadPoolExecutor(8) as pool:
        futures = asked(pool, model, [infer(model, *span) for span in ends])
        answers = [future.result(20) for future in futures]
    assert model.session.onnx.sizes == [1, 4, 2, 10, 1], "ten at once are one call's own affair"
    for answer, (start, end) in zip(answers, ends, strict=True):
        np.testing.assert_allclose(answer, tiny_model.infer(FILMS[start:end]), atol=1e-5)


def test_heatmaps_are_not_mixed_up_with_logits(tiny_model_path):
    from cxr_edge import load_model

    whole = load_model(tiny_model_path, "cpu", threads=1, heatmaps=True)
    model = in_batches(whole, 8)
    calls = [infer(model, 0, 1), infer(model, 1, 2)]
    calls += [lambda i=i: model.answer(FILMS[i : i + 1], heatmaps=True) for i in (2, 3)]
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(20) for future in asked(pool, model, calls)]
    assert model.session.onnx.sizes == [1, 1, 2]
    for i in (2, 3):
        expected = whole.answer(FILMS[i : i + 1], heatmaps=True)
        np.testing.assert_allclose(answers[i].logits, expected.logits, atol=1e-5)
        np.testing.assert_allclose(answers[i].heatmaps, expected.heatmaps, atol=1e-5)


def test_a_batch_that_fails_fails_for_its_callers_and_no_others(tiny_model):
    model = in_batches(tiny_model, 4)
    wrong = np.zeros((1, 1, 7, 7), np.float32)
    calls = [infer(model, 0, 1), infer(model, 1, 2), lambda: model.infer(wrong)]
    calls += [infer(model, 2, 4), infer(model, 4, 5)]
    with ThreadPoolExecutor(8) as pool:
        futures = asked(pool, model, calls)
        errors = [future.exception(20) for future in futures]
    assert [error is None for error in errors] == [True, False, False, False, True]
    np.testing.assert_allclose(model.infer(FILMS), tiny_model.infer(FILMS), atol=1e-5)


def test_the_cpu_and_directml_run_single_films(tiny_model):
    assert batching(tiny_model, 10_000) is tiny_model
    on_dml = replace(tiny_model, session=replace(tiny_model.session, provider=session.DML))
    assert batching(on_dml, 10_000) is on_dml
    assert n_workers_for(tiny_model) == n_cores()


@pytest.fixture
def cuda(monkeypatch):
    """The way to a CUDA device, with the CPU in its place."""
    real = session.Session.run_bound
    sizes = []

    def run_bound(self, inputs, outputs, device):
        sizes.append(len(inputs))
        return real(self, inputs, outputs, "cpu")

    def create(onnxruntime, data, path, options, providers):
        return replace(
            real_create(onnxruntime, data, path, options, [session.CPU]), provider=session.CUDA
        )

    real_create = session._create
    monkeypatch.setattr(session.Session, "run_bound", run_bound)
    monkeypatch.setattr(session, "_create", create)
    monkeypatch.setattr(session, "why_no_cuda", lambda _: "")
    return sizes


def test_a_folder_on_cuda_is_read_in_batches_of_the_size_that_suits(
    tiny_model, tiny_model_path, tmp_path, cuda, monkeypatch
):
    monkeypatch.setattr(batching_module, "choose_batch_size", lambda _: 16)
    films = [make_film(tmp_path / "films" / f"{i:03}.png", 40 + i) for i in range(100)]
    command = ["predict", str(tmp_path / "films"), "--model", str(tiny_model_path)]
    result = CliRunner().invoke(cli, [*command, "--workers", "24", "--device", "cuda"])
    assert result.exit_code == 0, result.output
    assert "on CUDAExecutionProvider" in result.output
    assert sum(cuda) == 1 + len(films), "the golden vector, and each film once"
    assert max(cuda) <= 16
    rows = [line.split() for line in result.stdout.splitlines()[1:101]]
    scores = [predict_result(film, tiny_model).findings[0].score for film in films]
    assert [int(row[2]) for row in rows] == scores


def test_few_films_are_not_worth_the_search_for_a_batch_size(tiny_model):
    on_cuda = replace(tiny_model, session=replace(tiny_model.session, provider=session.CUDA))
    assert batching(on_cuda, 10) is on_cuda


def test_there_are_workers_enough_to_fill_a_batch_and_not_far_more_than_cores(tiny_model):
    assert n_workers_for(in_batches(tiny_model, 1)) == n_cores() + 1
    assert n_workers_for(in_batches(tiny_model, 1000)) == 2 * n_cores()
