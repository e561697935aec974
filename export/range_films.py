"""The films that the int8 ranges and biases are taken from."""

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import InputSpec
from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import read_radiograph
from cxr_edge.reading import find_radiographs

from .errors import ExportError

MIN_FILMS = 32
MIN_LIKENESS = 0.3


def read_range_films(folder: Path, spec: InputSpec, n: int) -> NDArray[np.float32]:
    """Prepared films (N, 1, C, H, W) of a folder, at most n, spread evenly over it.

    Raises ExportError: no folder, no film, or too few that can be read.
    """
    try:
        paths = list(find_radiographs(folder))
    except OSError as exc:
        raise ExportError(
            f"The range films' folder {folder} cannot be read ({exc.strerror}).",
            "Check the path given as --range-data.",
        ) from exc
    if not paths:
        raise ExportError(
            f"{folder} holds no films for the int8 ranges.", "Name a folder of chest radiographs."
        )
    at = np.unique(np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int))
    films: list[NDArray[np.float32]] = []
    for i in tqdm(at, "range films", leave=False, disable=None):
        try:
            films.append(prepare(read_radiograph(paths[i], min_side_px(spec)), spec))
        except RadiographError:
            continue  # told below
    if len(films) < MIN_FILMS:
        raise ExportError(
            f"Only {len(films)} of {len(at)} files in {folder} can be used for the int8 ranges; "
            f"at least {MIN_FILMS} are needed.",
            "Add films like those that the model is to read.",
        )
    if unused := len(at) - len(films):
        click.echo(f"{unused} of {len(at)} range films cannot be used.", err=True)
    return np.stack(films)


def require_same_kind(films: NDArray[np.float32], known: NDArray[np.float32]) -> None:
    """Raises ExportError where films (N, 1, C, H, W) do not look like the known ones.

    By their correlation with the mean of the known ones. Of Kermany's films the median is 0.83, of
    adults' 0.42 (COVID-19 Radiography, another place and age); of films on their side -0.18, of
    negatives -0.85, of noise 0.
    """
    mean = known.mean(axis=0).ravel()
    likeness = float(np.median([np.corrcoef(film.ravel(), mean)[0, 1] for film in films]))
    if not likeness >= MIN_LIKENESS:
        raise ExportError(
            "The range films are not of the kind that the model learned from: their correlation "
            f"with the mean train film is {likeness:.2f} (at least {MIN_LIKENESS:g}).",
            "Give chest radiographs like those that the model is to read.",
        )
