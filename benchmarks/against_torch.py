"""From a JPEG to its findings: cxr-edge against a script of Pillow and PyTorch eager.

    python -m benchmarks.against_torch [FILM ...]

One core, everything loaded and warm. The script does what the usual ones do: Image.open, convert
to the network's channels, resize (Pillow's bilinear filter, which is also torchvision's Resize on
an image), to a tensor, normalise, forward in inference mode with contiguous tensors in fp32. It
runs the same network as the shipped model, with as many input channels; the last measure is the
shipped MobileNet-V2 against an RGB ResNet-50, which is what such projects run. Weights do not
matter for the time. Without FILM a 5-megapixel JPEG is made (see films.py).
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cxr_edge import load_model, predict
from train.networks import build

from .films import conditions, named_or_made
from .results import record_ratio
from .turns import take_turns, timed, use_cores

N_TURNS = 40
# key, our model, their network and its channels (None: those of our model), target
MEASURES = (
    ("eager-mobilenet-v2", "pneumonia-children", "mobilenet_v2", None, 3.0),
    ("eager-resnet18", "pneumonia-children-resnet18", "resnet18", None, 2.3),
    ("eager-resnet50", "pneumonia-children", "resnet50", 3, 7.0),
)


def main() -> None:
    use_cores(1)
    with tempfile.TemporaryDirectory() as folder:
        films = named_or_made(sys.argv[1:], Path(folder))
        for key, name, network, channels, target in MEASURES:
            model = load_model(name, device="cpu", threads=1)
            script = pillow_and_torch(network, channels or model.card.input.channels)
            ours_s, theirs_s = take_turns(
                [
                    partial(timed, partial(predict, model=model), films, 3),
                    partial(timed, script, films, 3),
                ],
                N_TURNS,
            )
            record_ratio(
                key,
                f"as fast: our {name} as Pillow + PyTorch eager with a {network} of "
                f"{channels or model.card.input.channels} channel(s), film to findings",
                target,
                ours_s,
                theirs_s,
                conditions(films),
            )


def pillow_and_torch(name: str, n_channels: int) -> Callable[[Path], float]:
    """The script: a film's probability by the network of that name, fp32."""
    network = build(name, 1, n_channels).eval()
    mean = torch.tensor([0.485, 0.456, 0.406][:n_channels])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225][:n_channels])[:, None, None]

    @torch.inference_mode()
    def script(film: Path) -> float:
        image = Image.open(film).convert("RGB" if n_channels == 3 else "L")
        image = image.resize((224, 224), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).view(224, 224, n_channels)
        x = pixels.permute(2, 0, 1).contiguous().float().div(255)
        return torch.sigmoid(network(((x - mean) / std)[None])).item()

    return script


if __name__ == "__main__":
    main()
