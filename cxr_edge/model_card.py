"""The model card: what a model file says of itself, as strict JSON inside the .onnx.

Nothing here has a default: a fact that is missing is an error, never a guess.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .errors import ModelError
from .strict import from_data

SCHEMA_VERSION = 3
METADATA_KEY = "cxr_edge.model_card"
SIGMOID, SOFTMAX = "sigmoid", "softmax"
INT8, FP32, FP16 = "int8", "fp32", "fp16"
NO_FINDING = "no finding"
READABLE = "readable"
N_SCORE_BINS = 20
N_DISTANCE_BINS = 10

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
class UnsureBand:
    """Where a probability says too little: from `low` on and below `high`, around the threshold.

    coverage: of films with the finding, and of films without, at least this part is answered
    rightly or with "unsure", as far as films are like those that it was fitted on: patients held
    out of training, n_present films with the finding and n_absent without (split conformal for
    each label: Vovk 2012, arXiv:1209.2673; export/unsure.py).
    """

    finding: str
    low: float
    high: float
    coverage: float
    n_present: int
    n_absent: int
    measured_on: str

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"the unsure band of {self.finding} must rise within 0 to 1")
        if not 0 < self.coverage < 1:
            raise ValueError(f"the coverage of {self.finding} must lie between 0 and 1")


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
class Gate:
    """How the model tells what it cannot read, by outputs of its own network; see gate.py.

    conditions: one per output of `conditions` (N, G): "readable" first, then codes of refusals. A
    film is refused where the probability of "readable" among them is below min_readable.
    centres: in the space of the output `features` (N, D), which training scaled so that readable
    films have a variance of 1 every way. A film whose nearest centre lies farther than max_distance
    (of the mean square over D) is unlike anything that the model learned from.
    figures: which part of the films of each source, or images of each kind, was refused, on films
    and kinds that it was not fitted on.
    """

    conditions: tuple[str, ...]
    min_readable: float
    centres: tuple[tuple[float, ...], ...]
    max_distance: float
    fitted_on: str
    figures: tuple[Figure, ...]

    def __post_init__(self) -> None:
        if self.conditions[:1] != (READABLE,) or len(set(self.conditions)) != len(self.conditions):
            raise ValueError(f"the gate's conditions must be {READABLE!r} and others, each once")
        if not 0 <= self.min_readable <= 1:
            raise ValueError("min_readable must lie between 0 and 1")
        if not self.centres or len({len(centre) for centre in self.centres}) != 1:
            raise ValueError("the gate's centres must be there, and of one length")
        if not self.max_distance > 0:
            raise ValueError("max_distance must be positive")


@dataclass(frozen=True)
class FindingScores:
    """A finding's probabilities on labelled films: how many films lie in each of N_SCORE_BINS bins
    of equal width from 0 to 1, the upper edge of each belonging to the next."""

    finding: str
    present: tuple[int, ...]
    absent: tuple[int, ...]

    def __post_init__(self) -> None:
        for counts in (self.present, self.absent):
            if len(counts) != N_SCORE_BINS or min(counts) < 0:
                raise ValueError(f"the scores of {self.finding} must be {N_SCORE_BINS} counts")


@dataclass(frozen=True)
class Reference:
    """What the model made of films of patients held out of training: a site's films are compared
    with it (drift.py).

    n_films: with those refused. distances: of the others, how many lie in each of N_DISTANCE_BINS
    bins, whose inner edges distance_edges are; both empty where there is no gate.
    """

    measured_on: str
    n_films: int
    n_refused: int
    scores: tuple[FindingScores, ...]
    distance_edges: tuple[float, ...]
    distances: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.n_refused <= self.n_films:
            raise ValueError("there cannot be more films refused than there are")
        if (len(self.distance_edges), len(self.distances)) not in (
            (0, 0),
            (N_DISTANCE_BINS - 1, N_DISTANCE_BINS),
        ):
            raise ValueError(f"distances must be {N_DISTANCE_BINS} counts with the edges between")


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
    views: tuple[str, ...]
    licence: str
    gate: Gate | None
    unsure: tuple[UnsureBand, ...]
    reference: Reference | None

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
        points = {point.finding: point for point in self.operating_points}
        for band in self.unsure:
            if band.finding not in points:
                raise ValueError(f"{band.finding} is unsure about nothing that the model judges")
            if not band.low <= points[band.finding].threshold <= band.high:
                raise ValueError(f"the unsure band of {band.finding} must hold its threshold")

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
