"""Golden vectors: made films inside the model file, with the logits they must give.

int8 kernels differ from CPU to CPU (saturation without VNNI: onnxruntime's quantization guide), and
a model that was measured on one machine may drift on another. So each model is asked on the machine
it is to serve on, before it says anything about a patient.
"""

import base64
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .model_card import InputSpec, ModelCard
from .preprocess import normalise, to_grey
from .radiograph import Radiograph

GOLDEN_KEY = "cxr_edge.golden_vectors"
# Of a logit over the temperature: near 0.5 it moves a probability by 0.07, and less elsewhere.
MAX_DRIFT = 0.3
_MAX_SIDE_PX = 4096

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class GoldenVector:
    """A prepared film, 8-bit (H, W), and the K logits that the exporting machine got from it."""

    grey: NDArray[np.uint8]
    logits: tuple[float, ...]


def golden_grey(radiograph: Radiograph, spec: InputSpec) -> NDArray[np.uint8]:
    """A film prepared for a golden vector: uint8 (H, W)."""
    return np.rint(255 * to_grey(radiograph, spec)).astype(np.uint8)


def make_golden(
    infer: Infer, spec: InputSpec, greys: Iterable[NDArray[np.uint8]]
) -> tuple[GoldenVector, ...]:
    """Golden vectors of films as golden_grey gives them, with what `infer` makes of each.

    infer: (1, C, H, W) to logits (1, K), through the runtime and not through torch.
    """
    return tuple(
        GoldenVector(grey, tuple(round(float(logit), 5) for logit in infer(_inputs(grey, spec))[0]))
        for grey in greys
    )


def drift(infer: Infer, card: ModelCard, vectors: Sequence[GoldenVector]) -> float:
    """The largest difference of any logit from what it must be, over the card's temperature.

    Not a number where `infer` gives none. Raises ModelError where vectors do not fit the card.
    """
    size = (card.input.height_px, card.input.width_px)
    for vector in vectors:
        if vector.grey.shape != size or len(vector.logits) != len(card.findings):
            raise _bad("they do not fit the model's input and findings")
    differences = [
        np.abs(infer(_inputs(vector.grey, card.input))[0] - np.array(vector.logits)).max()
        for vector in vectors
    ]
    return float(np.max(differences)) / card.temperature


def holds(drift: float) -> bool:
    """Whether a model that drifts so far may be used."""
    return drift <= MAX_DRIFT  # false for what is no number


def to_text(vectors: Sequence[GoldenVector]) -> str:
    """As JSON, the films as PNG."""
    return json.dumps(
        [
            {
                "png": base64.b64encode(_encoded(vector.grey)).decode(),
                "logits": list(vector.logits),
            }
            for vector in vectors
        ]
    )


def from_text(text: str, n: int | None = None) -> tuple[GoldenVector, ...]:
    """The first n of them, or all. Raises ModelError: none there, not JSON, not films."""
    try:
        vectors = tuple(
            GoldenVector(
                _decoded(base64.b64decode(item["png"], validate=True)),
                tuple(float(logit) for logit in item["logits"]),
            )
            for item in json.loads(text)[:n]
        )
    except (ValueError, TypeError, KeyError, RecursionError, struct.error, cv2.error) as exc:
        raise _bad(f"{type(exc).__name__}: {exc}"[:200]) from exc
    if not vectors or not np.isfinite([x for v in vectors for x in v.logits]).all():
        raise _bad("there is none, or a logit that is no number")
    return vectors


def _inputs(grey: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """float32 (1, C, H, W)."""
    return normalise(grey[np.newaxis].astype(np.float32) / np.float32(255), spec)


def _encoded(grey: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


def _decoded(png: bytes) -> NDArray[np.uint8]:
    width, height = struct.unpack(">II", png[16:24])  # PNG (ISO/IEC 15948), 11.2.2 IHDR
    if not 0 < max(width, height) <= _MAX_SIDE_PX:
        raise ValueError(f"a film of {width} x {height} pixels")
    grey: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError("a film that is no PNG")
    return np.asarray(grey, np.uint8)


def _bad(why: str) -> ModelError:
    return ModelError(
        f"The model's golden vectors cannot be used ({why}).",
        "Use the model shipped with cxr-edge or one written by `python -m export`.",
    )
