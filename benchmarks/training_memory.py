"""What keeping freed memory is worth: steps of MobileNet-V2 with and without, taking turns.

    python benchmarks/training_memory.py

Prints the median time of a step without it as a multiple of that with it, with the range over the
turns, and the page faults of a step.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
N_TURNS, N_STEPS, BATCH = 3, 4, 32

STEPS = f"""
import json, resource, sys, time
import torch
from train.learn.memory import keep_freed_memory
from train.networks import build
if sys.argv[1] == "kept":
    keep_freed_memory()
torch.manual_seed(0)
network = build("mobilenet_v2", 1, 1).to(memory_format=torch.channels_last).train()
films = torch.randn({BATCH}, 1, 224, 224)
steps = []
for _ in range({N_STEPS} + 1):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    started = time.perf_counter()
    network(films).square().mean().backward()
    seconds = time.perf_counter() - started
    steps.append((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults))
print(json.dumps(steps[1:]))  # the first one warms up
"""


def run(way: str) -> tuple[float, float]:
    """Median seconds and page faults of a step."""
    command = [sys.executable, "-c", STEPS, way]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    steps = json.loads(outcome.stdout)
    seconds, faults = zip(*steps, strict=True)
    return statistics.median(seconds), statistics.median(faults)


def main() -> None:
    turns = [(run("given back"), run("kept")) for _ in range(N_TURNS)]
    ratios = sorted(given_back[0] / kept[0] for given_back, kept in turns)
    faults = [statistics.median(way[1] for way in ways) for ways in zip(*turns, strict=True)]
    print(
        f"a step takes {statistics.median(ratios):.2f} times as long where memory is given back "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f} over {N_TURNS} turns); page faults of a step: "
        f"{faults[0]:.0f} against {faults[1]:.0f}"
    )


if __name__ == "__main__":
    main()
