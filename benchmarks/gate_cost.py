"""What telling films that cannot be read costs: a film with the model's gate and without it.

    python -m benchmarks.gate_cost

The network's gate outputs, and what the runtime makes of them, are taken away from the same model
file for the comparison.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from cxr_edge.model import Model, load_model
from cxr_edge.model_card import METADATA_KEY
from cxr_edge.model_file import shipped_models
from cxr_edge.reading import answer_by
from cxr_edge.refusals import ACCEPTABLE, Refusals
from cxr_edge.terms import STANDARD_TERMS
from export.gate.attach import without_gate

from .results import Measure, record
from .turns import median, take_turns, timed, use_cores

N_TURNS, N_FILMS = 40, 10
MAX_MS = 2.0


def main() -> None:
    use_cores(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in shipped_models():
            gated = load_model(name, "cpu", 1)
            bare = load_model(bare_file(gated, Path(folder) / f"{name}.onnx"), "cpu", 1)
            spec = gated.card.input
            shape = (1, spec.channels, spec.height_px, spec.width_px)
            films = [
                np.random.default_rng(seed).normal(size=shape).astype(np.float32)
                for seed in range(N_FILMS)
            ]
            gated_s, bare_s = take_turns(
                [partial(timed, partial(judge, model), films, 3) for model in (gated, bare)],
                N_TURNS,
            )
            record(
                Measure(
                    f"gate-cost-{name}",
                    f"more per film with the gate, network and judgement of {name}, one core",
                    median(1000 * (gated_s - bare_s)),
                    "ms",
                    MAX_MS,
                    False,
                    {
                        "with_ms": 1000 * float(np.median(gated_s)),
                        "without_ms": 1000 * float(np.median(bare_s)),
                    },
                )
            )


def judge(model: Model, film: np.ndarray) -> None:
    answer_by(model.answer(film), model.card, STANDARD_TERMS, Refusals(ACCEPTABLE))


def bare_file(model: Model, path: Path) -> Path:
    """The model without its gate."""
    bare = without_gate(onnx.load(model.path))
    for entry in bare.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = replace(model.card, gate=None).to_json()
    path.write_bytes(bare.SerializeToString())
    return path


if __name__ == "__main__":
    main()
