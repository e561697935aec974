"""A folder of 1,000 mixed films: two cores against one.

    python -m benchmarks.folder

Whole processes take turns: `cxr-edge predict FOLDER --csv FILE`, held to one core and to two by the
system (Linux). The folder is made: JPEGs of 1 to 5 megapixels, PNG, 16-bit PNG and DICOM. What the
machine itself gives is measured beside it: two processes, each with a core and half of the films.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .films import ROOT, mixed_folder
from .results import record_ratio
from .startup import CXR_EDGE
from .turns import last_cores, plain_environment, take_turns

N_FILMS, N_TURNS = 1000, 6


def main() -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        sys.exit("This needs Linux and two cores.")
    with tempfile.TemporaryDirectory() as folder:
        films = mixed_folder(Path(folder) / "films", N_FILMS)

        halves = [Path(folder) / name for name in ("even", "odd")]
        for number, film in enumerate(sorted(films.iterdir())):
            halves[number % 2].mkdir(exist_ok=True)
            os.link(film, halves[number % 2] / film.name)
        both = last_cores(2)
        # Just written, the films are in the system's cache from the first turn on.
        one_s, two_s, apart_s = take_turns(
            [
                partial(read, [(films, last_cores(1))]),
                partial(read, [(films, both)]),
                partial(read, [(half, {core}) for half, core in zip(halves, both, strict=True)]),
            ],
            N_TURNS,
            n_warm=0,
        )
    record_ratio(
        "two-cores",
        f"as fast: a folder of {N_FILMS:,} mixed films on two cores as on one",
        1.85,
        two_s,
        one_s,
        {
            "one_core_films_per_s": N_FILMS / float(np.median(one_s)),
            "two_cores_films_per_s": N_FILMS / float(np.median(two_s)),
            "two_processes_times": float(np.median(one_s / apart_s)),
        },
    )


def read(jobs: Sequence[tuple[Path, set[int]]]) -> float:
    """Seconds until each folder is read, all at once, each by a process held to its cores."""
    with tempfile.TemporaryDirectory() as name:
        tables = [Path(name) / f"{number}.csv" for number in range(len(jobs))]
        started = time.perf_counter()
        processes = [
            subprocess.Popen(
                [*CXR_EDGE, "predict", str(films), "--csv", str(table), "--device", "cpu"],
                env=plain_environment(),
                cwd=ROOT,
                preexec_fn=partial(os.sched_setaffinity, 0, cores),
                stderr=subprocess.DEVNULL,
            )
            for (films, cores), table in zip(jobs, tables, strict=True)
        ]
        for process in processes:
            assert process.wait() == 0, f"exit code {process.returncode}"
        seconds = time.perf_counter() - started
        n_rows = sum(len(table.read_text(encoding="utf-8").splitlines()) - 1 for table in tables)
    assert n_rows == N_FILMS, f"{n_rows} rows for {N_FILMS} films"
    return seconds


if __name__ == "__main__":
    main()
