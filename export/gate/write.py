"""A fitted gate into the model's file and its fp32 twin's, with all that the card says of it."""

import dataclasses
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx

from cxr_edge.evidence import Evidence, evidence_path, load_evidence
from cxr_edge.model import load_model
from cxr_edge.model_card import METADATA_KEY, ModelCard, UnsureBand
from cxr_edge.model_file import TWIN_SUFFIX, ModelFile, read_model_file, twin_path
from train.commands import film_bar
from train.data.films import Film
from train.data.split import TEST, VALIDATION
from train.measure.answers import answers_of_model

from ..errors import ExportError
from ..unsure import fit_band
from .attach import with_gate
from .fit import FittedGate
from .reference import reference_of


@dataclass(frozen=True, eq=False)
class Original:
    """A model file before it has the gate, and the evidence beside it."""

    file: ModelFile
    evidence: Evidence | None

    def as_version(self, version: str | None) -> "Original":
        """The same under another version, where one is given."""
        card = dataclasses.replace(self.file.card, version=version or self.file.card.version)
        return dataclasses.replace(self, file=dataclasses.replace(self.file, card=card))

    @property
    def network(self) -> onnx.ModelProto:
        return onnx.load_from_string(self.file.data)


def originals_of(path: Path) -> tuple[Original, ...]:
    """The fp32 twin of a model, where it has one, and the model.

    Raises ModelError: one of them, or its evidence, is missing or not what it should be.
    Raises ExportError: the model is itself another one's twin, or cannot be written anew.
    """
    file = read_model_file(path)
    whose = path.with_name(path.name.removesuffix(TWIN_SUFFIX) + ".onnx")
    if path.name.endswith(TWIN_SUFFIX) and whose.is_file():
        raise ExportError(
            f"{path} is the twin of {whose.name}, and must have its gate.",
            f"Name {whose}: its twin gets the same gate.",
        )
    if not os.access(path.parent, os.W_OK):
        raise ExportError(
            f"Nothing can be written into {path.absolute().parent}.",
            "Copy the model there, and what lies beside it, into a folder of your own.",
        )
    files = [file]
    if file.card.twin_sha256:
        files.insert(0, read_model_file(twin_path(path), file.card.twin_sha256))
    return tuple(Original(one, load_evidence(one.path, one.sha256)) for one in files)


def write_models(
    originals: Sequence[Original],
    fitted: FittedGate,
    films: Mapping[str, Sequence[Film]],
    where: str,
    coverage: float,
) -> None:
    """Write the twin and the model, both or neither, in place of the originals.

    films: of VALIDATION, which give the unsure bands, and of TEST, which give the reference; where:
    what they are. Raises ExportError: see fit_band and reference_of.
    """
    (*_, model) = originals
    path = model.file.path
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as name:
        folder, twin_sha256 = Path(name), ""
        for original in originals:
            target = _written(original, folder, fitted, films, where, coverage, twin_sha256)
            twin_sha256 = read_model_file(target).sha256
        # The model last: what belongs to it is there by then.
        for written in sorted(folder.iterdir(), key=lambda each: each.name == path.name):
            final = path.with_name(written.name)
            click.echo(f"{final}: {written.stat().st_size / 1e6:.2f} MB")
            written.replace(final)


def _written(
    original: Original,
    folder: Path,
    fitted: FittedGate,
    films: Mapping[str, Sequence[Film]],
    where: str,
    coverage: float,
    twin_sha256: str,
) -> Path:
    """The model with the gate, in the folder, and its evidence."""
    target = folder / original.file.path.name
    network = with_gate(original.network, fitted.head, fitted.whitening, fitted.n_resolutions)
    card = dataclasses.replace(
        original.file.card, gate=fitted.gate, unsure=(), reference=None, twin_sha256=twin_sha256
    )
    _save(network, card, target)
    card = dataclasses.replace(card, unsure=_bands(target, films[VALIDATION], where, coverage))
    _save(network, card, target)
    reference = reference_of(load_model(target, "cpu"), films[TEST], where)
    _save(network, dataclasses.replace(card, reference=reference), target)
    if original.evidence is not None:  # the same network gives the same curves
        sha256 = read_model_file(target).sha256
        text = dataclasses.replace(original.evidence, model_sha256=sha256).to_json()
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
    counts = Counter(film.code for film in answers.unanswered)
    codes = ", ".join(f"{n} {code}" for code, n in counts.most_common())
    refused = f"{len(answers.unanswered)} are refused" + (f" ({codes})" if codes else "")
    click.echo(f"{path.name}: of {len(films)} validation films {refused}; of the others")
    bands = []
    for name, threshold in answers.thresholds.items():
        present, probability = answers.of(name)
        band = fit_band(name, present, probability, threshold, where, coverage)
        unsure = np.mean((probability >= band.low) & (probability < band.high))
        click.echo(f"  {unsure:.1%} are unsure for {name}, from {band.low:.3f} to {band.high:.3f}")
        bands.append(band)
    return tuple(bands)
