"""cxr-edge reads chest X-rays offline. Not for diagnostic use.

>>> from cxr_edge import load_model, predict
>>> model = load_model()
>>> predict("image.jpg", model)[0].probability
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import CxrEdgeError, RefusedError, UnreadableError
    from .model import Model, load_model
    from .reading import predict
    from .result import Finding, Result

__version__ = "0.1.0"
__all__ = [
    "CxrEdgeError",
    "Finding",
    "Model",
    "RefusedError",
    "Result",
    "UnreadableError",
    "__version__",
    "load_model",
    "predict",
]

# onnxruntime (from 1.29 on, but on Windows) identifies this device and reports each start to its
# maker over the network, unless this is set before it is first imported (onnxruntime #27379).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOME = {
    "CxrEdgeError": "errors",
    "RefusedError": "errors",
    "UnreadableError": "errors",
    "Finding": "interpret",
    "Model": "model",
    "load_model": "model",
    "Result": "reading",
    "predict": "reading",
}


def __getattr__(name: str) -> Any:
    # No module is named like a public function: importing one would hide the other.
    # Imported on first use: OpenCV and numpy would make `cxr-edge --help` wait.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
