"""INFER: a model file becomes a Model; prepared radiographs become logits."""

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .gate import TOLD
from .golden import GOLDEN_KEY, MAX_DRIFT, GoldenVector, drift, from_text, holds
from .language import Message
from .model_card import ModelCard
from .model_file import (
    GET_A_MODEL,
    MODELS_FOLDER,
    ModelFile,
    read_model_file,
    shipped_models,
    twin_path,
)
from .session import CPU, Device, Session, cannot_be_had, open_session

__all__ = [
    "DEFAULT_MODEL_PATH",
    "MODELS_FOLDER",
    "Device",
    "Model",
    "choose_batch_size",
    "load_model",
    "open_model",
    "shipped_models",
]

logger = logging.getLogger(__name__)

DEFAULT_MODEL_PATH = MODELS_FOLDER / "pneumonia-children.onnx"
GATE_OUTPUTS = ("conditions", "features")
# A network's feature maps take about this many times the bytes of its input.
_BYTES_PER_INPUT_BYTE = 60


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the network gives of N films in one pass.

    logits: (N, K). conditions (N, G), features (N, D): see model_card.Gate; None where the card has
    none. heatmaps: (N, K, h, w), on the logit's scale, and above 0 where the film speaks for the
    finding: the class activation map, or Grad-CAM (train/networks/network.py); heatmap.evidence
    reads it. None where they were not asked for.
    """

    logits: NDArray[np.float32]
    conditions: NDArray[np.float32] | None = None
    features: NDArray[np.float32] | None = None
    heatmaps: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. golden_text: its golden vectors, as golden.to_text writes them."""

    session: Session
    card: ModelCard
    path: Path
    sha256: str
    golden_text: str

    @property
    def golden(self) -> tuple[GoldenVector, ...]:
        """All its golden vectors. Raises ModelError where they are none."""
        return from_text(self.golden_text)

    @property
    def provider(self) -> str:
        """The execution provider that really serves it."""
        return self.session.provider

    @property
    def gives_heatmaps(self) -> bool:
        return "heatmaps" in (node.name for node in self.session.onnx.get_outputs())

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inputs (N, C, H, W), as preprocess.prepare gives them, to logits (N, K)."""
        return self.session.run(inputs, ("logits",))[0]

    def answer(self, inputs: NDArray[np.float32], heatmaps: bool = False) -> Outputs:
        """All that the network gives of films (N, C, H, W) in that pass.

        heatmaps: for a model that was loaded with them (see load_model).
        """
        names = ["logits"]
        if self.card.gate is not None:
            names += GATE_OUTPUTS
        if heatmaps:
            names += ["heatmaps"]
        return Outputs(**dict(zip(names, self.session.run(inputs, names), strict=True)))

    def drift(self, n: int | None = None) -> float:
        """How far it is from what it said where it was made, on its first n golden vectors or all.

        In logits over the temperature; see golden.drift. Raises ModelError where it cannot run.
        """
        try:
            return drift(self.infer, self.card, from_text(self.golden_text, n))
        except ModelError:
            raise
        # onnxruntime's own classes, see session.open_session.
        except Exception as exc:
            raise ModelError(f"{self.path} does not run ({exc!s:.200}).", GET_A_MODEL) from exc


def load_model(
    path: str | Path = DEFAULT_MODEL_PATH,
    device: Device = "auto",
    threads: int = 0,
    *,
    sha256: str = "",
    cache: Path | None = None,
    heatmaps: bool = False,
) -> Model:
    """Load a model and its card, and ask it its first golden vector before anything else.

    path: a model file, or the name of a shipped model (see shipped_models). device: "auto" takes
    CUDA where it works and the CPU elsewhere; "cuda" or "dml" (DirectML) that cannot be had is an
    error. threads: for one radiograph; 0 takes every physical core. sha256: what the file's must
    be, where it is known. cache: a folder for optimized graphs (store.user_cache_folder), which
    make the next start quicker. heatmaps: whether it is to give them too
    (Model.answer).

    Where the model drifts on this machine by more than golden.MAX_DRIFT its fp32 twin is loaded in
    its place, with a warning.
    Raises ModelError: missing, changed, not ONNX, no card or one that does not fit the network, no
    golden vectors, or drift with no twin that holds.
    Raises DeviceError: onnxruntime is not installed, or the device cannot be had. ProgramError: it
    is installed, and does not load.
    """
    path = MODELS_FOLDER / f"{path}.onnx" if str(path) in shipped_models() else Path(path)
    file = read_model_file(path, sha256, heatmaps)
    model, drifted = _asked(file, device, threads, cache)
    if not holds(drifted):
        model = _twin(model, drifted, device, threads, cache)
    logger.info("%s on %s", model.card.label, model.provider)
    return model


def open_model(
    file: ModelFile, device: Device = "auto", threads: int = 0, cache: Path | None = None
) -> Model:
    """A model file as a Model that was not asked its golden vectors: see load_model."""
    if GOLDEN_KEY not in file.metadata:
        raise ModelError(
            Message(
                "The model {path} carries no golden vectors, so that nobody can tell whether it "
                "works on this machine.",
                path=file.path,
            ),
            GET_A_MODEL,
        )
    session = open_session(file, device, threads, cache)
    _check_fit(session, file.card, file.path)
    model = Model(session, file.card, file.path, file.sha256, file.metadata[GOLDEN_KEY])
    if file.heatmaps and not model.gives_heatmaps:
        raise ModelError(f"{file.path} gives no heatmaps.", GET_A_MODEL)
    return model


def choose_batch_size(model: Model, max_bytes: int = 1 << 30) -> int:
    """The batch size with which this model reads most films per second here: a short probe.

    Of 1, 2, 4 ... 64, the smallest that comes within 5 % of the best. max_bytes: what a batch may
    take, by a rule of thumb; one that does not fit after all ends the search.
    """
    spec = model.card.input
    film = np.zeros((1, spec.channels, spec.height_px, spec.width_px), np.float32)
    films_per_s: dict[int, float] = {}
    for size in (1, 2, 4, 8, 16, 32, 64):
        if size > 1 and size * film.nbytes * _BYTES_PER_INPUT_BYTE > max_bytes:
            break
        batch = np.repeat(film, size, axis=0)
        try:
            model.infer(batch)  # the first of a size plans its memory
            took_s = min(_timed(model, batch) for _ in range(3))
        # onnxruntime's own class for memory that cannot be had, see session.open_session.
        except Exception as exc:
            logger.info("a batch of %s films does not fit: %s", size, exc)
            break
        films_per_s[size] = size / took_s
        logger.debug("batch %s: %.0f films/s", size, films_per_s[size])
    best = max(films_per_s.values(), default=0.0)
    return min((size for size, speed in films_per_s.items() if speed >= 0.95 * best), default=1)


def _timed(model: Model, batch: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    model.infer(batch)
    return time.perf_counter() - started


def _asked(
    file: ModelFile, device: Device, threads: int, cache: Path | None
) -> tuple[Model, float]:
    """The model, and its drift on its first golden vector."""
    model = open_model(file, device, threads, cache)
    try:
        drifted = model.drift(1)
    except ModelError as exc:
        if model.provider == CPU:
            raise
        # A card that the installed CUDA has no code for shows here first.
        if device != "auto":
            raise cannot_be_had(device, exc.message.rstrip(".")) from exc
        logger.warning("CUDA is not used: %s", exc.message)
        return _asked(file, "cpu", threads, cache)
    if not holds(drifted) and model.session.cached_at is not None:
        logger.debug("%s drifts by %.3g and is made anew", model.session.cached_at, drifted)
        with contextlib.suppress(OSError):
            model.session.cached_at.unlink(missing_ok=True)
        model = open_model(file, device, threads)
        drifted = model.drift(1)
    return model, drifted


def _twin(model: Model, drifted: float, device: Device, threads: int, cache: Path | None) -> Model:
    """The fp32 twin of a model that drifts. Raises ModelError where there is none that holds."""
    trouble = (
        f"{model.card.label} ({model.card.precision}) drifts by {drifted:.2f} on this machine "
        f"({model.provider}), more than {MAX_DRIFT}"
    )
    try:
        if not model.card.twin_sha256:
            raise ModelError("it has no fp32 twin")
        file = read_model_file(twin_path(model.path), model.card.twin_sha256, model.gives_heatmaps)
        twin, of_twin = _asked(file, device, threads, cache)
        if not holds(of_twin):
            raise ModelError(f"its fp32 twin drifts by {of_twin:.2f}")
    except ModelError as exc:
        raise ModelError(
            f"{trouble}, and {exc.message.rstrip('.')}.",
            "Use another model (`cxr-edge model list`), and send the output of `cxr-edge doctor` "
            "to whoever made this one.",
        ) from exc
    logger.warning(
        "%s. Its fp32 twin %s reads the films in its place: slower, and right.", trouble, file.path
    )
    return twin


def _check_fit(session: Session, card: ModelCard, path: Path) -> None:
    """The graph's input and output must be what the card says."""
    spec = card.input
    try:
        inputs = [node.shape for node in session.onnx.get_inputs()]
        shapes = {node.name: node.shape for node in session.onnx.get_outputs()}
    except UnicodeDecodeError as exc:
        raise ModelError(
            Message("{path} is not a usable ONNX model ({why}).", path=path, why=exc), GET_A_MODEL
        ) from exc
    expected = [spec.channels, spec.height_px, spec.width_px]
    if len(inputs) != 1 or list(inputs[0][1:]) != expected:
        raise ModelError(
            f"{path}: the network takes {inputs}, its card says {expected} per radiograph.",
            GET_A_MODEL,
        )
    if list(shapes.get("logits", ()))[1:] != [len(card.findings)]:
        raise ModelError(
            f"{path}: the network gives {shapes}, its card names {len(card.findings)} findings.",
            GET_A_MODEL,
        )
    gate = card.gate
    if gate is not None and (unknown := set(gate.conditions[1:]) - TOLD.keys()):
        raise ModelError(
            f"{path}: its gate tells of {', '.join(sorted(unknown))}, which this cxr-edge does not "
            "know.",
            GET_A_MODEL,
        )
    wanted = [[len(gate.conditions)], [len(gate.centres[0])]] if gate is not None else [[], []]
    if [list(shapes.get(name, ()))[1:] for name in GATE_OUTPUTS] != wanted:
        raise ModelError(
            f"{path}: the network gives {shapes}, which is not what its card says of its gate.",
            GET_A_MODEL,
        )
