"""`python -m train negatives`: write the made images as files, and count what became of them."""

import csv
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from cxr_edge.proportion import Proportion

from ..commands import CONTEXT, data_option, entries_of, film_bar, patient_option
from ..config import Labels, default_input_spec
from ..data.films import load_films
from ..data.pixels import cache_films
from ..data.split import TEST, TRAIN, VALIDATION, read_split
from ..errors import TrainError
from .kinds import HELD_OUT, KINDS, READABLE, Kind, make

AS_THEY_ARE = "as_they_are"
_BETWEEN = "."


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Images that a reader of chest films must refuse, and changed films that it must not.

    \b
    Example:
      python -m train negatives write made/ --data films/ --split split.csv
      cxr-edge predict made/ --csv made.csv
      python -m train negatives table made.csv
    """


@command.command(
    epilog="""\b
Example:
  python -m train negatives write made/ --data films/ --split runs/first/split.csv

A file's name says what it was made as: hand.0012.png. They show patients where they were made of
patients' films: keep them where these may be.
"""
)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@data_option
@click.option(
    "--split", "split_path", required=True, type=click.Path(path_type=Path), help="Of a run."
)
@click.option("--part", type=click.Choice([TEST, VALIDATION, TRAIN]), default=TEST)
@patient_option
@click.option("--each", type=click.IntRange(1), default=40, help="Images of each kind.")
@click.option("--films", "n_films", type=click.IntRange(1), default=400, help="As they are.")
def write(
    out: Path,
    data: tuple[str, ...],
    split_path: Path,
    part: str,
    patient_pattern: str,
    each: int,
    n_films: int,
) -> None:
    """Write images of every kind, made of films of a part of a split, and such films themselves."""
    if out.exists() and any(out.iterdir()):
        raise TrainError(f"{out} is not empty.", "Name a new folder.")
    films = load_films(entries_of(data, patient_pattern), Labels(), film_bar)
    chosen = read_split(split_path, films.films)[part]
    if not chosen:
        raise TrainError(f"There are no {part} films.", "Check --data and --split.")
    rng = np.random.default_rng(0)
    chosen = tuple(chosen[i] for i in rng.permutation(len(chosen)))
    pixels = cache_films(chosen, (), default_input_spec(), film_bar, "reading films").pixels[:, 0]
    out.mkdir(parents=True, exist_ok=True)
    for number, film in enumerate(pixels.numpy()[:n_films]):
        _save(film, out / f"{AS_THEY_ARE}{_BETWEEN}{number:04}.png")
    for kind in tqdm(KINDS, "making", leave=False, disable=None):
        rng = np.random.default_rng(zlib.crc32(kind.name.encode()))
        images = make(kind, pixels.numpy()[rng.integers(len(pixels), size=each)], rng)
        for number, image in enumerate(images):
            _save(image, out / f"{kind.name}{_BETWEEN}{number:04}.png")
    click.echo(f"{len(KINDS) * each + min(n_films, len(pixels))} images in {out}.")


@command.command(
    epilog="""\b
Example:
  python -m train negatives table made.csv
"""
)
@click.argument("csv_path", metavar="RESULTS.csv", type=click.Path(path_type=Path))
@click.option("--by-kind", is_flag=True, help="A line for each kind, and not for each code.")
def table(csv_path: Path, by_kind: bool) -> None:
    """What `cxr-edge predict` made of them, as a table in Markdown."""
    rows = _read(csv_path)
    known = {kind.name: kind for kind in KINDS}
    films = known | {AS_THEY_ARE: Kind(AS_THEY_ARE, READABLE, READABLE, lambda films, _: films[0])}
    groups: dict[str, list[tuple[Kind, str, str]]] = {}
    for name, status, code in rows:
        kind = films.get(name)
        if kind is None:
            raise TrainError(
                f"{csv_path} has a film that is none of these kinds: {name}.",
                "Have `cxr-edge predict` read what `python -m train negatives write` has written.",
            )
        for title in _titles(kind, by_kind):
            groups.setdefault(title, []).append((kind, status, code))
    click.echo("| images | number | refused | with the code it deserves |\n|---|---|---|---|")
    for title, answers in sorted(groups.items(), key=lambda item: item[0]):
        refused = [code for _, status, code in answers if status == "refused"]
        right = sum(status == "refused" and code == kind.code for kind, status, code in answers)
        is_good = answers[0][0].code == READABLE
        shown = Proportion.of(len(refused), len(answers))
        assert shown is not None  # a group has answers
        part = f"{shown.value:.1%} ({shown.low:.1%} to {shown.high:.1%})"
        others = ", ".join(f"{n} {code}" for code, n in Counter(refused).most_common(3))
        said = others if is_good else f"{right / len(answers):.1%}"
        click.echo(f"| {title} | {len(answers)} | {part} | {said} |")


def _titles(kind: Kind, by_kind: bool) -> Sequence[str]:
    if by_kind:
        return [f"{kind.code}: {kind.name}"]
    if kind.name == AS_THEY_ARE:
        return ["good films, as they are"]
    if kind.code == READABLE:
        return ["good films, changed as other hospitals' may look"]
    titles = [f"to be refused: {kind.code}", "to be refused: all"]
    return [*titles, "to be refused: kinds never fitted on"] if kind.name in HELD_OUT else titles


def _read(path: Path) -> list[tuple[str, str, str]]:
    """Kind, status and code of each row. Raises TrainError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [
                (
                    Path(row["file"].replace("\\", "/")).name.partition(_BETWEEN)[0],
                    row["status"],
                    row["reason"].partition(":")[0],
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, UnicodeDecodeError) as exc:
        raise TrainError(
            f"{path} is no table of results ({exc}).", "Give a CSV of `cxr-edge predict --csv`."
        ) from exc


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path)
