"""A backlog: `cxr-edge watch` on a folder of waiting films against `cxr-edge predict` on it.

    python -m benchmarks.watch_backlog

Whole processes take turns, each with two workers; both are timed from their start to their last
row. The films are made, 10,000 each time, and no two files are the same: of 1.3 megapixels, as
public sets have them, and of 224 pixels on a side, which are read so quickly that what the watcher
does beside reading weighs the most.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from .films import ROOT, film, jpeg
from .results import record_ratio
from .startup import CXR_EDGE
from .turns import plain_environment, take_turns

N_FILMS, N_TURNS, N_WORKERS = 10_000, 3, 2
_N_PICTURES = 20
_COMMENT = b"\xff\xfe\x00\x08"  # of six bytes: the JPEG standard's COM segment


def main() -> None:
    measure("watch-backlog", (1000, 1300), "of 1.3 megapixels")
    measure("watch-backlog-smallest", (224, 224), "of 224 x 224 pixels")


def measure(key: str, shape: tuple[int, int], which: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder) / "films"
        films.mkdir()
        pictures = [jpeg(film(shape, seed=seed)) for seed in range(_N_PICTURES)]
        for number in range(N_FILMS):
            data = pictures[number % _N_PICTURES]
            comment = _COMMENT + f"{number:06}".encode()
            (films / f"film {number:05}.jpg").write_bytes(data[:2] + comment + data[2:])
        os.sync()  # else the first watcher's rows wait until the films are on the disk
        watch_s, predict_s = take_turns(
            [partial(watch, films), partial(predict, films)], N_TURNS, n_warm=0
        )
    record_ratio(
        key,
        f"the speed of predict: watch on a folder where {N_FILMS:,} films {which} wait",
        0.95,
        watch_s,
        predict_s,
        {
            "watch_films_per_s": N_FILMS / float(np.median(watch_s)),
            "predict_films_per_s": N_FILMS / float(np.median(predict_s)),
            "workers": N_WORKERS,
        },
    )


def watch(films: Path) -> float:
    """Seconds until the last row."""
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "results.csv"
        started = time.perf_counter()
        process = _start(
            *("watch", films, "--csv", table, "--ledger", Path(name) / "ledger.db"),
        )
        try:
            while process.poll() is None and _n_rows(table) < N_FILMS:
                time.sleep(0.25)
            seconds = time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(30)
        assert _n_rows(table) == N_FILMS, f"{_n_rows(table)} rows for {N_FILMS} films"
    return seconds


def predict(films: Path) -> float:
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "results.csv"
        started = time.perf_counter()
        process = _start("predict", films, "--csv", table)
        assert process.wait() == 0, f"exit code {process.returncode}"
        seconds = time.perf_counter() - started
        assert _n_rows(table) == N_FILMS, f"{_n_rows(table)} rows for {N_FILMS} films"
    return seconds


def _start(*arguments: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            *CXR_EDGE,
            *map(str, arguments),
            *("--device", "cpu", "--workers", str(N_WORKERS)),
        ],
        env=plain_environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _n_rows(table: Path) -> int:
    return max(0, table.read_bytes().count(b"\n") - 1) if table.exists() else 0


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("This ends the watcher as POSIX systems do.")
    main()
