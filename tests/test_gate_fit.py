"""What a gate's head reads, how it is fitted and becomes a part of the model, and its figures."""

from collections.abc import Iterable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

import export.gate.images
from cxr_edge.errors import RefusedError
from cxr_edge.gate import TOLD, UNLIKE_TRAINING, check_outputs, distance
from cxr_edge.interpret import to_probability
from cxr_edge.model import GATE_OUTPUTS
from cxr_edge.model_card import READABLE, SOFTMAX, Gate
from cxr_edge.model_file import MODELS_FOLDER, without_heatmaps
from cxr_edge.preprocess import normalise
from cxr_edge.proportion import wilson
from cxr_edge.refusals import Refusals
from export.convert import HEATMAPS_NAME, INPUT_NAME, OUTPUT_NAME
from export.errors import ExportError
from export.gate.attach import with_gate, without_gate
from export.gate.examine import figures_of, lines_of, refused_by
from export.gate.fit import MAX_REFUSED, FittedGate, Looked, fit_gate
from export.gate.head import N_FEATURES, THOROUGH, USUAL, Effort
from export.gate.images import AS_THEY_ARE, look_at
from export.gate.taps import GRID, TAPS_NAME, taps_of, with_taps
from export.gate.train_head import weights_of
from export.quantize import open_network
from tests.small_gate import (
    FILMS,
    MAPS,
    SIDE_PX,
    SPEC,
    chest,
    fp32_of,
    int8_of,
    some_head,
    some_whitening,
)
from train.negatives import HELD_OUT, KINDS

NETWORKS = list(MAPS)
PRECISIONS = {"fp32": fp32_of, "int8": int8_of}
INPUTS = FILMS[:, 0]  # (N, 1, H, W)


def run(model: onnx.ModelProto, names: Iterable[str]) -> list[NDArray[np.float32]]:
    return open_network(model, 1).run(list(names), {INPUT_NAME: INPUTS})


def read_at(model: onnx.ModelProto) -> list[tuple[str, int]]:
    """The operator that makes each map that the taps are taken of, and the map's number of cells
    that are averaged to one; the finest first."""
    tapped = with_taps(model, 3)
    makers = {output: node for node in tapped.graph.node for output in node.output}
    found = []
    for name in makers[TAPS_NAME].input:
        node, cell = makers[name], 1
        if node.name.startswith("gate_pool"):
            cell = node.attribute[0].ints[0]
            node = makers[node.input[0]]
        if node.op_type == "DequantizeLinear":  # the map as it is stored
            node = makers[makers[node.input[0]].input[0]]
        found.append((node.output[0], cell))
    return found


# --- Taps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_taps_are_the_last_sum_of_three_resolutions_averaged_to_one_grid(name: str) -> None:
    model = fp32_of(name)
    at = read_at(model)
    assert [cell * GRID for _, cell in at] == [side for _, side in MAPS[name]]
    taps = taps_of(open_network(with_taps(model, 3), 1), INPUTS)
    assert taps.shape == (len(INPUTS), sum(n for n, _ in MAPS[name]), GRID, GRID)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=map_name) for map_name, _ in at)
    maps = run(watched, [map_name for map_name, _ in at])
    cells = [
        whole.reshape(*whole.shape[:2], GRID, cell, GRID, cell).mean((3, 5))
        for whole, (_, cell) in zip(maps, at, strict=True)
    ]
    np.testing.assert_allclose(taps, np.concatenate(cells, 1), atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_read_at_the_same_places_as_fp32_and_says_nearly_the_same(name: str) -> None:
    fp32, int8 = fp32_of(name), int8_of(name)
    assert read_at(int8) == read_at(fp32)
    right, near = (taps_of(open_network(with_taps(one, 3), 1), INPUTS) for one in (fp32, int8))
    apart = np.sqrt(np.square(near - right).mean()) / right.std()
    assert 0 < apart < 0.25  # of networks that have learned nothing
    # A map is read as it is stored, so that onnxruntime works it out in int8 as before.
    stored = {node.input[0] for node in int8.graph.node if node.op_type == "QuantizeLinear"}
    read = {name for node in with_taps(int8, 3).graph.node[-3:] for name in node.input}
    assert not stored & read


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("pneumonia-children", [32, 96, 160]),
        ("pneumonia-children.fp32", [32, 96, 160]),
        ("pneumonia-children-resnet18", [128, 256, 512]),
    ],
)
def test_networks_of_224_px_are_read_at_28_14_and_7_cells(name: str, channels: list[int]) -> None:
    model = without_gate(onnx.load(MODELS_FOLDER / f"{name}.onnx"))
    assert [cell for _, cell in read_at(model)] == [4, 2, 1]
    taps = with_taps(model, 3).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in taps[1:]] == [sum(channels), GRID, GRID]
    twin = MODELS_FOLDER / f"{name}.fp32.onnx"
    if twin.is_file():
        assert read_at(without_gate(onnx.load(twin))) == read_at(model)


def test_a_network_too_small_for_a_gate_is_refused_with_the_size_to_train_at() -> None:
    with pytest.raises(ExportError, match="of 0 sizes that 7 divides; a gate reads 3") as info:
        with_taps(pools(), 3)
    assert "224 px" in info.value.next_step


# --- The head in the graph -----------------------------------------------------------------------


@pytest.mark.parametrize("effort", [USUAL, THOROUGH])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gate_says_in_the_graph_what_its_head_says_and_changes_no_other_output(
    name: str, precision: str, effort: Effort
) -> None:
    model = PRECISIONS[precision](name)
    tapped = open_network(with_taps(model, effort.n_resolutions), 1)
    taps = taps_of(tapped, INPUTS)
    head, whitening = some_head(taps.shape[1], width=effort.width), some_whitening()
    gated = with_gate(model, head, whitening, effort.n_resolutions)
    with torch.inference_mode():
        conditions, embedded = (given.numpy() for given in head(torch.from_numpy(taps)))
    expected = conditions, embedded @ whitening
    own = OUTPUT_NAME, HEATMAPS_NAME
    *same, in_graph, features = run(gated, [*own, *GATE_OUTPUTS])
    for given, right in zip((in_graph, features), expected, strict=True):
        # Weights are kept in half precision: 11 bits.
        assert np.abs(given - right).max() < 4 * 2**-11 * np.abs(right).max()
    for given, before in zip(same, run(model, own), strict=True):
        assert (given == before).all()  # to the bit
    one_by_one = open_network(gated, 1)
    singly = [one_by_one.run(list(GATE_OUTPUTS), {INPUT_NAME: film[None]}) for film in INPUTS]
    for given, single in zip((in_graph, features), zip(*singly, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(single), given, atol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gate_can_be_taken_out_again_and_replaced(precision: str) -> None:
    model = PRECISIONS[precision]("mobilenet_v2")
    n_channels = sum(n for n, _ in MAPS["mobilenet_v2"])
    before = model.SerializeToString(deterministic=True)
    first = with_gate(model, some_head(n_channels, 3), some_whitening(), 3)
    assert model.SerializeToString(deterministic=True) == before
    assert without_gate(first).SerializeToString(deterministic=True) == before
    assert without_gate(model).SerializeToString(deterministic=True) == before
    head, whitening = some_head(n_channels, 5), some_whitening()[:, :7]
    second = with_gate(first, head, whitening, 3)
    once = with_gate(model, head, whitening, 3)
    assert second.SerializeToString(deterministic=True) == once.SerializeToString(
        deterministic=True
    )
    conditions, features = run(second, GATE_OUTPUTS)
    assert (conditions.shape, features.shape) == ((len(INPUTS), 5), (len(INPUTS), 7))


def test_without_its_heatmaps_a_model_keeps_its_gate() -> None:
    model = fp32_of("resnet18")
    gated = with_gate(model, some_head(sum(n for n, _ in MAPS["resnet18"])), some_whitening(), 3)
    pruned = onnx.load_from_string(without_heatmaps(gated.SerializeToString()))
    names = (OUTPUT_NAME, *GATE_OUTPUTS)
    assert [output.name for output in pruned.graph.output] == list(names)
    for given, whole in zip(run(pruned, names), run(gated, names), strict=True):
        assert (given == whole).all()


# --- Fitting -------------------------------------------------------------------------------------

CODES = {READABLE: 0, "inverted": 1, "rotated_180": 2}
N_CHANNELS = 6


def made_taps(code: str, source: str, n: int, seed: int) -> NDArray[np.float16]:
    """Noise, and where a bright row of cells lies tells the code; sources differ in level."""
    rng = np.random.default_rng([seed, CODES[code]])
    taps = rng.normal(0, 1, (n, N_CHANNELS, GRID, GRID))
    taps[:, :3, 2 * CODES[code]] += 4
    return (taps + (0.5 if source == "b" else 0.0)).astype(np.float16)


def looked(seed: int, *rows: tuple[str, str, int]) -> Looked:
    """rows: code, source and how many; each code has one kind, of its name."""
    codes, sources, numbers = zip(*rows, strict=True)
    taps = [made_taps(*row, 10 * seed + i) for i, row in enumerate(rows)]
    code = np.repeat(codes, numbers)
    return Looked(np.concatenate(taps), code, code, np.repeat(sources, numbers))


LEARNED = (
    (READABLE, "a", 150),
    (READABLE, "b", 75),
    ("inverted", "a", 75),
    ("rotated_180", "a", 40),
    ("rotated_180", "b", 35),
)
HELD = ((READABLE, "a", 300), (READABLE, "b", 100))


@pytest.fixture(scope="module")
def fitted() -> FittedGate:
    return fit_gate(looked(1, *LEARNED), looked(2, *HELD), "made taps", USUAL, iter)


def test_a_gate_tells_apart_what_it_learned(fitted: FittedGate) -> None:
    gate = fitted.gate
    assert gate.conditions == (READABLE, "inverted", "rotated_180")
    assert (gate.fitted_on, gate.figures) == ("made taps", ())
    unseen = looked(3, (READABLE, "a", 50), ("inverted", "b", 50), ("rotated_180", "a", 50))
    codes = refused_by(*fitted.answer(unseen.taps), gate)
    assert np.mean(codes == np.where(unseen.code == READABLE, "", unseen.code)) > 0.97


def test_films_unlike_any_other_lie_far_and_are_refused(fitted: FittedGate) -> None:
    readable = looked(3, (READABLE, "a", 50)).taps
    near = distance(fitted.answer(readable)[1], fitted.gate)
    assert 0.7 < np.median(near) < 1.5
    strange = (readable * np.float16(4)).astype(np.float16)
    codes = refused_by(*fitted.answer(strange), fitted.gate)
    assert min(distance(fitted.answer(strange)[1], fitted.gate)) > max(near)
    assert set(codes) == {UNLIKE_TRAINING}


def test_within_the_sources_features_vary_alike_and_alone_around_a_centre_of_each(
    fitted: FittedGate,
) -> None:
    learned = looked(1, *LEARNED)
    readable = learned.code == READABLE
    _, features = fitted.answer(learned.taps[readable])
    source = learned.source[readable]
    assert features.shape[1] == N_FEATURES == len(fitted.gate.centres[0])
    centres = np.stack([features[source == name].mean(0) for name in ("a", "b")])
    np.testing.assert_allclose(fitted.gate.centres, centres, atol=1e-3)
    within = features - centres[(source == "b").astype(int)]
    covariance = within.T @ within / len(within)
    # A little less than 1: directions in which hardly anything varies are held down.
    assert 0.3 < covariance.diagonal().min() <= covariance.diagonal().max() < 1.01
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 0.01


@pytest.mark.parametrize("max_refused", [MAX_REFUSED, 0.02])
@pytest.mark.parametrize("n_films", [100, 400, 1001])
def test_no_more_readable_films_are_refused_than_may_be(n_films: int, max_refused: float) -> None:
    """Some of those held out look like something else: the limits give way to all but a few."""
    odd = looked(4, ("inverted", "a", n_films // 10))
    held = looked(2, (READABLE, "a", n_films - len(odd)))
    held = Looked(
        np.concatenate([held.taps, odd.taps]),
        np.array([READABLE] * n_films),
        np.array([READABLE] * n_films),
        np.array(["a"] * n_films),
    )
    fitted = fit_gate(looked(1, *LEARNED), held, "made taps", USUAL, iter, max_refused)
    n_allowed = int(max_refused * (n_films - 1))
    conditions, features = fitted.answer(held.taps)
    sure = to_probability(conditions, SOFTMAX, 1.0)[:, 0]
    assert np.sum(sure < fitted.gate.min_readable) == n_allowed
    far = np.array(distance(features, fitted.gate))
    assert np.sum(far > fitted.gate.max_distance) <= n_allowed
    assert np.sum(1.2 * far > fitted.gate.max_distance) >= n_allowed


def test_no_gate_asks_for_more_than_one_half(fitted: FittedGate) -> None:
    sure = to_probability(fitted.answer(looked(2, *HELD).taps)[0], SOFTMAX, 1.0)[:, 0]
    assert np.quantile(sure, MAX_REFUSED) > 0.5
    assert fitted.gate.min_readable == 0.5


def test_a_gate_fitted_again_is_the_same_whatever_else_was_held_out(fitted: FittedGate) -> None:
    torch.manual_seed(7)  # nor does it matter what was drawn before
    held = looked(2, *HELD, ("inverted", "a", 100))
    again = fit_gate(looked(1, *LEARNED), held, "made taps", USUAL, iter)
    assert again.gate == fitted.gate
    assert (again.whitening == fitted.whitening).all()
    for name, tensor in fitted.head.state_dict().items():
        assert torch.equal(again.head.state_dict()[name], tensor), name


def test_rare_conditions_and_kinds_weigh_as_much_as_frequent_ones() -> None:
    condition = np.array([0] * 6 + [1] * 4 + [2] * 2)
    kind = np.array([0] * 4 + [1] * 2 + [2] * 3 + [3] + [4] * 2)
    weight = weights_of(condition, kind)
    assert weight.mean() == pytest.approx(1)
    total = {k: weight[kind == k].sum() / weight.sum() for k in range(5)}
    assert total == pytest.approx({0: 1 / 4, 1: 1 / 4, 2: 1 / 8, 3: 1 / 8, 4: 1 / 4})


# --- Made images ---------------------------------------------------------------------------------


def pools(side_px: int = SIDE_PX) -> onnx.ModelProto:
    """In place of a network: taps that are the film itself, 7 x 7 cells."""
    cell = side_px // GRID
    shape = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, side, side])
        for name, side in ((INPUT_NAME, side_px), (TAPS_NAME, GRID))
    ]
    node = helper.make_node(
        "AveragePool",
        [INPUT_NAME],
        [TAPS_NAME],
        kernel_shape=[cell, cell],
        strides=[cell, cell],
    )
    graph = helper.make_graph([node], "pools", shape[:1], shape[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


FEW = ("rotated_180", "inverted", "inverted_windowed", "as_elsewhere", "scanned")


@pytest.fixture
def few_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = tuple(kind for kind in KINDS if kind.name in FEW)
    monkeypatch.setattr(export.gate.images, "KINDS", kinds)


def pixels_of(n: int, first: int = 0) -> NDArray[np.uint8]:
    return np.stack([chest(i % 2 == 1, first + i)[:SIDE_PX, :SIDE_PX] for i in range(n)])


def test_films_are_looked_at_as_they_are_and_as_every_kind_as_many_of_each_source(
    few_kinds: None,
) -> None:
    films = {"a": pixels_of(5), "b": pixels_of(2, 5)}
    got = look_at(films, pools(), SPEC, 6, 4, (), 1, "made")
    numbers = {
        (AS_THEY_ARE, "a"): 5,
        (AS_THEY_ARE, "b"): 2,
        **{(name, source): 3 for name in FEW[:3] for source in "ab"},
        **{(name, source): 2 for name in FEW[3:] for source in "ab"},
    }
    pairs = list(zip(got.kind.tolist(), got.source.tolist(), strict=True))
    assert {pair: pairs.count(pair) for pair in pairs} == numbers
    assert len(got) == len(got.taps) == len(got.code) == sum(numbers.values())
    codes = {kind.name: kind.code for kind in KINDS} | {AS_THEY_ARE: READABLE}
    assert got.code.tolist() == [codes[name] for name in got.kind.tolist()]
    whole = normalise(np.concatenate(list(films.values())).astype(np.float32) / 255, SPEC)
    right = whole.reshape(7, 1, GRID, 16, GRID, 16).mean((3, 5))
    np.testing.assert_allclose(got.taps[:7], right, atol=0.01)


def test_every_source_lends_a_film_to_each_kind_even_where_few_images_are_made(
    few_kinds: None,
) -> None:
    films = {name: pixels_of(1, i) for i, name in enumerate("abc")}
    got = look_at(films, pools(), SPEC, 2, 1, (), 1, "made")
    assert all(set(got.source[got.kind == kind]) == {*"abc"} for kind in FEW)


def test_what_is_held_out_is_not_made_and_what_is_not_asked_for_neither(few_kinds: None) -> None:
    films = {"a": pixels_of(3)}
    got = look_at(films, pools(), SPEC, 0, 2, HELD_OUT, 1, "made")
    assert set(got.kind) == {AS_THEY_ARE, "as_elsewhere"}


def test_the_same_seed_makes_the_same_images_and_another_one_others(few_kinds: None) -> None:
    films = {"a": pixels_of(3)}
    one, same, other = (look_at(films, pools(), SPEC, 3, 3, (), seed, "") for seed in (1, 1, 2))
    assert (one.taps == same.taps).all()
    made = one.kind != AS_THEY_ARE
    assert (one.taps[made] != other.taps[made]).any(axis=(1, 2, 3)).all()
    assert (one.taps[~made] == other.taps[~made]).all()


# --- Its figures ---------------------------------------------------------------------------------


def test_codes_of_many_images_are_those_that_a_film_of_a_site_is_refused_with() -> None:
    rng = np.random.default_rng(0)
    gate = Gate((READABLE, *sorted(TOLD)), 0.3, ((0.0,) * 4, (2.0,) * 4), 1.0, "", ())
    conditions = rng.normal(size=(400, len(gate.conditions))).astype(np.float32)
    conditions[:, 0] += 2
    features = rng.normal(1, 1, (400, 4)).astype(np.float32)
    codes = refused_by(conditions, features, gate)
    assert len(set(codes)) == len(TOLD) + 2
    for code, condition, feature in zip(codes, conditions, features, strict=True):
        try:
            far = check_outputs(condition, feature, gate, Refusals())
        except RefusedError as exc:
            assert code == exc.code
        else:
            assert code == ""
            assert far <= gate.max_distance


def test_figures_are_those_of_hand_counted_images() -> None:
    rows = [  # source, kind, what it is, what it was refused with
        ("a", AS_THEY_ARE, READABLE, ""),
        ("a", AS_THEY_ARE, READABLE, ""),
        ("a", AS_THEY_ARE, READABLE, "lateral"),
        ("b", AS_THEY_ARE, READABLE, ""),
        ("a", "moved", READABLE, ""),
        ("b", "scanned", READABLE, "unlike_training"),  # held out
        ("a", "inverted", "inverted", "inverted"),
        ("a", "inverted", "inverted", "lateral"),
        ("b", "inverted_windowed", "inverted", ""),  # held out
        ("b", "swirl", "not_a_chest_film", "not_a_chest_film"),  # held out
    ]
    source, kind, code, given = (np.array(column) for column in zip(*rows, strict=True))
    images = Looked(np.zeros((len(rows), 1, GRID, GRID), np.float16), code, kind, source)
    figures = figures_of(given, images)
    assert {figure.name: (figure.value, figure.n_films) for figure in figures} == {
        "accepted: films of a, as they are": (2 / 3, 3),
        "accepted: films of b, as they are": (1.0, 1),
        "accepted: films changed as other hospitals' may look": (0.5, 2),
        "refused: all kinds together": (0.75, 4),
        "refused: kinds that the gate was not fitted on": (0.5, 2),
        "refused: inverted": (2 / 3, 3),
        "refused: not_a_chest_film": (1.0, 1),
    }
    assert all((f.low, f.high) == wilson(f.value, f.n_films) for f in figures)
    lines = {line.split("  ")[0]: line.split()[-2:] for line in lines_of(given, images)}
    assert lines["as they are"] == ["4", "25.0%"]
    assert lines["inverted"] == ["100.0%", "50.0%"]
    assert lines["inverted_windowed*"] == ["0.0%", "0.0%"]
    assert lines["scanned*"] == ["1", "100.0%"]
