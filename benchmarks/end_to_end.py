"""Time per film, from file to findings: cxr-edge against Pillow + PyTorch eager, side by side.

    python benchmarks/end_to_end.py [FILM ...]

Both read the same files on one core, taking turns, so that a noisy machine disturbs both alike;
what is printed is a ratio with the 95 % interval of its median. Without FILM a 5-megapixel JPEG
is made from a sample. The PyTorch side runs the same network (fp32, the weights do not matter for
the time) as a script would: open with Pillow, resize, to tensor, forward.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from cxr_edge import load_model, predict

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from train.networks import build  # noqa: E402

N_TURNS = 40


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    films = [Path(name) for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        if not films:
            films = [five_megapixels(Path(folder) / "film.jpg")]
        model = load_model(device="cpu", threads=1)
        network = build("mobilenet_v2", 1, model.card.input.channels).eval()
        ours = timed(films, lambda film: predict(film, model))
        with_pillow = timed(films, lambda film: pillow_and_torch(film, network))
        ours_s, theirs_s = take_turns(ours, with_pillow)
    ratio = theirs_s / ours_s
    low, high = interval(ratio)
    print(f"{len(films)} film(s), {N_TURNS} turns, one core, {model.card.label}")
    print(f"cxr-edge           {np.median(ours_s) * 1000:7.1f} ms per film")
    print(f"Pillow + PyTorch   {np.median(theirs_s) * 1000:7.1f} ms per film")
    print(f"ratio              {np.median(ratio):7.2f} ({low:.2f} to {high:.2f})")


def five_megapixels(path: Path) -> Path:
    """A sample enlarged to 2500 x 2000 pixels, with the grain that a detector adds."""
    sample = cv2.imread(str(ROOT / "samples" / "normal-1.jpg"), cv2.IMREAD_GRAYSCALE)
    film = cv2.resize(sample, (2500, 2000), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    film += np.random.default_rng(0).normal(0, 2, film.shape)
    cv2.imwrite(str(path), np.clip(film, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return path


@torch.inference_mode()
def pillow_and_torch(film: Path, network: torch.nn.Module) -> float:
    image = Image.open(film).convert("L").resize((224, 224), Image.Resampling.BILINEAR)
    x = (torch.from_numpy(np.array(image)).float() / 255 - 0.449) / 0.226
    return torch.sigmoid(network(x[None, None])).item()


def timed(films: list[Path], work: Callable[[Path], object]) -> Callable[[], float]:
    def once() -> float:
        started = time.perf_counter()
        for film in films:
            work(film)
        return (time.perf_counter() - started) / len(films)

    return once


def take_turns(
    first: Callable[[], float], second: Callable[[], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each, (N_TURNS,) both, after three turns to warm up."""
    turns = [(first(), second()) for _ in range(N_TURNS + 3)][3:]
    return np.array(turns).T[0], np.array(turns).T[1]


def interval(values: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
