"""`cxr-edge predict`."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..language import _, told
from ..result import OUTCOMES
from ..starting import starting
from .options import (
    EXIT_CODES,
    NOT_FOR_DIAGNOSIS,
    chosen_model,
    csv_option,
    dialect_option,
    json_option,
    reading_options,
    terms_for,
)
from .shown import as_json_array, as_nothing, as_table, judged_by, outcome

if TYPE_CHECKING:
    from ..heatmap_folder import HeatmapFolder
    from ..model import Model
    from ..record import CsvRecord


@click.command(
    "predict",
    epilog="""\b
Examples:
  cxr-edge predict film.jpg
  cxr-edge predict scans/ --csv results.csv
  cxr-edge predict "scans/*.dcm" --json
  cxr-edge predict scans/ --csv results.csv --heatmap pictures/

"""
    + EXIT_CODES,
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@csv_option(help="Append one row per radiograph to this file.")
@dialect_option
@json_option
@click.option(
    "--heatmap",
    "heatmap_path",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Draw into this folder, outside those that are read, where on each film its findings come "
    "from: a PNG per film and positive finding, or of the most probable one.",
)
@click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(1),
    help="How many films are read at the same time; as many as there are cores where nothing is "
    "said.",
)
@reading_options
def command(
    paths: tuple[Path, ...],
    csv_path: Path | None,
    csv_dialect: str | None,
    as_json: bool,
    heatmap_path: Path | None,
    n_workers: int | None,
    model: str | None,
    device: Any,
    threshold: float | None,
    accepted: tuple[str, ...],
    no_profile: bool,
) -> None:
    """Read radiographs: files, folders and patterns.

    JPEG, PNG, TIFF, BMP and DICOM, told by their content.
    """
    with starting():
        from ..reading import expand, n_cores, read_results
        from ..session import CUDA

        films = expand(paths)
        if not films:
            none = _("No radiograph in {paths}.")
            raise click.UsageError(none.format(paths=", ".join(map(str, paths))))
        record = _csv_record(csv_path, csv_dialect) if csv_path else None
        heatmaps = _heatmap_folder(heatmap_path, paths) if heatmap_path else None
        # Several films keep the cores busier than several threads on one film.
        n_threads = 1 if n_cores() == 1 or min(n_workers or n_cores(), len(films)) > 1 else 0
        loaded = chosen_model(model, device, n_threads, heatmaps=heatmaps is not None)
        terms = terms_for(loaded, threshold, accepted, no_profile)
    if loaded.provider == CUDA and len(films) > 1:
        loaded, n_workers = _batching(loaded, len(films), n_workers)
    n_workers = min(n_workers or n_cores(), len(films))
    card = loaded.card

    results = read_results(films, loaded, terms, n_workers, heatmaps is not None)
    counts = dict.fromkeys(OUTCOMES, 0)
    shown = as_json_array if as_json else as_nothing if record else as_table(films, card.findings)
    quiet = as_json or record is not None
    with _progress(len(films)) if quiet else nullcontext() as bar:
        for result in shown(results):
            if record:
                record.append(result)
            if heatmaps:
                heatmaps.write(result)
            counts[outcome(result)] += 1
            if bar:
                bar.update(1)
    summary = _(
        "{n} radiographs: {positive} positive, {negative} negative, {unsure} unsure, "
        "{refused} refused, {failed} failed."
    ).format(n=len(films), **counts)
    by = _("{model} on {provider}, meant for {use}.").format(
        model=card.label, provider=loaded.provider, use=_(card.intended_use)
    )
    lines = (summary, by, *judged_by(terms.profile), told(NOT_FOR_DIAGNOSIS))
    click.echo("\n".join(lines), err=True)
    # Not a return, which would take the model apart.
    sys.exit(3 if counts["refused"] + counts["failed"] else 0)


# Imported where they are asked for: a film alone is read in a quarter of a second.


def _batching(model: "Model", n_films: int, n_workers: int | None) -> "tuple[Model, int]":
    from ..batching import batching, n_workers_for

    together = batching(model, n_films)
    return together, n_workers or n_workers_for(together)


def _csv_record(path: Path, dialect: str | None) -> "CsvRecord":
    from ..record import DIALECTS, CsvRecord

    return CsvRecord(path, DIALECTS[dialect or "standard"])


def _heatmap_folder(path: Path, films: tuple[Path, ...]) -> "HeatmapFolder":
    from ..heatmap_folder import HeatmapFolder

    return HeatmapFolder(path, films)


def _progress(n_films: int) -> Any:
    """A bar on the error stream; click hides it where that is no terminal."""
    return click.progressbar(length=n_films, label=_("Reading"), file=sys.stderr)
