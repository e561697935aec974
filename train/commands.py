"""What the commands of train and export share."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

from cxr_edge.errors import CxrEdgeError

from .films import Film

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}
_F = TypeVar("_F", bound=Callable[..., Any])


def data_option(command: _F) -> _F:
    return click.option(
        "--data",
        "roots",
        multiple=True,
        required=True,
        type=click.Path(path_type=Path),
        help="A folder of label folders; may be given several times.",
    )(command)


def film_bar(films: Sequence[Film], title: str) -> Iterator[Film]:
    """The films, with a progress bar on a terminal."""
    return iter(tqdm(films, title, leave=False, disable=None))


def run_command(command: click.Command, name: str) -> None:
    """Run it; this project's errors become a message and an exit code."""
    try:
        command(prog_name=name)
    except CxrEdgeError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(exc.exit_code)
