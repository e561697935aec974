"""Films in memory, as the runtime prepares them, and what a network makes of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import InputSpec
from cxr_edge.preprocess import min_side_px, to_grey
from cxr_edge.radiograph import read_radiograph

from .films import Film, raise_unreadable

Progress = Callable[[Sequence[Film], str], Iterator[Film]]


@dataclass(frozen=True)
class Films:
    """Films in memory. pixels: uint8 (N, 1, H, W) as prepared; labels: float32 (N, K)."""

    pixels: Tensor
    labels: Tensor
    patients: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)


def cache_films(
    films: Sequence[Film], findings: Sequence[str], spec: InputSpec, progress: Progress, title: str
) -> Films:
    """Read and prepare every film once, through the runtime's own code.

    findings: the network's outputs, "no finding" among them where they exclude each other.
    Raises TrainError that names each film which cannot be read or is refused.
    """
    pixels = np.empty((len(films), 1, spec.height_px, spec.width_px), np.uint8)

    def read(index: int) -> str:
        try:
            grey = to_grey(read_radiograph(films[index].path, min_side_px(spec)), spec)
        except RadiographError as exc:
            return f"{films[index].path}: {exc}"
        pixels[index, 0] = np.rint(grey * 255)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        each = zip(progress(films, title), pool.map(read, range(len(films))), strict=True)
        faults = [fault for _, fault in each if fault]
    raise_unreadable(faults)
    labels = torch.tensor([[name in film.labels for name in findings] for film in films]).float()
    return Films(
        torch.from_numpy(pixels),
        labels.view(len(films), len(findings)),
        tuple(film.group for film in films),
        tuple(film.source for film in films),
    )


def to_input(grey: Tensor, spec: InputSpec) -> Tensor:
    """Grey films (N, 1, H, W) from 0 to 1 to the network's input (N, C, H, W), on their device.

    preprocess.normalise for tensors; a test holds that both give the same.
    """
    mean, std = (torch.tensor(v, device=grey.device).view(-1, 1, 1) for v in (spec.mean, spec.std))
    return ((grey - mean) / std).contiguous(memory_format=torch.channels_last)


def reduced(grey: Tensor, side_px: int) -> Tensor:
    """Films (N, 1, H, W) as small ones (N, 1, side_px, side_px)."""
    return F.interpolate(
        grey, size=(side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    )


@torch.inference_mode()
def infer(
    network: nn.Module, films: Films, spec: InputSpec, batch_size: int = 64, side_px: int = 0
) -> NDArray[np.float32]:
    """Logits (N, K) of films as they are, without augmentation; side_px: of reduced films."""
    network.eval()
    device = next(network.parameters()).device
    logits = []
    for pixels in films.pixels.split(batch_size):
        grey = pixels.to(device).float() / 255
        grey = reduced(grey, side_px) if side_px else grey
        logits.append(network(to_input(grey, spec)).float().cpu().numpy())
    return np.concatenate(logits)
