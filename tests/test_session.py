"""Opening a session: the kept optimized graph is never trusted more than the model file."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import cxr_edge
from cxr_edge import load_model, session
from cxr_edge.errors import DeviceError, ModelError
from cxr_edge.model import choose_batch_size
from tests.tiny_model import golden_text, write_tiny_model

FILMS = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "Zwischenspeicher 肺"


def kept(cache: Path) -> Path:
    (path,) = cache.glob("*.onnx")
    return path


def test_the_second_start_finds_the_optimized_graph_and_says_the_same(tiny_model_path, cache):
    first = load_model(tiny_model_path, "cpu", cache=cache)
    second = load_model(tiny_model_path, "cpu", cache=cache)
    assert first.session.cached_at is None
    assert second.session.cached_at == kept(cache)
    np.testing.assert_array_equal(first.infer(FILMS), second.infer(FILMS))
    assert second.sha256 == first.sha256, "the rows name the model file, not the graph"
    assert [path.name for path in cache.iterdir()] == [kept(cache).name], "nothing else is left"


def test_without_a_cache_nothing_is_kept(tiny_model_path):
    assert load_model(tiny_model_path, "cpu").session.cached_at is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_graph_is_quietly_made_anew(tiny_model_path, cache, damage, capfd, caplog):
    load_model(tiny_model_path, "cpu", cache=cache)
    data = bytearray(kept(cache).read_bytes())
    data[-20] ^= 1
    kept(cache).write_bytes({"flipped": data, "cut": data[:99], "empty": b""}[damage])
    model = load_model(tiny_model_path, "cpu", cache=cache)
    assert model.session.cached_at is None
    np.testing.assert_allclose(model.infer(FILMS), 10 * FILMS.mean((1, 2, 3))[:, None] - 5, 1e-4)
    assert load_model(tiny_model_path, "cpu", cache=cache).session.cached_at == kept(cache)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("graph", [b"no graph at all", None])
def test_a_graph_swapped_with_its_digest_does_not_pass_the_golden_vectors(
    tiny_model_path, cache, tmp_path, graph
):
    load_model(tiny_model_path, "cpu", cache=cache)
    other = write_tiny_model(tmp_path / "other.onnx", bias=5).read_bytes()
    graph = graph or other
    kept(cache).write_bytes(hashlib.sha256(graph).digest() + graph)
    model = load_model(tiny_model_path, "cpu", cache=cache)
    np.testing.assert_allclose(model.infer(FILMS), 10 * FILMS.mean((1, 2, 3))[:, None] - 5, 1e-4)


def test_a_home_that_cannot_be_written_is_no_error(tiny_model_path, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        model = load_model(tiny_model_path, "cpu", cache=place)
        assert model.session.cached_at is None
    assert (tmp_path / "file").read_text() == "no folder"


def test_a_full_disk_is_no_error(tiny_model_path, cache):
    resource = pytest.importorskip("resource")  # POSIX
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        model = load_model(tiny_model_path, "cpu", cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert model.infer(FILMS).shape == (3, 1)
    assert not list(cache.iterdir())


def test_another_version_of_anything_makes_its_own_graph(tiny_model_path, cache, monkeypatch):
    load_model(tiny_model_path, "cpu", cache=cache)
    for target, name in (
        (cxr_edge, "__version__"),
        (onnxruntime, "__version__"),
    ):
        monkeypatch.setattr(target, name, "99")
        assert load_model(tiny_model_path, "cpu", cache=cache).session.cached_at is None
    monkeypatch.setattr(session, "cpu_name", lambda: "another CPU")
    assert load_model(tiny_model_path, "cpu", cache=cache).session.cached_at is None
    assert len(list(cache.glob("*.onnx"))) == 4


def test_old_graphs_are_forgotten(tmp_path, cache):
    for i in range(10):
        path = write_tiny_model(tmp_path / f"{i}.onnx", bias=i / 100 - 5)
        load_model(path, "cpu", cache=cache)
    assert len(list(cache.iterdir())) == 8


def test_bound_inputs_and_outputs_give_what_plain_ones_do(tiny_model):
    """The way that films take to a CUDA device, here with the CPU as the device."""
    for films in (FILMS, FILMS[:, :, ::-1], FILMS[:1]):
        (bound,) = tiny_model.session.run_bound(films, ("logits",), "cpu")
        np.testing.assert_array_equal(bound, tiny_model.infer(films))


def test_on_cuda_films_are_bound(tiny_model, monkeypatch):
    used = []
    monkeypatch.setattr(
        session.Session,
        "run_bound",
        lambda self, inputs, outputs, device, options=None: used.append(device) or [inputs],
    )
    replace(tiny_model, session=replace(tiny_model.session, provider=session.CUDA)).infer(FILMS)
    assert used == ["cuda"]


def test_an_onnxruntime_that_drops_cuda_when_the_model_is_loaded_is_an_error(
    tiny_model_path, monkeypatch
):
    if not session.why_no_cuda(onnxruntime):
        pytest.skip("CUDA works on this machine")
    monkeypatch.setattr(session, "why_no_cuda", lambda _: "")
    with pytest.warns(UserWarning), pytest.raises(DeviceError, match="fell back to the CPU"):
        load_model(tiny_model_path, "cuda")


@pytest.fixture
def broken_cuda(monkeypatch):
    """CUDA that loads and does not run: a session that says CUDA, on an onnxruntime without it."""
    real = session._create

    def create(onnxruntime, data, path, options, providers):
        opened = real(onnxruntime, data, path, options, [session.CPU])
        return replace(opened, provider=session.CPU if providers == [session.CPU] else session.CUDA)

    monkeypatch.setattr(session, "why_no_cuda", lambda _: "")
    monkeypatch.setattr(session, "_create", create)


def test_cuda_that_does_not_run_gives_way_to_the_cpu_and_says_so(
    tiny_model_path, broken_cuda, caplog
):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was built with CUDA")
    assert load_model(tiny_model_path, "auto").provider == session.CPU
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert record.message.startswith("CUDA is not used: ")
    with pytest.raises(DeviceError, match=r"CUDA cannot be used: .*does not run"):
        load_model(tiny_model_path, "cuda")


@pytest.fixture
def dml(monkeypatch):
    """The way to a DirectML device, with the CPU in its place: the options of each session."""
    real = session._create
    opened = []

    def create(onnxruntime, data, path, options, providers):
        opened.append((providers, options))
        one = real(onnxruntime, data, path, options, [session.CPU])
        return replace(one, provider=providers[0])

    monkeypatch.setattr(session, "why_no_dml", lambda _: "")
    monkeypatch.setattr(session, "_create", create)
    return opened


def test_directml_runs_as_its_documentation_demands(tiny_model_path, dml):
    model = load_model(tiny_model_path, "dml")
    ((providers, options),) = dml
    assert model.provider == session.DML
    assert providers == ["DmlExecutionProvider", "CPUExecutionProvider"]
    assert options.enable_mem_pattern is False
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL


def test_directml_is_taken_only_when_it_is_asked_for_by_name(tiny_model_path, dml):
    load_model(tiny_model_path, "auto")
    load_model(tiny_model_path, "cpu")
    assert not [providers for providers, _ in dml if session.DML in providers]


def test_directml_is_run_by_one_thread_at_a_time_whatever_the_session(tiny_model):
    running, seen = threading.Lock(), []

    class Onnx:
        def get_inputs(self):
            return tiny_model.session.onnx.get_inputs()

        def run(self, outputs, inputs):
            alone = running.acquire(blocking=False)
            seen.append(alone)
            time.sleep(0.002)
            if alone:
                running.release()
            return [np.zeros((1, 1), np.float32)]

    sessions = [session.Session(Onnx(), session.DML) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        for i in range(16):
            pool.submit(sessions[i % 2].run, FILMS[:1], ("logits",))
    assert seen == [True] * 16


def test_an_onnxruntime_that_drops_directml_when_the_model_is_loaded_is_an_error(
    tiny_model_path, monkeypatch
):
    if not session.why_no_dml(onnxruntime):
        pytest.skip("this onnxruntime has DirectML")
    monkeypatch.setattr(session, "why_no_dml", lambda _: "")
    with pytest.warns(UserWarning), pytest.raises(DeviceError, match=r"DirectML .* fell back"):
        load_model(tiny_model_path, "dml")


def test_directml_that_does_not_run_is_an_error_with_the_reason(tiny_model_path, dml, monkeypatch):
    def run(self, inputs, outputs):
        raise RuntimeError("80070057 The parameter is incorrect")

    monkeypatch.setattr(session.Session, "run", run)
    with pytest.raises(DeviceError, match=r"DirectML cannot be used: .*80070057") as caught:
        load_model(tiny_model_path, "dml")
    assert caught.value.exit_code == 5
    assert "--device cpu" in caught.value.next_step


def test_a_session_that_cuda_cannot_open_is_opened_on_the_cpu_and_a_bad_model_on_neither(
    tiny_model_path, tmp_path, monkeypatch
):
    real = session._create

    def create(onnxruntime, data, path, options, providers):
        if providers != [session.CPU]:
            raise ModelError(f"{path} is not a usable ONNX model (CUDA failure 35).")
        return real(onnxruntime, data, path, options, providers)

    monkeypatch.setattr(session, "why_no_cuda", lambda _: "")
    monkeypatch.setattr(session, "_create", create)
    assert load_model(tiny_model_path, "auto").provider == session.CPU
    with pytest.raises(DeviceError, match="CUDA failure 35"):
        load_model(tiny_model_path, "cuda")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(
        tiny_model_path.read_bytes().replace(b"GlobalAveragePool", b"GlobalAveragePoet")
    )
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        load_model(bad, "cuda")


def test_a_bad_model_is_said_once_and_not_on_the_standard_output(tiny_model_path, tmp_path, capfd):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(
        tiny_model_path.read_bytes().replace(b"GlobalAveragePool", b"GlobalAveragePoet")
    )
    with pytest.raises(ModelError):
        load_model(bad, "cpu")
    assert capfd.readouterr() == ("", "")


class Clock:
    """A session whose time is known: per batch and per film, in seconds."""

    def __init__(self, batch_s: float, film_s: float, n_fit: int = 64) -> None:
        self.now = 0.0
        self.batch_s, self.film_s, self.n_fit = batch_s, film_s, n_fit

    def run(self, inputs, outputs):
        if len(inputs) > self.n_fit:
            raise RuntimeError("Failed to allocate memory")
        self.now += self.batch_s + self.film_s * len(inputs)
        return [np.zeros((len(inputs), 1), np.float32)]


@pytest.mark.parametrize(
    ("clock", "max_bytes", "size"),
    [
        (Clock(0, 1), 1 << 30, 1),  # a CPU: nothing is gained
        (Clock(10, 1), 1 << 30, 64),  # a GPU that has to be woken for each batch
        (Clock(10, 1, n_fit=10), 1 << 30, 8),
        (Clock(10, 1), 20 * 4 * 32 * 32 * 60, 16),
        (Clock(10, 1), 0, 1),
        (Clock(10, 1, n_fit=0), 1 << 30, 1),
    ],
)
def test_the_batch_is_the_smallest_that_is_nearly_the_fastest_and_fits(
    tiny_model, monkeypatch, clock, max_bytes, size
):
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    assert choose_batch_size(replace(tiny_model, session=clock), max_bytes) == size


def test_a_batch_size_is_found_on_this_machine(tiny_model):
    assert choose_batch_size(tiny_model) in (1, 2, 4, 8, 16, 32, 64)


def test_golden_vectors_are_asked_of_what_really_serves(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", golden=golden_text(off_by=0.2))
    assert load_model(path, "cpu").drift() == pytest.approx(0.2, abs=1e-3)
