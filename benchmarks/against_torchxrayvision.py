"""From a JPEG to its findings: cxr-edge against torchxrayvision's own script.

    pip install torchxrayvision
    python -m benchmarks.against_torchxrayvision [FILM ...]

One core, everything loaded and warm: the lines of its scripts/process_image.py (skimage's imread,
normalize, centre crop, resizer, DenseNet-121 at 224 pixels), with random weights, which take the
same time. Its import asks for torchvision but these lines call nothing of it; where torchvision is
not installed an empty module stands in.
"""

import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cxr_edge import load_model, predict

from .films import conditions, named_or_made
from .results import record_ratio
from .turns import take_turns, timed, use_cores

N_TURNS = 15


def main() -> None:
    use_cores(1)
    script = process_image()
    model = load_model(device="cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        films = named_or_made(sys.argv[1:], Path(folder))
        ours_s, theirs_s = take_turns(
            [
                partial(timed, partial(predict, model=model), films, 3),
                partial(timed, script, films),
            ],
            N_TURNS,
        )
        record_ratio(
            "torchxrayvision",
            "as fast: our MobileNet-V2 as torchxrayvision's script with its DenseNet-121",
            4.0,
            ours_s,
            theirs_s,
            conditions(films),
        )


def process_image() -> Callable[[Path], np.ndarray]:
    """The lines of its script, from a path to the 18 outputs."""
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.transforms", "torchvision.models"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
        sys.modules["torchvision"].models = sys.modules["torchvision.models"]
    try:
        import skimage.io
        import torchxrayvision as xrv
    except ImportError as exc:
        sys.exit(f"torchxrayvision cannot be loaded ({exc}): pip install torchxrayvision")
    crop, resize = xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(224)
    # As its weights="densenet121-res224-all" builds it; without them no threshold is applied.
    network = xrv.models.DenseNet(num_classes=18).eval()

    def script(film: Path) -> np.ndarray:
        image = xrv.datasets.normalize(skimage.io.imread(film), 255, reshape=True)
        image = resize(crop(image))
        with torch.no_grad():
            return network(torch.from_numpy(image).unsqueeze(0)).numpy()

    return script


if __name__ == "__main__":
    main()
