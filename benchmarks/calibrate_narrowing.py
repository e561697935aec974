"""How the interval of a site's threshold narrows as films are labelled: `cxr-edge calibrate`.

    python -m benchmarks.calibrate_narrowing KERMANY_FOLDER

The films of Kermany's train set (folders NORMAL and PNEUMONIA) that the shipped model did not learn
from, by train/evidence/pneumonia-children/split.csv: its validation and test films, 1,040 in all.
Of them 50, 200 and 1,000 are drawn, 20 times each (those of 1,000 are nearly the same films each
time), and calibrated for a sensitivity of 0.90 by calibrate's own code, from the list of labels to
the operating point; patients are known. Widths of the threshold's interval are on the model's own
scale, so that they can be compared.
"""

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr_edge import load_model
from cxr_edge.calibration.films import put_together
from cxr_edge.calibration.fit import fit_point
from cxr_edge.calibration.labels import Judge, Label, read_labels
from cxr_edge.profile import SitePoint
from cxr_edge.reading import n_cores, read_results
from cxr_edge.result import Result

from .films import ROOT
from .results import Measure, record
from .turns import median

NAME, FINDING, TARGET = "pneumonia-children", "pneumonia", 0.90
SIZES, N_DRAWS = (50, 200, 1000), 20
SPLIT = ROOT / "train" / "evidence" / NAME / "split.csv"


@dataclass(frozen=True)
class Widths:
    """Of the intervals of one draw, (threshold on the model's scale, sensitivity)."""

    threshold: float
    sensitivity: float


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("Name the folder of Kermany's train set, with NORMAL and PNEUMONIA in it.")
    model = load_model(NAME, device="cpu", threads=1)
    judge = Judge(model.card.label, (FINDING,), frozenset({model.sha256}))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "labels.csv"
        write_labels(path, SPLIT, Path(sys.argv[1]).resolve())
        labels = read_labels(path, judge).labels
    results = list(read_results([label.film for label in labels], model, n_workers=n_cores()))
    drawn = {size: draws(labels, results, size) for size in SIZES}
    for size, points in drawn.items():
        print(line(size, points), flush=True)
    of = {size: [widths(point) for point in points] for size, points in drawn.items()}
    for what in ("threshold", "sensitivity"):
        by_size = {
            size: np.array([getattr(one, what) for one in some]) for size, some in of.items()
        }
        record(
            Measure(
                f"calibrate-{what}",
                f"as wide with 1,000 labelled films as with 50: the interval of the {what}",
                median(by_size[1000] / by_size[50]),
                "times",
                0.5,
                False,
                {
                    **{f"width_{size}": float(np.median(some)) for size, some in by_size.items()},
                    "draws": N_DRAWS,
                    "films": len(labels),
                },
            )
        )


def write_labels(path: Path, split: Path, folder: Path) -> None:
    """The films of a split file that were not learned from, as a list of labels."""
    with split.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "train"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "finding", "label", "patient"))
        for row in rows:
            label = "present" if row["label"] == FINDING else "absent"
            writer.writerow((folder / row["file"], FINDING, label, row["patient"]))


def draws(labels: Sequence[Label], results: Sequence[Result], size: int) -> list[SitePoint]:
    """The operating points of so many films, drawn N_DRAWS times."""
    points = []
    for seed in range(N_DRAWS):
        chosen = np.random.default_rng(seed).choice(len(labels), size, replace=False)
        some = [labels[i] for i in chosen]
        (films,) = put_together(some, [results[i] for i in chosen]).films
        points.append(fit_point(films, TARGET, seed=seed).point)
    return points


def widths(point: SitePoint) -> Widths:
    low, high = (
        point.probability.inverse(end) for end in (point.threshold.low, point.threshold.high)
    )
    return Widths(high - low, point.sensitivity.high - point.sensitivity.low)


def line(size: int, points: Sequence[SitePoint]) -> str:
    """The mean over the draws, for a reader."""
    wide = [widths(point) for point in points]
    kinds = Counter(point.probability.kind for point in points)
    figures = {
        "width of the threshold's interval": [one.threshold for one in wide],
        "of the sensitivity's": [one.sensitivity for one in wide],
        "sensitivity": [point.sensitivity.value for point in points],
        "specificity": [point.specificity.value for point in points],
        "Brier before": [point.brier_before.value for point in points],
        "after": [point.brier_after.value for point in points],
    }
    said = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in figures.items())
    return f"{size:5} films: {said}; " + ", ".join(f"{n} x {kind}" for kind, n in kinds.items())


if __name__ == "__main__":
    main()
