"""Draw results.json as one picture, for the README.

python -m benchmarks.picture [RESULTS.json PICTURE.png]
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from .results import RESULTS, read

PICTURE = RESULTS.with_name("speed.png")
MET, MISSED, MARK = "#2a7f62", "#b3541e", "#222222"
# What a reader sees by each bar, in this order.
FASTER = {
    "eager-mobilenet-v2": "MobileNet-V2 in Pillow + PyTorch",
    "eager-resnet18": "ResNet-18 in Pillow + PyTorch\n(against our ResNet-18)",
    "eager-resnet50": "ResNet-50 in Pillow + PyTorch",
    "torchxrayvision": "torchxrayvision's script",
    "openvino-mobilenet-v2": "the same model in OpenVINO",
    "openvino-resnet18": "ResNet-18 in OpenVINO\n(against our ResNet-18)",
    "two-cores": "one core, a folder of 1,000 films\n(ours on two)",
}
LIMITS = {
    "floor": "time of one film\nagainst the machine's limit",
    "dicom": "time of a DICOM film\nagainst reading its pixels",
    "startup-predict": "start, one film, end\nagainst the imports alone",
    "startup-help": "--help against\nimporting click",
    "memory-peak": "memory at its peak,\nJPEG films",
    "memory-peak-mixed": "memory at its peak,\nwith DICOM and 16-bit films",
    "memory-growth": "memory gained\nover 10,000 films",
    "reduced-decode": "decisions changed\nby the fast JPEG decoding",
}


def main() -> None:
    results, picture = map(Path, sys.argv[1:]) if sys.argv[1:] else (RESULTS, PICTURE)
    draw(read(results), picture)
    print(picture)


def draw(entries: dict[str, dict[str, Any]], picture: Path) -> None:
    """Two panels: how many times as fast as others, and how much of each limit is used."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    _bars(left, entries, FASTER)
    left.set_title("cxr-edge is so many times as fast as ...", loc="left", fontweight="bold")
    left.set_xlabel("longer is better; the black mark is the target")
    _bars(right, entries, LIMITS)
    right.set_title("... and uses so much of each limit", loc="left", fontweight="bold")
    right.set_xlabel("shorter is better; the black mark is the limit")
    right.set_xticks([])
    if entries:
        last = max(entries.values(), key=lambda entry: entry["taken_on"])
        figure.supxlabel(
            f"{last['cpu']}, one core unless said otherwise; medians with 95 % intervals; "
            f"{last['taken_on']}; python -m benchmarks",
            fontsize=8,
            color="#555555",
        )
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _bars(axes: Axes, entries: dict[str, dict[str, Any]], names: dict[str, str]) -> None:
    rows = [(entries[key], name) for key, name in names.items() if key in entries]
    for place, (entry, _) in enumerate(rows):
        figure, target = entry["figure"], entry["target"]
        scale = 1 if entry["at_least"] else target  # of a limit: the part of it that is used
        value = figure["value"] / scale
        errors = [
            [(figure["value"] - figure["low"]) / scale],
            [(figure["high"] - figure["value"]) / scale],
        ]
        axes.barh(place, value, 0.62, color=MET if entry["met"] else MISSED)
        axes.errorbar(value, place, xerr=errors, fmt="none", ecolor="#999999", elinewidth=1.5)
        axes.plot([target / scale] * 2, [place - 0.4, place + 0.4], color=MARK, linewidth=2.5)
        # An interval may reach far beyond the panel, where there were few films.
        end = max(min(figure["high"] / scale, 1.1 * _widest(rows)), target / scale)
        end += 0.02 * _widest(rows)
        axes.text(end, place, _label(entry), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=9)
    axes.set_xlim(0, 1.4 * _widest(rows))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _widest(rows: list[tuple[dict[str, Any], str]]) -> float:
    reached = [1.0]
    for entry, _ in rows:
        scale = 1 if entry["at_least"] else entry["target"]
        reached += [entry["figure"]["value"] / scale, entry["target"] / scale]
    return max(reached)


def _label(entry: dict[str, Any]) -> str:
    value = entry["figure"]["value"]
    shown = f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2.5 else f"{value:.2f}"
    unit = {"times": " times", "MB": " MB", "%": " %", "ms": " ms"}[entry["unit"]]
    return f"{shown}{unit}" if entry["at_least"] else f"{shown} of {entry['target']:g}{unit}"


if __name__ == "__main__":
    main()
