"""Decisions that change where JPEG films are decoded at a reduced size, on real full-size films.

    python -m benchmarks.reduced_decode FILM_OR_FOLDER ...

Every film goes the runtime's own way twice, once with the reduction that `predict` uses and once
without; a flip is a finding that is positive in one and negative in the other. The interval is
Wilson's for a share (Wilson 1927).
"""

import math
import sys
from pathlib import Path

import numpy as np

from cxr_edge import load_model
from cxr_edge.interpret import interpret
from cxr_edge.model import Model, shipped_models
from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import read_radiograph
from cxr_edge.reading import expand

from .results import Measure, record
from .turns import Interval


def main() -> None:
    films = expand(Path(name) for name in sys.argv[1:])
    if not films:
        sys.exit("Name full-size films.")
    models = [load_model(name, device="cpu") for name in shipped_models()]
    n_reduced, flips, largest = 0, 0, 0.0
    for film in films:
        for model in models:
            fast = probabilities(film, model, min_side_px(model.card.input))
            full = probabilities(film, model, 0)
            flips += any(fast[name][1] != full[name][1] for name in full)
            largest = max(largest, *(abs(fast[name][0] - full[name][0]) for name in full))
        side = min_side_px(models[0].card.input)
        n_reduced += read_radiograph(film, side).pixels.size < read_radiograph(film).pixels.size
    n = len(films) * len(models)
    record(
        Measure(
            "reduced-decode",
            "of decisions change where a JPEG is decoded at a reduced size",
            share(flips, n),
            "%",
            0.2,
            False,
            {
                "films": len(films),
                "of_them_reduced": n_reduced,
                "models": len(models),
                "flips": flips,
                "largest_probability_change": largest,
            },
        )
    )


def probabilities(film: Path, model: Model, min_side: int) -> dict[str, tuple[float, bool]]:
    """Each finding's probability, and whether it is positive."""
    inputs = prepare(read_radiograph(film, min_side), model.card.input)
    findings = interpret(model.infer(inputs)[0], model.card)
    return {finding.name: (finding.probability, finding.positive) for finding in findings}


def share(n_hits: int, n: int) -> Interval:
    """Per cent, with Wilson's 95 % interval."""
    z2 = 1.96**2
    middle = (n_hits + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (n_hits * (n - n_hits) / n + z2 / 4)) / (n + z2)
    low, high = np.clip((middle - half, middle + half), 0, 1)
    return Interval(100 * n_hits / n, 100 * float(low), 100 * float(high))


if __name__ == "__main__":
    main()
