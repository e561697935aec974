"""From a JPEG to its findings: onnxruntime against OpenVINO with the same QDQ model file.

    pip install openvino
    python -m benchmarks.against_openvino [FILM ...]

One core. Reading, preparing and interpreting are cxr-edge's own on both sides; only the network
runs in OpenVINO, compiled with the hint "latency" and one inference thread.
"""

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_edge import load_model, predict
from cxr_edge.model import GATE_OUTPUTS, Outputs

from .films import conditions, named_or_made
from .results import record_ratio
from .turns import take_turns, timed, use_cores

N_TURNS = 40
MODELS = (
    ("openvino-mobilenet-v2", "pneumonia-children"),
    ("openvino-resnet18", "pneumonia-children-resnet18"),
)


def main() -> None:
    try:
        import openvino
    except ImportError:
        sys.exit("OpenVINO is missing: pip install openvino")
    use_cores(1)
    with tempfile.TemporaryDirectory() as folder:
        films = named_or_made(sys.argv[1:], Path(folder))
        for key, name in MODELS:
            model = load_model(name, device="cpu", threads=1)
            settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
            compiled = openvino.Core().compile_model(str(model.path), "CPU", settings)
            other = InOpenvino(model, compiled.create_infer_request())
            film = films[0]
            apart = abs(predict(film, model)[0].probability - predict(film, other)[0].probability)
            assert apart < 0.1, f"OpenVINO runs another model: its probability is {apart:.3f} off"
            ours_s, theirs_s = take_turns(
                [
                    partial(timed, partial(predict, model=model), films, 3),
                    partial(timed, partial(predict, model=other), films, 3),
                ],
                N_TURNS,
            )
            record_ratio(
                key,
                f"as fast: {name} in cxr-edge as with OpenVINO for its network, film to findings",
                1.0,
                ours_s,
                theirs_s,
                conditions(films),
            )


@dataclass(frozen=True)
class InOpenvino:
    """A model for `predict` whose network runs in OpenVINO."""

    model: Any
    request: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def answer(self, inputs: NDArray[np.float32], heatmaps: bool = False) -> Outputs:
        assert not heatmaps
        found = self.request.infer({0: inputs}, share_inputs=True)
        names = ["logits", *(GATE_OUTPUTS if self.model.card.gate else ())]
        return Outputs(**{name: np.asarray(found[name]) for name in names})


if __name__ == "__main__":
    main()
