"""What the commands of train and export share."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from tqdm import tqdm

from cxr_edge.errors import CxrEdgeError

from .data.films import FilmSet
from .data.manifest import Entry
from .data.sources import join, read_data
from .data.split import Split

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


def data_option(command: _F) -> _F:
    return click.option(
        "--data",
        "data",
        multiple=True,
        required=True,
        metavar="FOLDER|CSV",
        help="A manifest.csv, a folder of label folders, or a public data set as it is published "
        "(LAYOUT=FOLDER where its layout cannot be told); may be given several times.",
    )(command)


def recipe_options(command: _F) -> _F:
    """What changes a recipe, in the order in which it does."""
    for option in (
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change a setting: --set optimisation.epochs=3",
        ),
        click.option("--variant", "variants", multiple=True, help="A variant of the recipe."),
    ):
        command = option(command)
    return command


def patient_option(command: _F) -> _F:
    return click.option(
        "--patient-pattern",
        default="",
        help="For folders of label folders: a regular expression for the patient at the start of a "
        "file name. Without it each film is taken for another patient.",
    )(command)


def entries_of(data: Sequence[str], patient_pattern: str = "") -> list[Entry]:
    """The films of all --data arguments. Raises TrainError: see read_data and join."""
    return join([read_data(text, patient_pattern) for text in data])


def say_data(film_set: FilmSet, split: Split) -> None:
    """Print how many films there are, what was left aside, and who stands where."""
    click.echo(
        f"{len(film_set.films)} films; {len(film_set.duplicates)} exact duplicates and "
        f"{len(film_set.contradictions)} films with contradicting labels left aside, "
        f"{len(film_set.near_duplicates)} pairs of near-duplicates kept together "
        f"({len(film_set.contradicting_pairs)} with contradicting labels)."
    )
    if film_set.laterals or film_set.ignored:
        click.echo(
            f"{len(film_set.laterals)} lateral films and {len(film_set.ignored)} with findings to "
            "be ignored left aside."
        )
    if split.torn:
        click.echo(
            f"{len(split.torn)} groups of patients stood on two official sides; each went to one."
        )
    labels = sorted({label for film in film_set.films for label in film.labels})
    sources = {film.source for film in film_set.films}
    for name, films in split.films.items():
        if films:
            counts = [f"{sum(label in f.labels for f in films)} {label}" for label in labels]
            n_patients = len({film.group for film in films})
            of = f" of {len({f.source for f in films})} sources" if len(sources) > 1 else ""
            click.echo(f"  {name:10} {', '.join(counts)}; {n_patients} patients{of}")


def film_bar(films: Sequence[_T], title: str) -> Iterator[_T]:
    """The films, with a progress bar on a terminal."""
    return iter(tqdm(films, title, leave=False, disable=None))


def run_command(command: click.Command, name: str) -> None:
    """Run it; this project's errors become a message and an exit code."""
    try:
        command(prog_name=name)
    except CxrEdgeError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(exc.exit_code)
