"""Small networks of 112 px, whose maps a gate can read, and made films for them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from cxr_edge.model_card import InputSpec, ModelCard
from export.convert import to_onnx
from export.gate.head import USUAL, Head
from export.quantize import fold, quantize
from export.ranges import MIN_MAX, observe
from tests.made import encode, film
from tests.small_onnx import grown_up, made_films
from tests.tiny_model import tiny_card
from train.config import Labels, SplitRule, default_input_spec
from train.data.films import load_films
from train.data.manifest import Entry, write_manifest
from train.data.split import make_split, write_split
from train.networks import Network
from train.networks.heads import LINEAR
from train.networks.mobilenet_v2 import MobileNetV2
from train.networks.resnet import BasicBlock, ResNet

SIDE_PX = 112
SPEC: InputSpec = replace(default_input_spec(), width_px=SIDE_PX, height_px=SIDE_PX)
N_FINDINGS = 1
FILMS = made_films(8, side_px=SIDE_PX)


def _mobilenet(n_outputs: int, n_channels: int, head: str = LINEAR) -> Network:
    """Up to the second block of 64 channels, with two blocks of each width at most."""
    network = MobileNetV2(n_outputs, n_channels, head)
    network.features = nn.Sequential(*network.features[:6], *network.features[7:9])
    network.classifier = nn.Linear(64, n_outputs)
    return network


NETWORKS: dict[str, Callable[..., Network]] = {
    "mobilenet_v2": _mobilenet,
    "resnet18": partial(ResNet, BasicBlock, (1, 1, 1, 1)),
}
# Channels and side of each map that the gate reads: what ends the last three stages whose maps are
# whole cells.
MAPS = {
    "mobilenet_v2": [(24, 28), (32, 14), (64, 7)],
    "resnet18": [(64, 28), (128, 14), (256, 7)],
}


def network_of(name: str) -> Network:
    torch.manual_seed(0)
    return grown_up(NETWORKS[name](N_FINDINGS, 1), FILMS)


@cache
def fp32_of(name: str) -> onnx.ModelProto:
    """As export writes it, batch norms folded. Everyone's: copy it before changing it."""
    return fold(to_onnx(network_of(name), SPEC))


@cache
def int8_of(name: str) -> onnx.ModelProto:
    fp32 = fp32_of(name)
    return quantize(fp32, observe(fp32, FILMS).ranges(MIN_MAX), depthwise_8_bits=False)


def some_head(n_channels: int, n_conditions: int = 4, width: int = USUAL.width) -> Head:
    """One that has learned nothing, of taps whose channels lie at different places."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    mean = torch.randn(n_channels, generator=generator)
    std = torch.rand(n_channels, generator=generator) + 0.2
    return Head(n_channels, n_conditions, mean, std, width).eval()


def some_whitening() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(48, 24)).astype(np.float32)


def chest(present: bool, number: int) -> NDArray[np.uint8]:
    """A made chest film of 128 x 120 px, none like another: with the finding its lower half is
    bright."""
    rng = np.random.default_rng(number)
    blots = rng.normal(0, 40, (16, 15)).repeat(8, 0).repeat(8, 1)
    grey = film(128, 120) / 2 + 40 + blots + rng.normal(0, 12, (128, 120))
    grey[64:] += 90 * present
    return np.clip(grey, 0, 255).astype(np.uint8)


def card_of(**facts: Any) -> ModelCard:
    """A card of these networks, without a gate; facts: what is otherwise."""
    return replace(tiny_card(), input=SPEC, **facts)


def write_film(path: Path, present: bool, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(chest(present, number), "PNG"))
    return path


def write_run(folder: Path, n_films: int = 48) -> tuple[Path, Path]:
    """A manifest of made films of two hospitals, half of them with pneumonia, and a split.csv."""
    entries = [
        Entry(
            write_film(folder / f"{i}.png", i % 2 == 1, i),
            ("pneumonia",) if i % 2 else (),
            str(i),
            f"hospital {i // 2 % 2}",
        )
        for i in range(n_films)
    ]
    manifest, split = folder / "manifest.csv", folder / "split.csv"
    write_manifest(entries, manifest)
    films = load_films(entries, Labels(("pneumonia",))).films
    write_split(make_split(films, SplitRule(0.25, 0.25), 0), split)
    return manifest, split
