"""The packaged program against the same from the Python that it was made of: `predict one.jpg`.

    python -m benchmarks.bundle_startup linux dist/linux/cxr-edge/cxr-edge VENV/bin/python
    python -m benchmarks.bundle_startup wine PROGRAM.exe PYTHON.exe

Where this is not Windows, Windows programs are run by Wine, in the prefix that WINEPREFIX names; a
process that waits there (see packaging/windows/wine.sh) keeps Wine's own start out of it.
"""

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .films import ROOT
from .results import record_ratio
from .startup import FILM
from .turns import plain_environment, take_turns, timed, use_cores

N_TURNS = 20


def main() -> None:
    system = sys.argv[1]
    # They are run from elsewhere; a link to Python stays one, or it would not know its packages.
    program, python = (str(Path(name).absolute()) for name in sys.argv[2:])
    use_cores(1)
    wine = ["wine"] if program.endswith(".exe") and sys.platform != "win32" else []
    film = f"Z:{FILM}".replace("/", "\\") if wine else FILM
    ours = [*wine, program, "predict", film]
    theirs = [*wine, python, "-m", "cxr_edge", "predict", film]
    ours_s, theirs_s = take_turns(
        [partial(timed, run, [ours]), partial(timed, run, [theirs])], N_TURNS, n_warm=2
    )
    what = f"the time of the same from Python: the packaged `predict one.jpg` ({system})"
    details: dict[str, str | float] = {"cores": 1}
    record_ratio(f"startup-bundle-{system}", what, 1.5, ours_s, theirs_s, details, at_least=False)


def run(command: Sequence[str]) -> None:
    # Pipes, for Wine gives a regular file an invalid handle; not the checkout's cxr_edge.
    subprocess.run(
        command,
        env=plain_environment(),
        cwd=ROOT.parent,
        check=True,
        capture_output=True,
        input=b"",
    )


if __name__ == "__main__":
    main()
