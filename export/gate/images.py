"""The images that a gate is fitted and examined on, with the network's taps of them."""

import zlib
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.model_card import InputSpec
from cxr_edge.preprocess import normalise
from train.negatives import KINDS, READABLE, make

from .fit import Looked
from .taps import taps_of

AS_THEY_ARE = "as they are"


def look_at(
    films: Mapping[str, NDArray[np.uint8]],
    tapped: onnx.ModelProto,
    spec: InputSpec,
    n_refused: int,
    n_readable: int,
    without: Collection[str],
    seed: int,
    title: str,
) -> Looked:
    """The films as they are, and images of every kind made of them.

    films: prepared, by source, uint8 (N, H, W). n_refused: images of each kind that is to be
    refused; n_readable: of each that is not; as many from each source. without: kinds that are left
    out. seed: other images for another one.
    """
    taps, codes, kinds, sources = [], [], [], []

    def add(images: NDArray[np.uint8], code: str, kind: str, source: str) -> None:
        inputs = normalise(images.astype(np.float32) / 255, spec)
        taps.append(taps_of(tapped, inputs))
        codes.extend([code] * len(images))
        kinds.extend([kind] * len(images))
        sources.extend([source] * len(images))

    for source, pixels in films.items():
        add(pixels, READABLE, AS_THEY_ARE, source)
    numbers = {
        kind: (n_readable if kind.code == READABLE else n_refused) // len(films)
        for kind in KINDS
        if kind.name not in without
    }
    wanted = [kind for kind, n in numbers.items() if n]
    for kind in tqdm(wanted, title, leave=False, disable=None):
        n = numbers[kind]
        for source, pixels in films.items():
            rng = np.random.default_rng([seed, zlib.crc32(f"{kind.name} {source}".encode())])
            chosen = rng.permutation(np.resize(np.arange(len(pixels)), max(n, len(pixels))))[:n]
            add(make(kind, pixels[chosen], rng), kind.code, kind.name, source)
    return Looked(np.concatenate(taps), np.array(codes), np.array(kinds), np.array(sources))
