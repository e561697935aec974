"""Take every measure, each in a process of its own, and draw the picture; about half an hour.

Times are taken with made films.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from .films import ROOT
from .turns import plain_environment

MEASURES = (
    *("against_torch", "floor", "against_openvino", "against_torchxrayvision"),
    *("startup", "dicom_read", "folder", "memory", "watch_latency", "watch_backlog"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "films",
        nargs="*",
        metavar="FILM_OR_FOLDER",
        help="real full-size JPEGs, whose decisions with and without the reduced decoding are "
        "compared; without any that measure is left out",
    )
    films = [str(Path(name).resolve()) for name in parser.parse_args().films]
    jobs = [[name] for name in MEASURES] + ([["reduced_decode", *films]] if films else [])
    failed = []
    for name, *arguments in [*jobs, ["picture"]]:
        print(f"-- {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        if subprocess.run(command, cwd=ROOT, env=plain_environment(), check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
