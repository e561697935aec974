"""`python -m train sheet`: films as they are, and as a recipe's augmentation makes them."""

from collections.abc import Sequence
from pathlib import Path

import click

from ..commands import CONTEXT, data_option, entries_of, film_bar, recipe_options
from ..data.films import Film, load_films
from ..data.pixels import cache_films
from ..errors import TrainError
from ..recipe import read_recipe, recipe_names, recipe_path
from .contact_sheet import draw_sheet


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  python -m train sheet five-findings --data films/ --out sheet.png
  python -m train sheet pneumonia-children --data samples/manifest.csv --out sheet.jpg

The picture shows the films: keep it where they may be.
""",
)
@click.argument("recipe")
@data_option
@recipe_options
@click.option("--films", "n_films", type=click.IntRange(1, 24), default=6)
@click.option("--seed", type=int, default=1)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The picture (.png or .jpg)."
)
def command(
    recipe: str,
    data: tuple[str, ...],
    variants: tuple[str, ...],
    settings: tuple[str, ...],
    n_films: int,
    seed: int,
    out: Path,
) -> None:
    """Draw films as they are and as RECIPE augments them."""
    path = recipe_path(recipe)
    if path is None:
        raise TrainError(
            f"There is no recipe {recipe}.", f"Recipes: {', '.join(recipe_names())}, or a .toml."
        )
    if not out.parent.is_dir():
        raise TrainError(f"There is no folder {out.parent}.", "Create it first.")
    config = read_recipe(path, variants, settings).config
    film_set = load_films(entries_of(data, config.patient_pattern), config.labels, film_bar)
    chosen = _of_each_label(film_set.films, n_films)
    films = cache_films(chosen, film_set.findings, config.input, film_bar, "reading films")
    draw_sheet(films.pixels, [film.label for film in chosen], config.augmentation, seed, out)
    click.echo(f"{out}: {len(chosen)} films.")


def _of_each_label(films: Sequence[Film], n: int) -> list[Film]:
    """n films, the labels taking turns."""
    by_label: dict[str, list[Film]] = {}
    for film in films:
        by_label.setdefault(film.label, []).append(film)
    longest = max(len(same) for same in by_label.values())
    turns = [same[i] for i in range(longest) for same in by_label.values() if i < len(same)]
    return turns[:n]
