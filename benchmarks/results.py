"""What was measured, as one line for a reader and one entry of results.json."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_edge.cpu import cpu_name

from .turns import Interval, median

RESULTS = Path(__file__).with_name("results.json")
_PACKAGES = (
    *("numpy", "opencv-python-headless", "onnxruntime", "pillow", "pydicom", "torch"),
    *("openvino", "torchxrayvision", "scikit-image"),
)


@dataclass(frozen=True)
class Measure:
    """One measure and what it must reach.

    key: its name in results.json. what: ends a sentence, "3.2 times as fast as ..." or, for a
    limit, "1.4 of 1.6 times the time of ...". unit: "times", "MB", "ms" or "%".
    at_least: whether more is better. details: milliseconds and conditions, by name.
    """

    key: str
    what: str
    figure: Interval
    unit: str
    target: float
    at_least: bool
    details: dict[str, str | float]

    @property
    def met(self) -> bool:
        value, target = self.figure.value, self.target
        return value >= target if self.at_least else value <= target

    def line(self) -> str:
        """One line for a reader."""
        figure, sign = self.figure, ">=" if self.at_least else "<="
        details = ", ".join(f"{name} {_short(value)}" for name, value in self.details.items())
        return (
            f"{'met   ' if self.met else 'MISSED'} {figure.value:.2f} {self.unit} "
            f"({figure.low:.2f} to {figure.high:.2f}), {sign} {self.target:g}: {self.what}. "
            f"{details}"
        )


def record_ratio(
    key: str,
    what: str,
    target: float,
    ours_s: NDArray[np.float64],
    theirs_s: NDArray[np.float64],
    details: Mapping[str, str | float],
    at_least: bool = True,
) -> None:
    """Record seconds (turns,) of both as a ratio: at_least of theirs to ours, otherwise at most of
    ours to theirs."""
    ratio = theirs_s / ours_s if at_least else ours_s / theirs_s
    both = {
        "ours_ms": 1000 * float(np.median(ours_s)),
        "theirs_ms": 1000 * float(np.median(theirs_s)),
    }
    record(Measure(key, what, median(ratio), "times", target, at_least, {**both, **details}))


def record(measure: Measure, path: Path = RESULTS) -> None:
    """Print it and write it into results.json, in place of what stood under its key."""
    print(measure.line(), flush=True)
    entries = read(path)
    entries[measure.key] = {**asdict(measure), "met": measure.met, **_machine()}
    ordered = {key: entries[key] for key in sorted(entries)}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The entries by key; none where there is no file yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _machine() -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "n_cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "taken_on": datetime.now(UTC).date().isoformat(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
