"""Opening an onnxruntime session: which provider serves, and the optimized graph kept for the next
start."""

import contextlib
import ctypes
import hashlib
import io
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .cpu import cpu_features, cpu_name
from .errors import DeviceError, ModelError
from .model_file import GET_A_MODEL, ModelFile

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda", "dml"]
CPU, CUDA, DML = "CPUExecutionProvider", "CUDAExecutionProvider", "DmlExecutionProvider"
# By the provider that serves: the device that asks for that one and no other.
DEVICE_OF: Mapping[str, Device] = {CPU: "cpu", CUDA: "cuda", DML: "dml"}
CUDA_OPTIONS = {
    # fp32 means fp32: TF32 drops 13 of its 23 bits, and results would differ from the CPU's.
    "use_tf32": "0",
    # The last batch of a folder is smaller, and an exhaustive search would time every size anew.
    "cudnn_conv_algo_search": "HEURISTIC",
}
# onnxruntime rounds to int8, and per tensor, what an export left in fp32 between int8 layers.
UNWANTED_OPTIMIZERS = ("WeightBiasQuantization",)
# DirectML takes one call at a time per session (onnxruntime.ai/docs/execution-providers, DirectML;
# onnxruntime #22147), and threads with a session each have hung since 1.18 (#20713).
_one_on_dml = threading.Lock()
_N_CACHED = 8
_DIGEST_BYTES = 32


@dataclass(frozen=True, eq=False)
class Session:
    """An open onnxruntime.InferenceSession (it has no type stubs).

    provider: the execution provider that really serves it. cached_at: the optimized graph that it
    was loaded from, None where it comes from the model file.
    """

    onnx: Any
    provider: str
    cached_at: Path | None = None

    def run(self, inputs: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Inputs (N, C, H, W) to the outputs of these names."""
        if self.provider == CUDA:
            return self.run_bound(inputs, outputs, "cuda")
        with _one_on_dml if self.provider == DML else contextlib.nullcontext():
            arrays: list[NDArray[np.float32]] = self.onnx.run(
                list(outputs), {self._input_name: inputs}
            )
        return arrays

    def run_bound(
        self, inputs: NDArray[np.float32], outputs: Sequence[str], device: str
    ) -> list[NDArray[np.float32]]:
        """The same with IO binding: one copy to the device, one back, and none in between."""
        import onnxruntime

        binding = self.onnx.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(inputs), device, 0)
        binding.bind_ortvalue_input(self._input_name, value)
        for name in outputs:
            binding.bind_output(name, device)
        self.onnx.run_with_iobinding(binding)
        arrays: list[NDArray[np.float32]] = binding.copy_outputs_to_cpu()
        return arrays

    @property
    def _input_name(self) -> str:
        return str(self.onnx.get_inputs()[0].name)


def open_session(
    file: ModelFile, device: Device = "auto", threads: int = 0, cache: Path | None = None
) -> Session:
    """Open a model file.

    device, threads: see model.load_model. cache: a folder for optimized graphs, so that the next
    start need not optimize again (9 ms instead of 22 for MobileNet-V2); trouble is no error.
    Raises ModelError: not a usable model. DeviceError: onnxruntime or the card cannot be had.
    ProgramError: onnxruntime is there, and does not load.
    """
    onnxruntime = import_onnxruntime()
    if device == "dml":
        reason = why_no_dml(onnxruntime)
        if not reason:
            session, reason = _open_on_card(onnxruntime, file, DML, threads)
            if session:
                return session
        raise cannot_be_had(device, reason)
    # "auto" never takes DirectML: no card has been measured with it yet, and the graphics in the
    # processor that most PCs offer by it may well be slower than the processor itself.
    if device != "cpu":
        reason = why_no_cuda(onnxruntime)
        if not reason:
            session, reason = _open_on_card(onnxruntime, file, CUDA, threads)
            if session:
                return session
        if device == "cuda":
            raise cannot_be_had(device, reason)
        logger.info("CUDA is not used: %s", reason)
    if cache is not None:
        return _open_cached(onnxruntime, file, threads, cache)
    return _create(onnxruntime, file.graph, file.path, _options(onnxruntime, threads), [CPU])


def why_no_cuda(onnxruntime: Any) -> str:
    """Why CUDA cannot serve here, or "" where its libraries load."""
    if CUDA not in onnxruntime.get_available_providers():
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


def why_no_dml(onnxruntime: Any) -> str:
    """Why DirectML cannot serve here, or "" where this onnxruntime has it."""
    if DML not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without DirectML"
    return ""


def import_onnxruntime() -> Any:
    """Raises DeviceError: it is not installed. ProgramError: it is, and does not load."""
    try:
        import onnxruntime
    except ImportError as exc:
        if exc.name == "onnxruntime":
            raise DeviceError(
                "onnxruntime is not installed.",
                "Install cxr-edge[cpu], cxr-edge[gpu] for NVIDIA cards, or cxr-edge[dml] for "
                "others on Windows.",
            ) from exc
        from .not_loaded import not_loaded

        raise not_loaded(exc) from exc
    # Windows collects its events, and may send them; elsewhere see __init__.py.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors reach the user through exceptions
    options.intra_op_num_threads = threads
    # Threads that spin between two radiographs burn the core that decodes the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A plan of its memory for each batch size: on a CPU no film is quicker for it, and the plan
    # takes time and memory itself.
    options.enable_mem_pattern = False
    return options


def _open_on_card(
    onnxruntime: Any, file: ModelFile, provider: str, threads: int
) -> tuple[Session | None, str]:
    """The session, or why there is none. Raises ModelError where that is the model's own fault."""
    options = _options(onnxruntime, threads)
    if provider == DML:
        # What its documentation demands, whatever onnxruntime takes where nothing is said.
        options.enable_mem_pattern = False
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        asked: list[Any] = [DML, CPU]
    else:
        options.enable_mem_pattern = True  # not measured there
        asked = [(CUDA, CUDA_OPTIONS), CPU]
    try:
        session = _create(onnxruntime, file.graph, file.path, options, asked)
    except ModelError as exc:
        _create(onnxruntime, file.graph, file.path, _options(onnxruntime, threads), [CPU])
        return None, exc.message.rstrip(".")
    # What was asked for is not what serves: onnxruntime falls back without an error.
    if session.provider != provider:
        return None, "onnxruntime fell back to the CPU when the model was loaded"
    return session, ""


def _create(
    onnxruntime: Any, data: bytes, path: Path, options: Any, providers: Sequence[Any]
) -> Session:
    try:
        # Trouble is printed, and the standard output belongs to the results. No falling back:
        # rows would go on naming the provider that has failed.
        with contextlib.redirect_stdout(io.StringIO()):
            session = onnxruntime.InferenceSession(
                data,
                options,
                providers=providers,
                disabled_optimizers=list(UNWANTED_OPTIMIZERS),
                enable_fallback=0,
            )
        session.disable_fallback()  # for versions that pass over the argument
        session._model_bytes = None  # kept for that fallback alone: the weights a second time
    # onnxruntime raises its own pybind classes (InvalidProtobuf, InvalidGraph, Fail ...), which
    # share no base but Exception.
    except Exception as exc:
        text = " ".join(str(exc).split())[:200]
        raise ModelError(f"{path} is not a usable ONNX model ({text}).", GET_A_MODEL) from exc
    return Session(session, str(session.get_providers()[0]))


def _open_cached(onnxruntime: Any, file: ModelFile, threads: int, cache: Path) -> Session:
    """On the CPU, from the optimized graph of an earlier start, or so that the next one finds it.

    A cached graph is a file like any other, and may be cut short, stale or changed: it is used only
    as it was written, and the golden vectors are put to what was loaded, whichever way.
    """
    cached = cache / f"{_cache_key(onnxruntime, file)}.onnx"
    try:
        with cached.open("rb", buffering=0) as stored:  # a buffer would copy the graph once more
            digest, graph = stored.read(_DIGEST_BYTES), stored.readall()
        if hashlib.sha256(graph).digest() == digest:
            options = _options(onnxruntime, threads)
            level = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = level.ORT_DISABLE_ALL  # it is done
            opened = _create(onnxruntime, graph, cached, options, [CPU])
            return Session(opened.onnx, opened.provider, cached)
        logger.debug("%s is damaged", cached)
    except (OSError, ModelError) as exc:
        logger.debug("no optimized graph: %s", exc)
    import tempfile  # 4 ms that a start with a kept graph has no use for

    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            options = _options(onnxruntime, threads)
            optimized = Path(folder) / "optimized.onnx"
            options.optimized_model_filepath = str(optimized)
            session = _create(onnxruntime, file.graph, file.path, options, [CPU])
            graph = optimized.read_bytes()
            complete = Path(folder) / cached.name
            complete.write_bytes(hashlib.sha256(graph).digest() + graph)
            complete.replace(cached)
        _forget_oldest(cache)
        return session
    # A read-only home, a full disk; or a bad model, and then the next line says so.
    except (OSError, ModelError) as exc:
        logger.debug("the optimized graph cannot be kept: %s", exc)
    return _create(onnxruntime, file.graph, file.path, _options(onnxruntime, threads), [CPU])


def _cache_key(onnxruntime: Any, file: ModelFile) -> str:
    """Of everything that an optimized graph depends on."""
    from . import __version__

    parts = (
        file.sha256,
        str(file.heatmaps),
        __version__,
        onnxruntime.__version__,
        cpu_name(),
        *sorted(cpu_features()),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _forget_oldest(cache: Path) -> None:
    files = sorted(cache.glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_N_CACHED:]:
        path.unlink(missing_ok=True)


def cannot_be_had(device: Device, reason: str) -> DeviceError:
    """The error of a --device "cuda" or "dml"."""
    if device == "dml":
        return DeviceError(
            f"DirectML cannot be used: {reason}.",
            "Install cxr-edge[dml] (without another onnxruntime beside it) on Windows 10 or later, "
            "update the graphics card's driver, or run with --device cpu.",
        )
    return DeviceError(
        f"CUDA cannot be used: {reason}.",
        "Install cxr-edge[gpu] (without onnxruntime beside it), the NVIDIA driver, CUDA and cuDNN, "
        "or run with --device cpu.",
    )
