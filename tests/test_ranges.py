"""The ranges that int8 is given, by each way of choosing them."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from export.convert import INPUT_NAME, OUTPUT_NAME
from export.ranges import ENTROPY, METHODS, MIN_MAX, MSE, PERCENTILE, Range, observe

SIDE_PX = 64


def network() -> onnx.ModelProto:
    """relu(film), and its mean as the logit."""
    nodes = [
        helper.make_node("Relu", [INPUT_NAME], ["relu"], "relu"),
        helper.make_node("GlobalAveragePool", ["relu"], [OUTPUT_NAME], "pool"),
    ]
    values = [
        helper.make_tensor_value_info(name, 1, ["n", 1, side, side])
        for name, side in ((INPUT_NAME, SIDE_PX), (OUTPUT_NAME, 1))
    ]
    graph = helper.make_graph(nodes, "made", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module")
def films() -> NDArray[np.float32]:
    """Normal greys with a few that lie far out."""
    rng = np.random.default_rng(0)
    films = rng.normal(size=(16, 1, 1, SIDE_PX, SIDE_PX)).astype(np.float32)
    films[rng.random(films.shape) < 1e-4] *= 8
    return films


@pytest.fixture(scope="module")
def ranges(films: NDArray[np.float32]) -> dict[str, dict[str, Range]]:
    """By method and tensor."""
    seen = observe(network(), films)
    return {method: seen.ranges(method) for method in METHODS}


def rounding_error(values: NDArray[np.float32], low: float, high: float) -> float:
    """Mean squared error of the values through uint8 with this range."""
    step = (high - low) / 255
    zero = np.round(-low / step)
    whole = np.clip(np.round(values / step) + zero, 0, 255)
    return float(np.square((whole - zero) * step - values).mean())


@pytest.mark.parametrize("method", METHODS)
def test_every_activation_has_a_range_in_order_within_what_was_seen(
    ranges: dict[str, dict[str, Range]], films: NDArray[np.float32], method: str
) -> None:
    assert set(ranges[method]) == {INPUT_NAME, "relu", OUTPUT_NAME}
    whole = ranges[MIN_MAX]
    for name, (low, high) in ranges[method].items():
        assert low < high
        bin_width = (whole[name][1] - whole[name][0]) / 1000
        assert low >= min(whole[name][0], 0) - bin_width
        assert high <= whole[name][1] + bin_width


def test_min_max_is_what_was_seen(
    ranges: dict[str, dict[str, Range]], films: NDArray[np.float32]
) -> None:
    assert ranges[MIN_MAX][INPUT_NAME] == pytest.approx((films.min(), films.max()))
    assert ranges[MIN_MAX]["relu"] == pytest.approx((0, films.max()))


def test_the_percentile_leaves_out_what_lies_far_out(
    ranges: dict[str, dict[str, Range]], films: NDArray[np.float32]
) -> None:
    low, high = ranges[PERCENTILE][INPUT_NAME]
    assert films.min() < low < -3
    assert 3 < high < films.max()
    outside = ((films < low) | (films > high)).mean()
    assert 2e-5 < outside < 4e-4


def test_mse_is_about_as_good_as_the_best_of_all_ranges(
    ranges: dict[str, dict[str, Range]], films: NDArray[np.float32]
) -> None:
    values = films.ravel()
    ends = np.linspace(0.3, 1, 40)
    best = min(
        rounding_error(values, values.min() * low, values.max() * high)
        for low in ends
        for high in ends
    )
    found = rounding_error(values, *ranges[MSE][INPUT_NAME])
    assert found < 1.05 * best
    assert found < 0.95 * rounding_error(values, *ranges[MIN_MAX][INPUT_NAME])


def test_entropy_gives_a_range_that_holds_nearly_everything(
    ranges: dict[str, dict[str, Range]], films: NDArray[np.float32]
) -> None:
    low, high = ranges[ENTROPY][INPUT_NAME]
    assert low < 0 < high
    assert ((films < low) | (films > high)).mean() < 0.02
