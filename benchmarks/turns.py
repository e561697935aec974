"""Two ways of doing the same thing take turns, so that a noisy machine disturbs both alike."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A median and its 95 % interval by bootstrap over the turns."""

    value: float
    low: float
    high: float


def use_cores(n_cores: int) -> None:
    """Keep this process, and every library in it, on the last `n_cores` of its cores.

    Called before the libraries start their threads. Where the system cannot (Windows, macOS) the
    thread counts alone hold.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, last_cores(n_cores))
    import cv2

    cv2.setNumThreads(n_cores)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(n_cores)


def last_cores(n_cores: int) -> set[int]:
    """The numbers of the last cores that this process may use: the first serve the system."""
    return set(sorted(os.sched_getaffinity(0))[-n_cores:])


def plain_environment() -> dict[str, str]:
    """The environment of a process to be measured: as a user has it, with no tuned allocator."""
    tuned = ("MALLOC_", "OMP_", "MKL_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(tuned)}


def timed(work: Callable[[Any], object], things: Sequence[Any], repeats: int = 1) -> float:
    """Seconds per thing: the median over `repeats` rounds, so that each way finds itself warm."""
    rounds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for thing in things:
            work(thing)
        rounds.append((time.perf_counter() - started) / len(things))
    return statistics.median(rounds)


def take_turns(
    ways: Sequence[Callable[[], float]], n_turns: int, n_warm: int = 1
) -> NDArray[np.float64]:
    """What each way returned in each turn, (ways, turns); the order is turned round every time."""
    turns = np.empty((len(ways), n_turns + n_warm))
    for turn in range(n_turns + n_warm):
        order = range(len(ways)) if turn % 2 else reversed(range(len(ways)))
        for way in order:
            turns[way, turn] = ways[way]()
    return turns[:, n_warm:]


def median(values: NDArray[np.float64]) -> Interval:
    """Of a ratio per turn (turns,); bootstrap: Efron 1979, percentiles of 2,000 medians."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return Interval(float(np.median(values)), float(low), float(high))
