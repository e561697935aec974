"""Films are decoded in a process that may die, for a model that runs in this one, and for people.

As in isolation.py, nothing that the process sends is believed more than a file would be.
"""

import math
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import decoder_process
from .decoder_process import (
    PICTURE,
    PICTURE_HEAD,
    PREPARED,
    PREPARED_HEAD,
    THUMBNAIL,
    Task,
)
from .display import Picture, size_at
from .isolation import Isolated, Limits, Messages, Nonsense, parsed
from .model_card import InputSpec
from .radiograph import MAX_PIXELS, Header

__all__ = ["IsolatedDecoder", "Limits", "Picture", "Prepared"]

_JPEG = b"\xff\xd8\xff"
_MAX_BESIDE_BYTES = 1 << 16
# Of a thumbnail, for each of its pixels and for its header.
_MAX_JPEG_BYTES_PER_PX, _MAX_JPEG_HEAD_BYTES = 2, 4096


@dataclass(frozen=True, eq=False)
class Prepared:
    """A film as the network gets it.

    inputs: float32 (1, C, H, W), see preprocess.prepare. full_shape: (H, W) of the film in the
    file. header, overruled: see Radiograph.
    """

    inputs: NDArray[np.float32]
    full_shape: tuple[int, int]
    header: Header
    overruled: tuple[str, ...]


@dataclass(frozen=True)
class Beside:
    """What the process tells of a film besides its pixels."""

    header: Header
    overruled: tuple[str, ...]


class IsolatedDecoder(Isolated):
    """Decodes films in a child process without a model.

    `prepare` raises what IsolatedReader.read does. `thumbnail` and `picture` raise the same, but
    also show what no model may judge: a lateral, another modality, colour (in grey), what is blank,
    too small or oddly shaped.
    """

    def __init__(
        self,
        spec: InputSpec,
        limits: Limits = Limits(),  # noqa: B008 (it is frozen)
        *,
        accepted: frozenset[str] = frozenset(),
        with_identifiers: bool = False,
    ) -> None:
        """accepted: codes of refusals that `prepare` overrules. with_identifiers: they are looked
        for."""
        self._spec = spec
        self._accepted = accepted
        task = Task(spec, accepted, with_identifiers, limits.memory_bytes)
        super().__init__(decoder_process.serve, task, b"", limits)

    def prepare(self, path: Path) -> Prepared:
        """The network's input."""
        n_values = self._spec.channels * self._spec.height_px * self._spec.width_px
        max_bytes = 4 + PREPARED_HEAD.size + 4 * n_values + _MAX_BESIDE_BYTES
        return self._ask(PREPARED, 0, path, self._prepared, max_bytes)

    def thumbnail(self, path: Path, side_px: int = 160) -> bytes:
        """A small JPEG, its longer side so many pixels, black and white as the network gets
        them."""
        max_bytes = _MAX_JPEG_HEAD_BYTES + _MAX_JPEG_BYTES_PER_PX * side_px**2
        return self._ask(THUMBNAIL, side_px, path, _thumbnail, max_bytes)

    def picture(self, path: Path, long_side_px: int = 2048) -> Picture:
        """The film's pixels for a viewer, its longer side at most so many."""
        max_bytes = 4 + PICTURE_HEAD.size + 2 * long_side_px**2
        answer = partial(_picture, long_side_px=long_side_px)
        return self._ask(PICTURE, long_side_px, path, answer, max_bytes)

    def _prepared(self, messages: Messages) -> Prepared:
        data = _only(PREPARED, messages)
        shape = 1, self._spec.channels, self._spec.height_px, self._spec.width_px
        end = PREPARED_HEAD.size + 4 * math.prod(shape)
        if len(data) < end:
            raise Nonsense
        full_shape = _full_shape(*PREPARED_HEAD.unpack_from(data))
        pixels = np.frombuffer(data[:end], "<f4", offset=PREPARED_HEAD.size)
        inputs = pixels.reshape(shape).astype(np.float32)
        beside = parsed(Beside, data[end:])
        if not np.isfinite(inputs).all() or not self._accepted.issuperset(beside.overruled):
            raise Nonsense
        return Prepared(inputs, full_shape, beside.header, beside.overruled)


def _only(expected: bytes, messages: Messages) -> bytes:
    """The data of the one message that answers. Raises Nonsense."""
    kind, data = next(messages)
    if kind != expected:
        raise Nonsense
    return data


def _thumbnail(messages: Messages) -> bytes:
    """Raises Nonsense."""
    data = _only(THUMBNAIL, messages)
    if not data.startswith(_JPEG):
        raise Nonsense
    return data


def _picture(messages: Messages, long_side_px: int) -> Picture:
    """Raises Nonsense."""
    data = _only(PICTURE, messages)
    try:
        height, width, n_bytes, windowed, white, *numbers = PICTURE_HEAD.unpack_from(data)
    except struct.error as exc:
        raise Nonsense from exc
    full_shape = _full_shape(height, width)
    if max(full_shape) > long_side_px:
        width, height = size_at(full_shape, long_side_px)
    low, high, slope, intercept = numbers
    if (
        n_bytes not in (1, 2)
        or len(data) != PICTURE_HEAD.size + n_bytes * height * width
        or windowed not in (0, 1)
        or not 1 <= white < 1 << 8 * n_bytes
        or not all(map(math.isfinite, numbers))
        or not low + 1 <= high + 1e-6
        or not slope
    ):
        raise Nonsense
    pixels = np.frombuffer(data, f"<u{n_bytes}", offset=PICTURE_HEAD.size).reshape(height, width)
    if pixels.max() > white:
        raise Nonsense
    return Picture(pixels, low, high, white, slope, intercept, bool(windowed), full_shape)


def _full_shape(height: int, width: int) -> tuple[int, int]:
    """Raises Nonsense."""
    if not 1 <= height * width <= MAX_PIXELS:
        raise Nonsense
    return height, width
