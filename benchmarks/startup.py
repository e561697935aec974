"""Whole processes: `cxr-edge predict one.jpg` and `cxr-edge --help` against bare imports.

python -m benchmarks.startup
"""

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .films import ROOT
from .results import record_ratio
from .turns import plain_environment, take_turns, timed, use_cores

N_TURNS = 40
_SCRIPT = Path(sys.executable).with_name("cxr-edge")
CXR_EDGE = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-m", "cxr_edge"]
FILM = str(ROOT / "samples" / "normal-1.jpg")
# key, what, our arguments, their imports, target
MEASURES = (
    (
        "startup-predict",
        "the time of importing click, numpy, cv2 and onnxruntime: `cxr-edge predict one.jpg`",
        ["predict", FILM],
        "import click, numpy, cv2, onnxruntime",
        1.25,
    ),
    (
        "startup-help",
        "the time of importing click: `cxr-edge --help`",
        ["--help"],
        "import click",
        1.5,
    ),
)


def main() -> None:
    use_cores(1)
    for key, what, arguments, imports, target in MEASURES:
        ours, theirs = [*CXR_EDGE, *arguments], [sys.executable, "-c", imports]
        ours_s, theirs_s = take_turns(
            [partial(timed, run, [ours]), partial(timed, run, [theirs])], N_TURNS, n_warm=2
        )
        record_ratio(key, what, target, ours_s, theirs_s, {"cores": 1}, at_least=False)


def run(command: Sequence[str]) -> None:
    subprocess.run(command, env=plain_environment(), cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()
