"""A part of some films, with what so few or so many films leave open."""

from dataclasses import dataclass
from math import sqrt

# 95 % of a normal distribution.
_Z = 1.959964


@dataclass(frozen=True)
class Proportion:
    """A part of n with its 95 % interval after Wilson (1927)."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, k: int, n: int) -> "Proportion | None":
        """None where there is nothing to take a part of."""
        return cls(k / n, *wilson(k / n, n), n) if n else None


def wilson(part: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a part of n witnesses (Wilson 1927).

    n: above 0; no whole number where witnesses repeat each other.
    """
    middle = part + _Z**2 / (2 * n)
    half = _Z * sqrt(part * (1 - part) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    # At the ends rounding would leave a hair's breadth.
    low = 0.0 if part == 0 else (middle - half) / scale
    high = 1.0 if part == 1 else (middle + half) / scale
    return low, high


def n_needed(part: float, reach: float) -> int:
    """How many witnesses give such a part an interval that reaches from -reach to +reach.

    The least n at which Wilson's interval is no wider than 2 reach. Solved for n its width,
    2 z sqrt(part (1 - part) / n + z² / (4 n²)) / (1 + z² / n), is a quadratic: with w = 2 reach
    and v = part (1 - part),

        w² n² + (2 w² - 4 v) z² n + (w² - 1) z⁴ >= 0.

    For large n that is the known z² v / reach² (Buderer 1996).
    """
    wide, spread, z2 = (2 * reach) ** 2, part * (1 - part), _Z**2
    half = (wide - 2 * spread) * z2
    n = (sqrt(half**2 + wide * (1 - wide) * z2**2) - half) / wide
    return int(-(-n // 1))
