"""Memory of a fresh process that reads mixed films with the shipped MobileNet-V2 (Linux).

    python -m benchmarks.memory

The films are those of folder.py, read through reading.read_results. The peak is the kernel's own
high-water mark of resident memory (VmHWM) with one worker, over the JPEGs among them (up to 5
megapixels) and over all: a DICOM film is 10 MB before anything is done to it. The growth is over
10,000 mixed films with two workers: what is resident after the last thousand less what it was after
the second thousand, each the median of a sample every 50 films.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .films import ROOT, mixed_folder
from .results import Measure, record
from .turns import Interval, median, plain_environment

N_FILMS, N_PEAK, EVERY = 10_000, 1000, 50

READS = """
import itertools, json, sys
from pathlib import Path
from cxr_edge.model import load_model
from cxr_edge.reading import find_radiographs, read_results

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

folder, pattern, n_films, every, n_workers = *sys.argv[1:3], *map(int, sys.argv[3:])
model = load_model(device="cpu", threads=1)
paths = [path for path in find_radiographs(Path(folder)) if path.match(pattern)]
films = itertools.islice(itertools.cycle(paths), n_films)
resident = []
for number, result in enumerate(read_results(films, model, n_workers=n_workers)):
    assert result.status == "ok", result
    if number % every == 0:
        resident.append(status("VmRSS"))
print(json.dumps({"resident_mb": resident, "peak_mb": status("VmHWM")}))
"""


def main() -> None:
    if not Path("/proc/self/status").exists():
        sys.exit("This needs Linux, which counts the resident memory of a process.")
    with tempfile.TemporaryDirectory() as folder:
        films = mixed_folder(Path(folder) / "films", N_PEAK)
        jpegs = read(films, "*.jpg", N_PEAK, 1)
        mixed = read(films, "*", N_PEAK, 1)
        two_workers = read(films, "*", N_FILMS, 2)
    for key, what, run in (("", "JPEG", jpegs), ("-mixed", "mixed", mixed)):
        peak = run["peak_mb"]
        record(
            Measure(
                f"memory-peak{key}",
                f"peak of resident memory over {N_PEAK:,} {what} films, one worker",
                Interval(peak, peak, peak),
                "MB",
                120.0,
                False,
                {"mixed_films_two_workers_mb": two_workers["peak_mb"]} if key else {},
            )
        )
    thousand = 1000 // EVERY
    resident = np.array(two_workers["resident_mb"])
    after_warm_up, last = resident[thousand : 2 * thousand], resident[-thousand:]
    growth = median(last - np.median(after_warm_up))
    record(
        Measure(
            "memory-growth",
            f"growth of resident memory over {N_FILMS:,} mixed films, two workers",
            growth,
            "MB",
            5.0,
            False,
            {"resident_mb": float(np.median(last))},
        )
    )


def read(films: Path, pattern: str, n_films: int, n_workers: int) -> dict[str, Any]:
    """resident_mb: a list, every 50 films; peak_mb."""
    arguments = [str(films), pattern, str(n_films), str(EVERY), str(n_workers)]
    run = subprocess.run(
        [sys.executable, "-c", READS, *arguments],
        env=plain_environment(),
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(run.stdout))


if __name__ == "__main__":
    main()
