"""INFER: a model file becomes a Model; prepared radiographs become logits."""

import contextlib
import ctypes
import hashlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DeviceError, ModelError
from .model_card import METADATA_KEY, ModelCard

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
MODELS_FOLDER = Path(__file__).parent / "models"
DEFAULT_MODEL_PATH = MODELS_FOLDER / "pneumonia-children.onnx"

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_GET_A_MODEL = "Use the model shipped with cxr-edge or one written by `python -m export`."


@dataclass(frozen=True)
class Model:
    """A loaded model. provider: the execution provider that really serves it."""

    session: Any  # onnxruntime.InferenceSession, which has no type stubs
    card: ModelCard
    path: Path
    sha256: str
    provider: str

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inputs (N, C, H, W), as preprocess.prepare gives them, to logits (N, K)."""
        (name,) = (node.name for node in self.session.get_inputs())
        logits: NDArray[np.float32] = self.session.run(["logits"], {name: inputs})[0]
        return logits


def shipped_models() -> list[str]:
    """The names of the models that come with cxr-edge."""
    return sorted(path.stem for path in MODELS_FOLDER.glob("*.onnx"))


def load_model(
    path: str | Path = DEFAULT_MODEL_PATH, device: Device = "auto", threads: int = 0
) -> Model:
    """Load a model and its card.

    path: a model file, or the name of a shipped model (see shipped_models). device: "auto" takes
    CUDA where it works and the CPU elsewhere; "cuda" that cannot be had is an error. threads: for
    one radiograph; 0 takes every physical core.
    Raises ModelError: missing, not ONNX, no card or one that does not fit the network.
    Raises DeviceError: onnxruntime is not installed, or CUDA cannot be had.
    """
    path = MODELS_FOLDER / f"{path}.onnx" if str(path) in shipped_models() else Path(path)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelError(
            f"The model {path} cannot be read ({exc.strerror}).",
            f"Check the path given as --model, or name one of {', '.join(shipped_models())}.",
        ) from exc
    session, provider = _open_session(data, path, device, threads)
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"The model {path} carries no model card.", _GET_A_MODEL)
    card = ModelCard.from_json(text)
    _check_fit(session, card, path)
    logger.info("%s on %s", card.label, provider)
    return Model(session, card, path, hashlib.sha256(data).hexdigest(), provider)


def _open_session(data: bytes, path: Path, device: Device, threads: int) -> tuple[Any, str]:
    try:
        import onnxruntime
    except ImportError as exc:
        raise DeviceError(
            f"onnxruntime cannot be loaded ({exc}).",
            "Install cxr-edge[cpu], or cxr-edge[gpu] for NVIDIA cards. On Windows a missing DLL "
            "means that the Visual C++ runtime must be installed or updated.",
        ) from exc
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors reach the user through the exceptions below
    options.intra_op_num_threads = threads
    # Threads that spin between two radiographs burn the core that decodes the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    providers = [_CPU]
    reason = ""
    if device != "cpu":
        reason = why_no_cuda(onnxruntime)
        if not reason:
            providers.insert(0, _CUDA)
        elif device == "cuda":
            raise _no_cuda(reason)
        logger.info("%s", f"CUDA is not used: {reason}" if reason else "CUDA can be loaded")
    try:
        # From bytes, so that no external data file can be pulled in.
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    # onnxruntime raises its own pybind classes (InvalidProtobuf, InvalidGraph, Fail ...), which
    # share no base but Exception.
    except Exception as exc:
        text = " ".join(str(exc).split())[:200]
        raise ModelError(f"{path} is not a usable ONNX model ({text}).", _GET_A_MODEL) from exc
    # What was asked for is not what serves: onnxruntime falls back without an error.
    active = str(session.get_providers()[0])
    if device == "cuda" and active != _CUDA:
        raise _no_cuda("onnxruntime fell back to the CPU when the model was loaded")
    return session, active


def why_no_cuda(onnxruntime: Any) -> str:
    """Why CUDA cannot serve here, or "" where its libraries load."""
    if _CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA"
    # It prints what it misses, and the standard output belongs to the results.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        onnxruntime.preload_dlls()
    logger.debug("%s", said.getvalue())
    folder = Path(onnxruntime.__file__).parent / "capi"
    for name in ("onnxruntime_providers_cuda.dll", "libonnxruntime_providers_cuda.so"):
        library = folder / name
        if library.exists():
            try:
                # The provider expects this one in the process; loading it shows what is missing.
                shared = library.with_name(name.replace("_cuda", "_shared"))
                ctypes.CDLL(str(shared))
                ctypes.CDLL(str(library))
            except OSError as exc:
                return f"a CUDA library does not load: {exc}"
    return ""


def _no_cuda(reason: str) -> DeviceError:
    return DeviceError(
        f"CUDA cannot be used: {reason}.",
        "Install cxr-edge[gpu] (without onnxruntime beside it), the NVIDIA driver, CUDA and cuDNN, "
        "or run with --device cpu.",
    )


def _check_fit(session: Any, card: ModelCard, path: Path) -> None:
    """The graph's input and output must be what the card says."""
    spec = card.input
    inputs, outputs = session.get_inputs(), session.get_outputs()
    expected = [spec.channels, spec.height_px, spec.width_px]
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != expected:
        raise ModelError(
            f"{path}: the network takes {[node.shape for node in inputs]}, its card says "
            f"{expected} per radiograph.",
            _GET_A_MODEL,
        )
    shapes = {node.name: node.shape for node in outputs}
    if list(shapes.get("logits", ()))[1:] != [len(card.findings)]:
        raise ModelError(
            f"{path}: the network gives {shapes}, its card names {len(card.findings)} findings.",
            _GET_A_MODEL,
        )
