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

from ..quantize import open_network
from .fit import Looked
from .taps import taps_of

AS_THEY_ARE = "as they are"
_BATCH = 32


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

    films: prepared, by source, uint8 (N, H, W); some of each. tapped: the network, see with_taps.
    n_refused: images of each kind that is to be refused; n_readable: of each that is not; as many
    from each source, and one at least. without: kinds that are left out. seed: other images for
    another one. title: of the progress bar.
    """
    session = open_network(tapped)
    numbers = {
        kind: -(-(n_readable if kind.code == READABLE else n_refused) // len(films))
        for kind in KINDS
        if kind.name not in without
    }
    n_all = sum(map(len, films.values())) + len(films) * sum(numbers.values())
    taps = np.empty((n_all, *session.get_outputs()[0].shape[1:]), np.float16)
    codes: list[str] = []
    kinds: list[str] = []
    sources: list[str] = []
    with tqdm(total=n_all, desc=title, leave=False, disable=None) as bar:

        def add(images: NDArray[np.uint8], code: str, kind: str, source: str) -> None:
            for at in range(0, len(images), _BATCH):
                part = images[at : at + _BATCH]
                inputs = normalise(part.astype(np.float32) / np.float32(255), spec)
                taps[len(codes) : len(codes) + len(part)] = taps_of(session, inputs)
                codes.extend([code] * len(part))
                kinds.extend([kind] * len(part))
                sources.extend([source] * len(part))
                bar.update(len(part))

        for source, pixels in films.items():
            add(pixels, READABLE, AS_THEY_ARE, source)
        for kind, n in numbers.items():
            for source, pixels in films.items():
                rng = np.random.default_rng([seed, zlib.crc32(f"{kind.name} {source}".encode())])
                chosen = rng.permutation(np.resize(np.arange(len(pixels)), max(n, len(pixels))))[:n]
                add(make(kind, pixels[chosen], rng), kind.code, kind.name, source)
    return Looked(taps, np.array(codes), np.array(kinds), np.array(sources))
