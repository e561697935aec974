"""The model card: what a model file says of itself, as strict JSON inside the .onnx.

Nothing here has a default: a fact that is missing is an error, never a guess.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .errors import ModelError
from .strict import from_data

SCHEMA_VERSION = 2
METADATA_KEY = "cxr_edge.model_card"
SIGMOID, SOFTMAX = "sigmoid", "softmax"
INT8, FP32, FP16 = "int8", "fp32", "fp16"
NO_FINDING = "no finding"

_GET_A_MODEL = "Use a model written by `python -m export`."


@dataclass(frozen=True)
class InputSpec:
    """How to feed the network; read by preprocess.prepare and by nothing else.

    resize: "squash" fits the whole radiograph to width_px x height_px, whatever its aspect ratio.
    black_percentile, white_percentile: of the resized grey values; they become 0 and 1, so that
    exposure and window settings do not matter.
    mean, std: of the network's training, on that 0 to 1 scale, one per channel.
    """

    width_px: int
    height_px: int
    channels: int
    resize: str
    black_percentile: float
    white_percentile: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.resize != "squash":
            raise ValueError(f"resize is {self.resize!r}; this version knows only 'squash'")
        if min(self.width_px, self.height_px) < 1:
            raise ValueError("width_px and height_px must be positive")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("mean and std need one number per channel")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        if not 0 <= self.black_percentile < self.white_percentile <= 100:
            raise ValueError("percentiles must rise within 0 to 100")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the probability, with what it gave, where, and how it was chosen."""

    finding: str
    threshold: float
    sensitivity: float
    specificity: float
    measured_on: str
    chosen_by: str

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"the threshold of {self.finding} must lie between 0 and 1")


@dataclass(frozen=True)
class TrainingData:
    """What the model learned from; digest is a sha256 over the films' own digests."""

    name: str
    digest: str
    n_films: int
    n_patients: int
    licence: str
    attribution: str


@dataclass(frozen=True)
class Figure:
    """One measured figure with its 95 % interval and the data it was measured on."""

    name: str
    value: float
    low: float
    high: float
    n_films: int
    measured_on: str


@dataclass(frozen=True)
class ModelCard:
    """Everything the runtime needs to know of a model, and everything a reader should.

    findings: one per output, in the order of the logits (N, K); where they exclude each other
    "no finding" may be one of them.
    activation, temperature: probability = activation(logit / temperature); see
    interpret.to_probability.
    operating_points: one per finding, "no finding" left out.
    recipe, quantization: how it was trained and quantized, as text by name.
    precision: "int8", "fp32" or "fp16". twin_sha256: of the same network's fp32 file, which lies
    beside this one and takes over where this precision drifts on a CPU; "" where there is none.
    """

    schema_version: int
    name: str
    version: str
    findings: tuple[str, ...]
    activation: str
    temperature: float
    input: InputSpec
    operating_points: tuple[OperatingPoint, ...]
    training_data: TrainingData
    recipe: Mapping[str, str]
    quantization: Mapping[str, str]
    precision: str
    twin_sha256: str
    figures: tuple[Figure, ...]
    intended_use: str
    age_range_years: tuple[float, float]
    licence: str

    def __post_init__(self) -> None:
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise ValueError("findings must be there, each once")
        judged = tuple(name for name in self.findings if name != NO_FINDING)
        if tuple(point.finding for point in self.operating_points) != judged:
            raise ValueError("there must be one operating point per finding, in the same order")
        if self.activation not in (SIGMOID, SOFTMAX):
            raise ValueError(
                f"activation is {self.activation!r}; this version knows 'sigmoid' and 'softmax'"
            )
        if self.activation == SIGMOID and judged != self.findings:
            raise ValueError(f"{NO_FINDING!r} is an output only where findings exclude each other")
        if not self.temperature > 0:
            raise ValueError("temperature must be positive")
        if self.precision not in (INT8, FP32, FP16):
            raise ValueError(
                f"precision is {self.precision!r}; this version knows 'int8', 'fp32' and 'fp16'"
            )
        if not re.fullmatch("([0-9a-f]{64})?", self.twin_sha256):
            raise ValueError("twin_sha256 must be 64 hexadecimal digits, or empty")
        if self.precision == FP32 and self.twin_sha256:
            raise ValueError("twin_sha256 must be empty where precision is 'fp32'")

    @property
    def label(self) -> str:
        """Name and version, as results show it."""
        return f"{self.name} {self.version}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Raises ModelError: not JSON, another schema version, a missing, unknown or bad fact."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ModelError(f"The model card is not valid JSON ({exc}).", _GET_A_MODEL) from exc
        version = data.get("schema_version") if isinstance(data, dict) else None
        if type(version) is not int or version != SCHEMA_VERSION:
            raise _other_schema(version)
        try:
            return from_data(cls, data)
        except (TypeError, ValueError) as exc:
            raise ModelError(f"The model card is not valid: {exc}.", _GET_A_MODEL) from exc


def _other_schema(version: object) -> ModelError:
    newer = type(version) is int and version > SCHEMA_VERSION
    return ModelError(
        f"The model card has schema version {version!r}; this cxr-edge reads {SCHEMA_VERSION}.",
        "The model was made for a newer cxr-edge: install that one."
        if newer
        else "Export the model again with this version, or use the one shipped with it.",
    )
