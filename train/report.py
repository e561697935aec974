"""What a run folder says of its checkpoint: figures with intervals, and pictures."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from cxr_edge.model_card import InputSpec

from .checkpoint import Checkpoint
from .films import FilmSet
from .fit import Films, infer
from .metrics import Interval, measure
from .plots import plot_roc, plot_scores
from .split import LEFT_OUT, TEST, VALIDATION


def write_report(
    checkpoint: Checkpoint,
    films: Mapping[str, Films],
    spec: InputSpec,
    film_set: FilmSet,
    out: Path,
) -> None:
    """Measure validation, test and left-out films at 0.5, print, write metrics.json and draw.

    films: by split name. Operating points are export's matter.
    """
    network = checkpoint.build()
    # Films of a left-out source may all have one label; the test films' other label completes it.
    sets = {name: part for name, part in films.items() if name in (VALIDATION, TEST)}
    if LEFT_OUT in films:
        sets["left out, and test"] = _joined(films[LEFT_OUT], films[TEST])
    metrics: dict[str, Any] = {}
    probabilities = {
        name: 1 / (1 + np.exp(-infer(network, part, spec))) for name, part in sets.items()
    }
    for k, finding in enumerate(checkpoint.findings):
        curves = {}
        for name, part in sets.items():
            present = part.labels[:, k].numpy() > 0.5
            figures = measure(present, probabilities[name][:, k], 0.5, part.patients)
            metrics.setdefault(finding, {})[name] = _as_json(figures) | {"n_films": len(part)}
            curves[name] = (present, probabilities[name][:, k])
            click.echo(f"{finding}, {name} ({len(part)} films):")
            for figure, interval in figures.items():
                click.echo(f"  {figure:12} {interval}")
        plot_roc(curves, out / f"roc-{finding.replace(' ', '-')}.png")
        plot_scores(*curves[TEST], 0.5, finding, out / f"scores-{finding.replace(' ', '-')}.png")
    record = {
        "figures": metrics,
        "data": {
            "digest": film_set.digest,
            "n_films": len(film_set.films),
            "exact_duplicates_left_aside": [path.name for path in film_set.duplicates],
            "contradicting_duplicates_left_aside": [path.name for path in film_set.contradictions],
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (out / "metrics.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    click.echo(
        f"Written to {out}. Next: python -m export {out / 'checkpoint.pt'} OUT.onnx "
        "--data FILMS --card CARD.toml"
    )


def _joined(first: Films, second: Films) -> Films:
    return Films(
        torch.cat([first.pixels, second.pixels]),
        torch.cat([first.labels, second.labels]),
        first.patients + second.patients,
    )


def _as_json(figures: dict[str, Interval]) -> dict[str, Any]:
    # NaN is no JSON: a figure that one label alone does not determine is null.
    return {
        name: {k: None if np.isnan(v) else v for k, v in dataclasses.asdict(interval).items()}
        for name, interval in figures.items()
    }
