"""`python -m export.gate`: a model file learns to tell what it cannot read, and where it is unsure.

The network stays as it is: a small head is fitted on its own feature maps and added to its graph,
and the card gets what the head's outputs mean, the unsure band of each finding, and what a site's
films are compared with.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.model_card import SOFTMAX, ModelCard
from train.commands import CONTEXT, data_option, entries_of, film_bar, patient_option, run_command
from train.config import Labels
from train.data.films import Film
from train.data.pixels import cache_films
from train.data.split import TEST, TRAIN, VALIDATION, Split, read_split
from train.measure.selection import check_known, films_to_measure, renamed
from train.negatives import HELD_OUT

from ..errors import ExportError
from ..unsure import COVERAGE, check_enough
from .attach import without_gate
from .examine import figures_of, lines_of, refused_by
from .fit import MAX_REFUSED, FittedGate, Looked, fit_gate
from .head import THOROUGH, USUAL, Effort
from .images import look_at
from .taps import with_taps
from .write import originals_of, write_models

_N_VALIDATION, _N_TEST = 500, 500


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m export.gate pneumonia.onnx --data films/ --split runs/first/split.csv
  python -m export.gate pneumonia.onnx --data kermany=chest_xray/ --data covid/ --split split.csv \\
      --rename "bacterial pneumonia=pneumonia" --rename "viral pneumonia=pneumonia" \\
      --rename "COVID-19=pneumonia" --for-source kermany

The fp32 twin beside the model gets the same gate. Sign the files anew after that, or write the
manifest of shipped models (`python -m export.sign`).
""",
)
@click.argument("path", metavar="MODEL", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--split",
    "split_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The split.csv of a run: the gate is fitted on its train films, its limits and the unsure "
    "band on its validation films, and it is examined on its test films.",
)
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="FROM=TO",
    help="A finding of the data as a finding of the model.",
)
@click.option("--ignore", multiple=True, metavar="FINDING", help="Leave such films aside.")
@patient_option
@click.option(
    "--for-source",
    "for_sources",
    multiple=True,
    help="A source whose films the model is for: unsure band and reference are taken of these. All "
    "are where none is named; the gate accepts the films of all in any case.",
)
@click.option(
    "--films", "n_films", type=click.IntRange(8), default=1200, help="Train films of each source."
)
@click.option(
    "--images", "n_images", type=click.IntRange(8), default=300, help="Images of each kind."
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Read one resolution more of the network, with a head of twice the width, fitted for "
    "twice as long. For a network that learned from films alone; films take longer, too.",
)
@click.option(
    "--max-refused",
    type=click.FloatRange(0, 0.1, min_open=True),
    default=MAX_REFUSED,
    show_default=True,
    help="The part of readable validation films that may be refused for their condition, and as "
    "many for their distance.",
)
@click.option(
    "--coverage", type=click.FloatRange(0.5, 0.999), default=COVERAGE, help="Of the unsure band."
)
@click.option(
    "--version", show_default="its own", help="Of the model with this gate, which refuses others."
)
def command(
    path: Path,
    data: tuple[str, ...],
    split_path: Path,
    renames: tuple[str, ...],
    ignore: tuple[str, ...],
    patient_pattern: str,
    for_sources: tuple[str, ...],
    n_films: int,
    n_images: int,
    thorough: bool,
    max_refused: float,
    coverage: float,
    version: str | None,
) -> None:
    """Fit MODEL's gate, unsure band and reference, and write them into its file.

    Prints what became of each kind of image that was made of films of unseen patients.
    """
    originals = [each.as_version(version) for each in originals_of(path)]
    card = originals[-1].file.card
    effort = THOROUGH if thorough else USUAL
    tapped = with_taps(without_gate(originals[-1].network), effort.n_resolutions)
    split = _split(card, path.name, data, split_path, patient_pattern, renames, ignore)
    sources = sorted({film.source for film in split[TRAIN]})
    if unknown := sorted(set(for_sources) - set(sources)):
        raise ExportError(
            f"There are no train films of {', '.join(unknown)}.", f"Sources: {', '.join(sources)}."
        )
    own = {
        part: [film for film in split[part] if film.source in (for_sources or sources)]
        for part in (VALIDATION, TEST)
    }
    for point in card.operating_points:
        present = [point.finding in film.labels for film in own[VALIDATION]]
        check_enough(point.finding, sum(present), len(present) - sum(present), coverage)

    fitted, examined = _fitted(tapped, card, split, sources, n_films, n_images, effort, max_refused)
    codes = refused_by(*fitted.answer(examined.taps), fitted.gate)
    gate = dataclasses.replace(fitted.gate, figures=figures_of(codes, examined))
    click.echo("Images made of test films:")
    for line in lines_of(codes, examined):
        click.echo(f"  {line}")
    click.echo(
        f"Refused: readable with a probability below {gate.min_readable:.3g}, or at a distance "
        f"above {gate.max_distance:.3g}. So of these images there were"
    )
    for figure in gate.figures:
        click.echo(
            f"  {figure.name:54} {figure.value:7.2%} ({figure.low:.2%} to {figure.high:.2%}) "
            f"of {figure.n_films}"
        )
    where = f"films of {', '.join(for_sources or sources)}, of patients held out of training"
    write_models(originals, dataclasses.replace(fitted, gate=gate), own, where, coverage)


def _split(
    card: ModelCard,
    name: str,
    data: Sequence[str],
    split_path: Path,
    patient_pattern: str,
    renames: Sequence[str],
    ignore: Sequence[str],
) -> Split:
    """The films of the split, by the model's own findings; name: the model's."""
    labels = Labels(card.findings, card.activation == SOFTMAX, renamed(renames), tuple(ignore))
    films = films_to_measure(entries_of(data, patient_pattern), labels)
    check_known(films, "labelled", card.findings, name)
    return read_split(split_path, films)


def _fitted(
    tapped: onnx.ModelProto,
    card: ModelCard,
    split: Split,
    sources: Sequence[str],
    n_films: int,
    n_images: int,
    effort: Effort,
    max_refused: float,
) -> tuple[FittedGate, Looked]:
    """The gate, and the images that it is examined on; tapped: see with_taps."""

    def looked(part: str, n: int, n_refused: int, n_readable: int, seed: int) -> Looked:
        known = part != TEST
        return look_at(
            _pixels(split[part], sources, n, card),
            tapped,
            card.input,
            n_refused,
            n_readable,
            HELD_OUT if known else (),
            seed,
            f"images of {part} films",
        )

    learned = looked(TRAIN, n_films, n_images, 2 * n_images, 1)
    held = looked(VALIDATION, _N_VALIDATION, 0, n_images // 2, 2)
    where = f"{len(learned)} images made of train films of {', '.join(sources)}"
    fitted = fit_gate(
        *(learned, held, where, effort),
        lambda epochs: tqdm(epochs, "fitting", leave=False, disable=None),
        max_refused,
    )
    return fitted, looked(TEST, _N_TEST, n_images // 2, n_images // 2, 3)


def _pixels(
    films: Sequence[Film], sources: Sequence[str], n: int, card: ModelCard
) -> Mapping[str, NDArray[np.uint8]]:
    """n films at most of each source that has any, drawn by lot, prepared: uint8 (N, H, W)."""
    rng = np.random.default_rng(0)
    pixels = {}
    for source in sources:
        of_source = [film for film in films if film.source == source]
        if not of_source:
            continue
        chosen = [of_source[i] for i in rng.permutation(len(of_source))[:n]]
        cached = cache_films(chosen, card.findings, card.input, film_bar, f"reading {source}")
        pixels[source] = cached.pixels[:, 0].numpy()
    return pixels


if __name__ == "__main__":
    run_command(command, "python -m export.gate")
