"""`python -m export.gate`: a model file learns to tell what it cannot read, and where it is unsure.

The network stays as it is: a small head is fitted on its own feature maps and added to its graph,
and the card gets what the head's outputs mean, the unsure band of each finding, and what a site's
films are compared with.
"""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.evidence import evidence_path, load_evidence
from cxr_edge.model import load_model
from cxr_edge.model_card import FP32, METADATA_KEY, SOFTMAX, ModelCard, UnsureBand
from cxr_edge.model_file import read_model_file, twin_path
from train.commands import CONTEXT, data_option, entries_of, film_bar, patient_option, run_command
from train.config import Labels
from train.data.films import Film, load_films
from train.data.pixels import cache_films
from train.data.split import TEST, TRAIN, VALIDATION, Split, read_split
from train.measure.answers import answers_of_model
from train.measure.selection import renamed
from train.negatives import HELD_OUT

from ..errors import ExportError
from ..unsure import COVERAGE, fit_band
from .attach import with_gate, without_gate
from .examine import figures_of, lines_of
from .fit import FittedGate, Looked, fit_gate
from .images import look_at
from .reference import reference_of
from .taps import with_taps

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
    "--coverage", type=click.FloatRange(0.5, 0.999), default=COVERAGE, help="Of the unsure band."
)
def command(
    path: Path,
    data: tuple[str, ...],
    split_path: Path,
    renames: tuple[str, ...],
    patient_pattern: str,
    for_sources: tuple[str, ...],
    n_films: int,
    n_images: int,
    coverage: float,
) -> None:
    """Fit MODEL's gate, unsure band and reference, and write them into its file.

    Prints what became of each kind of image that was made of films of unseen patients.
    """
    card = read_model_file(path).card
    labels = Labels(card.findings, card.activation == SOFTMAX, renamed(renames))
    entries = entries_of(data, patient_pattern)
    split = read_split(split_path, load_films(entries, labels, film_bar).films)
    sources = sorted({film.source for film in split[TRAIN]})
    if unknown := sorted(set(for_sources) - set(sources)):
        raise ExportError(
            f"There are no train films of {', '.join(unknown)}.", f"Sources: {', '.join(sources)}."
        )
    model = without_gate(onnx.load(path))
    fitted, examined = _fitted(model, card, split, sources, n_films, n_images)
    for line in lines_of(fitted, examined):
        click.echo(line)
    gate = dataclasses.replace(fitted.gate, figures=figures_of(fitted, examined))
    for figure in gate.figures:
        value = f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
        click.echo(f"{figure.name:55} {value} of {figure.n_films}")
    own = for_sources or tuple(sources)
    _write(path, dataclasses.replace(fitted, gate=gate), split, own, coverage)


def _fitted(
    model: onnx.ModelProto,
    card: ModelCard,
    split: Split,
    sources: Sequence[str],
    n_films: int,
    n_images: int,
) -> tuple[FittedGate, Looked]:
    """The gate, and the images that it is examined on."""
    tapped = with_taps(model)

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
    fitted = fit_gate(learned, held, where, lambda epochs: tqdm(epochs, "fitting", leave=False))
    return fitted, looked(TEST, _N_TEST, n_images // 2, n_images // 2, 3)


def _pixels(
    films: Sequence[Film], sources: Sequence[str], n: int, card: ModelCard
) -> Mapping[str, NDArray[np.uint8]]:
    """n films of each source at most, drawn by lot, prepared: uint8 (N, H, W)."""
    rng = np.random.default_rng(0)
    pixels = {}
    for source in sources:
        of_source = [film for film in films if film.source == source]
        chosen = [of_source[i] for i in rng.permutation(len(of_source))[:n]]
        cached = cache_films(chosen, card.findings, card.input, film_bar, f"reading {source}")
        pixels[source] = cached.pixels[:, 0].numpy()
    return pixels


def _write(
    path: Path, fitted: FittedGate, split: Split, sources: Sequence[str], coverage: float
) -> None:
    """Write the model, and its twin before it; all or none."""
    of_sources = {
        part: [film for film in split[part] if film.source in sources]
        for part in (VALIDATION, TEST)
    }
    where = f"films of {', '.join(sources)}, of patients held out of training"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as name:
        folder = Path(name)
        twin_sha256 = ""
        card = read_model_file(path).card
        if card.precision != FP32 and card.twin_sha256:
            twin = _written(twin_path(path), folder, fitted, of_sources, where, coverage, "")
            twin_sha256 = load_model(twin, "cpu").sha256
        _written(path, folder, fitted, of_sources, where, coverage, twin_sha256)
        # The model last: what belongs to it is there by then.
        for written in sorted(folder.iterdir(), key=lambda each: each.name == path.name):
            click.echo(f"{path.with_name(written.name)}: {written.stat().st_size / 1e6:.2f} MB")
            written.replace(path.with_name(written.name))


def _written(
    path: Path,
    folder: Path,
    fitted: FittedGate,
    films: Mapping[str, Sequence[Film]],
    where: str,
    coverage: float,
    twin_sha256: str,
) -> Path:
    """A model of `path` with the gate, in the folder, and its evidence."""
    file = read_model_file(path)
    network = with_gate(onnx.load(path), fitted.head, fitted.whitening)
    card = dataclasses.replace(
        file.card, gate=fitted.gate, unsure=(), reference=None, twin_sha256=twin_sha256
    )
    target = folder / path.name
    _save(network, card, target)
    card = dataclasses.replace(card, unsure=_bands(target, films[VALIDATION], where, coverage))
    _save(network, card, target)
    reference = reference_of(load_model(target, "cpu"), films[TEST], where)
    _save(network, dataclasses.replace(card, reference=reference), target)
    evidence = load_evidence(path, file.sha256)
    if evidence is not None:  # the same network gives the same curves
        sha256 = load_model(target, "cpu").sha256
        text = dataclasses.replace(evidence, model_sha256=sha256).to_json()
        evidence_path(target).write_text(text, encoding="utf-8")
    return target


def _save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """With the card in place of the one that is there; golden vectors and all else stay."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = card.to_json()
    path.write_bytes(model.SerializeToString(deterministic=True))


def _bands(
    path: Path, films: Sequence[Film], where: str, coverage: float
) -> tuple[UnsureBand, ...]:
    """The unsure band of each operating point, by the model file's own answers."""
    answers = answers_of_model(load_model(path, "cpu"), films, film_bar)
    refused = Counter(each.reason.partition(":")[0] for each in answers.unanswered)
    if refused:
        counts = ", ".join(f"{n} {code}" for code, n in refused.most_common())
        click.echo(f"{path.name}: of {len(films)} validation films refused: {counts}")
    bands = []
    for name, threshold in answers.thresholds.items():
        band = fit_band(name, *answers.of(name), threshold, where, coverage)
        click.echo(f"{path.name}: {name} is unsure from {band.low:.3f} to {band.high:.3f}")
        bands.append(band)
    return tuple(bands)


if __name__ == "__main__":
    run_command(command, "python -m export.gate")
