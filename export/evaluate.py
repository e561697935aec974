"""What a model file gives on labelled films, through the runtime's own path.

`python -m export.evaluate MODEL --data FILMS --split split.csv` prints the figures of the README.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from cxr_edge.model import Model, load_model
from cxr_edge.reading import predict
from train.commands import CONTEXT, data_option, run_command
from train.films import Film, load_films
from train.metrics import Interval, measure
from train.split import LEFT_OUT, TEST, TRAIN, VALIDATION, read_split

from .errors import ExportError


def evaluate(model: Model, films: Sequence[Film]) -> dict[str, dict[str, Interval]]:
    """By finding: AUROC, and sensitivity, specificity and accuracy at its operating point.

    Raises RadiographError where a film cannot be read or is refused.
    """
    found = [
        {finding.name: finding for finding in predict(film.path, model)}
        for film in tqdm(films, "test films", leave=False, disable=None)
    ]
    patients = [film.group for film in films]
    return {
        point.finding: measure(
            np.array([film.label == point.finding for film in films]),
            np.array([findings[point.finding].probability for findings in found]),
            point.threshold,
            patients,
        )
        for point in model.card.operating_points
    }


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m export.evaluate model.onnx --data films/ --split runs/first/split.csv
""",
)
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--split",
    "split_path",
    type=click.Path(path_type=Path),
    help="The split.csv of the run; without it all films are taken.",
)
@click.option(
    "--part",
    type=click.Choice([TEST, VALIDATION, TRAIN, LEFT_OUT]),
    default=TEST,
    help="The part of the split.",
)
def command(model_path: Path, roots: tuple[Path, ...], split_path: Path | None, part: str) -> None:
    """Measure MODEL on labelled films; intervals are 95 %, by bootstrap over patients."""
    model = load_model(model_path, "cpu")
    films = load_films(roots).films
    if split_path:
        films = read_split(split_path, films)[part]
    if unknown := {film.label for film in films} - {*model.card.findings, "no finding"}:
        raise ExportError(
            f"The model does not know {', '.join(sorted(unknown))}.",
            f"Its findings: {', '.join(model.card.findings)}.",
        )
    n_patients = len({film.group for film in films})
    click.echo(f"{model.card.label}, {len(films)} films of {n_patients} patients")
    for finding, figures in evaluate(model, films).items():
        n_present = sum(film.label == finding for film in films)
        click.echo(f"{finding}: present in {n_present}, absent in {len(films) - n_present}")
        for name, interval in figures.items():
            click.echo(f"  {name:12} {interval}")


if __name__ == "__main__":
    run_command(command, "python -m export.evaluate")
