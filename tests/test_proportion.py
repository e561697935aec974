"""What few films leave open."""

import pytest

from cxr_edge.proportion import Proportion, n_needed, wilson


@pytest.mark.parametrize(
    ("part", "n", "low", "high"),
    [
        # Newcombe 1998, table I, method 3.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
        (1, 20, 0.8389, 1),
    ],
)
def test_the_interval_is_as_published(part, n, low, high):
    assert wilson(part, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("part", [0.0, 0.5, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("reach", [0.02, 0.05])
def test_so_many_films_are_enough_and_one_less_is_not(part, reach):
    def width(n: int) -> float:
        low, high = wilson(part, n)
        return high - low

    n = n_needed(part, reach)
    assert width(n) <= 2 * reach < width(n - 1)


def test_there_is_no_part_of_nothing():
    assert Proportion.of(0, 0) is None
    assert Proportion.of(4, 20) == Proportion(0.2, *wilson(0.2, 20), 20)
