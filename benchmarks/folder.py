"""A folder of 1,000 mixed films: two cores against one.

    python -m benchmarks.folder

Whole processes take turns: `cxr-edge predict FOLDER --csv FILE`, held to one core and to two by the
system (Linux). The folder is made: JPEGs of 1 to 5 megapixels, PNG, 16-bit PNG and DICOM.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from .films import ROOT, mixed_folder
from .results import record_ratio
from .startup import CXR_EDGE
from .turns import last_cores, plain_environment, take_turns

N_FILMS, N_TURNS = 1000, 4


def main() -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        sys.exit("This needs Linux and two cores.")
    with tempfile.TemporaryDirectory() as folder:
        films = mixed_folder(Path(folder) / "films", N_FILMS)

        def read(n_cores: int) -> float:
            table = Path(folder) / "results.csv"
            table.unlink(missing_ok=True)
            cores = last_cores(n_cores)
            started = time.perf_counter()
            subprocess.run(
                [*CXR_EDGE, "predict", str(films), "--csv", str(table), "--device", "cpu"],
                env=plain_environment(),
                cwd=ROOT,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
                check=True,
                capture_output=True,
            )
            seconds = time.perf_counter() - started
            n_rows = len(table.read_text(encoding="utf-8").splitlines()) - 1
            assert n_rows == N_FILMS, f"{n_rows} rows for {N_FILMS} films"
            return seconds

        # Just written, the films are in the system's cache from the first turn on.
        one_s, two_s = take_turns([partial(read, 1), partial(read, 2)], N_TURNS, n_warm=0)
    record_ratio(
        "two-cores",
        f"as fast: a folder of {N_FILMS:,} mixed films on two cores as on one",
        1.85,
        two_s,
        one_s,
        {
            "one_core_films_per_s": N_FILMS / float(np.median(one_s)),
            "two_cores_films_per_s": N_FILMS / float(np.median(two_s)),
        },
    )


if __name__ == "__main__":
    main()
