"""From a film's last byte to its row in the CSV: what `cxr-edge watch` adds to what must be.

    python -m benchmarks.watch_latency

Different 5-megapixel JPEGs are written one by one into a watched folder on a local disk, each when
the row of the one before is there. From the time that passes until the CSV has grown by the row,
what must pass is taken off: the time that a file must stay unchanged (--settle, 2 s unless said
otherwise), and reading the same film, decoding and network, by the same functions in this process
when its row is there. What is left is the watcher's own: noticing the file and that it has settled,
handing it to the reading process and its answer back, the ledger's and the CSV's disk.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_edge.model import load_model
from cxr_edge.reading import predict_result

from .films import FIVE_MEGAPIXELS, ROOT, film, jpeg
from .results import Measure, record
from .startup import CXR_EDGE
from .turns import median, plain_environment

N_FILMS, N_WARM = 30, 3
SETTLES_S = (2.0, 0.2)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        films = [jpeg(film(FIVE_MEGAPIXELS, seed=seed)) for seed in range(N_WARM + N_FILMS)]
        for settle_s in SETTLES_S:
            base = Path(folder) / f"settle {settle_s:g}"
            base.mkdir()
            took_s, reading_s = latencies(base, films, settle_s)  # (films,) each
            left_ms = 1000 * (took_s - settle_s - reading_s)
            record(
                Measure(
                    f"watch-latency-{settle_s:g}s",
                    "from a film's last byte to its row, beyond the time to settle, decoding and "
                    f"network, with --settle {settle_s:g}",
                    median(left_ms),
                    "ms",
                    50.0,
                    False,
                    {
                        "films": N_FILMS,
                        "megapixels": FIVE_MEGAPIXELS[0] * FIVE_MEGAPIXELS[1] / 1e6,
                        "decode_and_network_ms": 1000 * float(np.median(reading_s)),
                        "from_last_byte_to_row_ms": 1000 * float(np.median(took_s)),
                        "workers": 1,
                    },
                )
            )


def latencies(
    base: Path, films: list[bytes], settle_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds from last byte to row and of reading alone, (films,) each, without the first ones."""
    incoming, table = base / "films", base / "results.csv"
    incoming.mkdir()
    # As the watcher does it: one thread for a film.
    model = load_model(device="cpu", threads=1)
    process = subprocess.Popen(
        [
            *(*CXR_EDGE, "watch", str(incoming), "--csv", str(table), "--device", "cpu"),
            *("--ledger", str(base / "ledger.db"), "--settle", str(settle_s), "--workers", "1"),
        ],
        env=plain_environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    took_s, reading_s = [], []
    try:
        wait_for_lines(table, 1, process)  # its header
        for number, data in enumerate(films):
            path = incoming / f"film {number:03}.jpg"
            path.write_bytes(data)
            written_s = time.perf_counter()
            wait_for_lines(table, number + 2, process)
            took_s.append(time.perf_counter() - written_s)
            started_s = time.perf_counter()
            assert predict_result(path, model).status == "ok"
            reading_s.append(time.perf_counter() - started_s)
            # A film comes at any moment between two looks at the folder.
            time.sleep(float(np.random.default_rng(number).uniform(0, 0.5)))
    finally:
        process.terminate()
        process.wait(30)
    return np.array(took_s)[N_WARM:], np.array(reading_s)[N_WARM:]


def wait_for_lines(
    table: Path, n_lines: int, process: "subprocess.Popen[bytes]", timeout_s: float = 60.0
) -> None:
    """Until the file has so many. Only its size is looked at until it changes."""
    size, deadline_s = -1, time.perf_counter() + timeout_s
    while process.poll() is None and time.perf_counter() < deadline_s:
        try:
            now = os.stat(table).st_size  # noqa: PTH116  as cheap as can be
        except FileNotFoundError:
            now = -1
        if now != size:
            size = now
            if table.read_bytes().count(b"\n") >= n_lines:
                return
        time.sleep(0.0005)
    raise AssertionError(f"no {n_lines} lines in {table}, exit code {process.poll()}")


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("This ends the watcher as POSIX systems do.")
    main()
