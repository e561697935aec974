"""How a page came about: when, by which command, with which software."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np
import onnxruntime
import torch

from cxr_edge import __version__


@dataclass(frozen=True)
class Provenance:
    """command: without the places where files lie here. versions: by name of the software."""

    date: str
    command: str
    versions: Mapping[str, str]


def provenance_of(command: str) -> Provenance:
    versions = {
        "cxr-edge": __version__,
        "Python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
        "PyTorch": torch.__version__,
    }
    return Provenance(datetime.now(UTC).date().isoformat(), command, versions)
