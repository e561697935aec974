"""The arithmetic of the benchmarks; times themselves are never tested."""

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import films, memory
from benchmarks.floor import int8_product, multiply_adds, reduction
from benchmarks.picture import draw
from benchmarks.reduced_decode import probabilities, share
from benchmarks.results import Measure, read, record, record_ratio
from benchmarks.turns import Interval, median, plain_environment, take_turns, timed
from cxr_edge.radiograph import read_radiograph
from cxr_edge.reading import find_radiographs
from tests.conftest import SAMPLES, make_film
from tests.tiny_model import write_tiny_model


@pytest.mark.skipif(sys.platform != "linux", reason="its memory is counted on Linux alone")
@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_memory_of_a_process_that_reads_films_is_counted(n_workers):
    counted = memory.read(SAMPLES, "*.jpg", memory.EVERY + 1, n_workers)
    assert len(counted["resident_mb"]) == 2
    assert 0 < max(counted["resident_mb"]) <= counted["peak_mb"]


def test_two_ways_take_turns_and_the_first_one_changes():
    said = []
    ways = [lambda: said.append("a") or 1.0, lambda: said.append("b") or 2.0]
    turns = take_turns(ways, n_turns=3, n_warm=1)
    assert "".join(said) == "baabbaab"
    assert turns.tolist() == [[1.0] * 3, [2.0] * 3]


def test_a_time_is_that_of_one_thing_and_each_is_worked_on():
    done = []
    assert timed(done.append, ["film 1", "film 2"], repeats=2) >= 0
    assert done == ["film 1", "film 2"] * 2


def test_the_interval_of_a_median_holds_it_and_narrows_with_more_turns():
    rng = np.random.default_rng(0)
    few, many = (median(rng.normal(3, 0.5, n)) for n in (10, 1000))
    for found in (few, many):
        assert found.low <= found.value <= found.high
    assert many.high - many.low < few.high - few.low
    assert abs(many.value - 3) < 0.1
    assert median(np.full(5, 2.0)) == Interval(2.0, 2.0, 2.0)


def test_a_measured_process_has_no_tuned_allocator(monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "PYTHONPATH"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HOME", "/home/someone")
    plain = plain_environment()
    assert plain["HOME"] == "/home/someone"
    assert not {"MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "PYTHONPATH"} & set(plain)


def network(*nodes: onnx.NodeProto, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """A network for images (n, 3, 8, 8) whose last node gives "logits"."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.zeros(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_multiply_adds_of_a_known_network():
    """3x3 with stride 2 and padding (4 x 4 results of 27 each), depthwise 3x3, and a Gemm."""
    node = helper.make_node
    model = network(
        node("Conv", ["x", "first"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "depthwise"], ["c"], group=16, pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c"], ["d"]),
        node("Flatten", ["d"], ["e"]),
        node("Gemm", ["e", "dense"], ["logits"], transB=1),
        first=(16, 3, 3, 3),
        depthwise=(16, 1, 3, 3),
        dense=(5, 16),
    )
    assert multiply_adds(model) == 16 * 16 * 27 + 16 * 16 * 9 + 5 * 16


def test_what_only_the_heatmaps_need_is_not_counted():
    node = helper.make_node
    model = network(
        node("Conv", ["x", "first"], ["a"]),
        node("Conv", ["a", "second"], ["heatmaps"]),
        node("Flatten", ["a"], ["b"]),
        node("MatMul", ["b", "dense"], ["logits"]),
        first=(2, 3, 1, 1),
        second=(7, 2, 3, 3),
        dense=(128, 4),
    )
    model.graph.output.append(
        helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["n", 7, 6, 6])
    )
    assert multiply_adds(model) == 64 * 2 * 3 + 128 * 4
    assert multiply_adds(model, "heatmaps") == 64 * 2 * 3 + 36 * 7 * 18


def test_multiply_adds_of_the_tiny_model(tmp_path):
    assert multiply_adds(onnx.load(write_tiny_model(tmp_path / "t.onnx", n_outputs=3))) == 3


def test_the_peak_rate_comes_from_a_product_that_onnxruntime_runs():
    assert int8_product()()[0].shape == (512, 512)


def test_a_jpeg_is_reduced_as_long_as_twice_the_input_is_left():
    assert reduction((2000, 2500), 224) == 4
    assert reduction((896, 3000), 224) == 2
    assert reduction((895, 895), 224) == 1
    assert reduction((3584, 3584), 224) == 8


def test_the_share_of_flips_has_wilsons_interval():
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 ends at 0.1611."""
    found = share(81, 263)
    assert (found.low, found.high) == (
        pytest.approx(25.53, abs=0.01),
        pytest.approx(36.62, abs=0.01),
    )
    none = share(0, 20)
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(16.11, abs=0.01))


def test_the_fast_and_the_full_decoding_of_a_film_can_be_compared(tiny_model, tmp_path):
    film = make_film(tmp_path / "film.jpg", side=256)
    fast, full = (probabilities(film, tiny_model, side) for side in (64, 0))
    assert fast["pneumonia"][0] == pytest.approx(full["pneumonia"][0], abs=0.01)


def measure(key: str, value: float, at_least: bool, unit: str = "times") -> Measure:
    figure = Interval(value, value - 0.1, value + 0.1)
    return Measure(key, "as fast", figure, unit, 2.0, at_least, {"ours_ms": 1.5, "films": "made"})


def test_a_target_is_met_from_its_own_side():
    assert measure("k", 2.0, True).met
    assert not measure("k", 1.9, True).met
    assert measure("k", 2.0, False).met
    assert not measure("k", 2.1, False).met
    assert measure("k", 1.9, True).line().startswith("MISSED 1.90 times (1.80 to 2.00), >= 2")


def test_a_measure_takes_the_place_of_the_one_before_it(tmp_path):
    path = tmp_path / "results.json"
    for value in (1.0, 3.0):
        record(measure("second", value, True), path)
        record(measure("first", value, False), path)
    entries = read(path)
    assert list(entries) == ["first", "second"]
    assert entries["second"]["figure"]["value"] == 3.0
    assert entries["second"]["met"] and not entries["first"]["met"]
    assert entries["first"]["cpu"] and entries["first"]["packages"]["numpy"]


def test_a_ratio_is_ours_to_theirs_where_less_is_better(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.results.RESULTS", tmp_path / "r.json")
    monkeypatch.setattr(record, "__defaults__", (tmp_path / "r.json",))
    ours_s, theirs_s = np.array([0.1, 0.1]), np.array([0.3, 0.3])
    record_ratio("speed", "as fast", 2.0, ours_s, theirs_s, {"cores": 1})
    record_ratio("limit", "the time", 2.0, ours_s, theirs_s, {}, at_least=False)
    entries = json.loads((tmp_path / "r.json").read_text())
    assert entries["speed"]["figure"]["value"] == pytest.approx(3)
    assert entries["limit"]["figure"]["value"] == pytest.approx(1 / 3)
    assert entries["speed"]["details"] == {"ours_ms": 100.0, "theirs_ms": 300.0, "cores": 1}
    assert capsys.readouterr().out.count("met ") == 2


def test_the_picture_is_drawn_whatever_has_been_measured(tmp_path):
    path = tmp_path / "results.json"
    draw(read(path), tmp_path / "none.png")
    record(measure("eager-resnet50", 12.0, True), path)
    record(measure("memory-peak", 90.0, False, "MB"), path)
    record(measure("startup-help", 1.2, False), path)
    draw(read(path), tmp_path / "some.png")
    for name in ("none.png", "some.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_mixed_folder_holds_films_that_can_all_be_read(tmp_path):
    folder = films.mixed_folder(tmp_path / "films", 12)
    paths = list(find_radiographs(folder))
    assert len(paths) == 12
    assert {path.suffix for path in paths} == {".jpg", ".png", ".dcm"}
    kinds = {(r.bits_stored, r.pixels.dtype.name) for r in map(read_radiograph, paths)}
    assert {bits for bits, _ in kinds} >= {8, 12, 16}


def test_the_made_film_has_the_bits_of_a_hospitals_films(tmp_path):
    """0.55 to 2.4 bits per pixel, 0.78 in the median of Kermany's full-size films."""
    (path,) = films.named_or_made([], tmp_path)
    found = films.conditions([path])
    assert found["megapixels"] == 5.0
    assert 0.7 < found["bits_per_pixel"] < 0.9
