"""`python -m export.gate`: a model file and its twin get gate, band and reference, or stay."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import export.gate.__main__
import export.gate.images
import export.gate.write
from cxr_edge.errors import CxrEdgeError
from cxr_edge.evidence import evidence_path, load_evidence
from cxr_edge.gate import TOLD
from cxr_edge.model import load_model
from cxr_edge.model_card import READABLE, Reference
from cxr_edge.model_file import twin_path
from cxr_edge.reading import predict_result
from export.errors import ExportError
from export.gate.__main__ import command
from export.gate.attach import without_gate
from export.model_writer import write_model
from tests.made import encode
from tests.small_gate import card_of, fp32_of, int8_of, write_run
from tests.test_evidence import some_evidence
from train.commands import entries_of
from train.config import Labels
from train.data.films import Film
from train.data.split import read_split
from train.measure.selection import films_to_measure
from train.negatives import HELD_OUT, KINDS

NAME = "resnet18"
# One kind of each code, and two that are held out.
FEW = {kind.code: kind.name for kind in KINDS if kind.name not in HELD_OUT}
FEW_KINDS = tuple(k for k in KINDS if k.name in {*FEW.values(), "inverted_windowed", "scanned"})


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file in int8, its fp32 twin and the evidence of both, without a gate."""
    path = tmp_path_factory.mktemp("bare") / "made.onnx"
    twin = write_model(fp32_of(NAME), card_of(), twin_path(path))
    model = write_model(int8_of(NAME), card_of(precision="int8", twin_sha256=twin.sha256), path)
    for one in (model, twin):
        text = some_evidence(one.sha256).to_json()
        evidence_path(one.path).write_text(text, encoding="utf-8")
    return path


def films_of(data: tuple[Path, Path]) -> tuple[Film, ...]:
    return films_to_measure(entries_of([str(data[0])]), Labels(("pneumonia",)))


def invoke(path: Path, data: tuple[Path, Path], *options: object) -> Result:
    manifest, split = data
    arguments = (path, "--data", manifest, "--split", split, *options)
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def few_kinds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.gate.images, "KINDS", FEW_KINDS)
        yield


QUICK = ("--films", 16, "--images", 8, "--coverage", 0.6)


@pytest.fixture(scope="session")
def gated(
    few_kinds: None,
    bare: Path,
    data: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """The model file with a gate, its twin and evidence beside it, and what was printed."""
    folder = shutil.copytree(bare.parent, tmp_path_factory.mktemp("gated") / "models")
    outcome = invoke(folder / bare.name, data, *QUICK)
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    return folder / bare.name, outcome.output


@pytest.fixture
def copy(few_kinds: None, bare: Path, tmp_path: Path) -> Path:
    """The files without a gate, to be done with as one likes."""
    return shutil.copytree(bare.parent, tmp_path / "models") / bare.name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(path: Path, data: tuple[Path, Path], *options: object) -> CxrEdgeError:
    """The error of a call that must leave everything as it was."""
    before = contents(path.parent)
    outcome = invoke(path, data, *QUICK, *options)
    assert isinstance(outcome.exception, CxrEdgeError), outcome.output
    assert contents(path.parent) == before
    return outcome.exception


def test_a_model_and_its_twin_get_the_same_gate_each_its_own_band_and_reference(
    gated: tuple[Path, str], bare: Path, data: tuple[Path, Path]
) -> None:
    path, _ = gated
    assert set(contents(path.parent)) == set(contents(bare.parent))
    model, twin = load_model(path, "cpu"), load_model(twin_path(path), "cpu")
    assert model.card.twin_sha256 == twin.sha256 != load_model(bare, "cpu").card.twin_sha256
    assert twin.card.twin_sha256 == ""
    gate = model.card.gate
    assert gate is not None
    assert twin.card.gate == gate
    assert gate.conditions[0] == READABLE
    assert set(gate.conditions[1:]) == set(TOLD)
    assert len(gate.centres) == 2  # of two hospitals
    assert {"refused: all kinds together", "accepted: films of hospital 1, as they are"} <= {
        figure.name for figure in gate.figures
    }
    split = read_split(data[1], films_of(data))
    for card in (model.card, twin.card):
        (band,) = card.unsure
        assert (band.finding, band.coverage) == ("pneumonia", 0.6)
        assert band.n_present + band.n_absent <= len(split["validation"])
        reference = card.reference
        assert reference is not None
        assert reference.n_films == len(split["test"])
        assert sum(reference.distances) == reference.n_films - reference.n_refused
        for said in (band.measured_on, reference.measured_on):
            assert "hospital 0, hospital 1" in said
            assert "held out of training" in said


def test_the_network_its_golden_vectors_and_the_rest_of_the_card_stay(
    gated: tuple[Path, str], bare: Path
) -> None:
    for before, after in ((bare, gated[0]), (twin_path(bare), twin_path(gated[0]))):
        old, new = load_model(before, "cpu"), load_model(after, "cpu")
        assert without_gate(onnx.load(after)).graph == onnx.load(before).graph
        assert new.golden_text == old.golden_text
        assert new.drift() == old.drift()
        own = {"gate": None, "unsure": (), "reference": None, "twin_sha256": ""}
        assert dataclasses.replace(new.card, **own) == dataclasses.replace(old.card, **own)


def test_evidence_beside_a_model_is_bound_to_its_new_file(gated: tuple[Path, str]) -> None:
    for path in (gated[0], twin_path(gated[0])):
        model = load_model(path, "cpu")
        assert load_evidence(path, model.sha256) == some_evidence(model.sha256)


def test_the_runtime_reads_films_by_the_gate(
    gated: tuple[Path, str], data: tuple[Path, Path], tmp_path: Path
) -> None:
    model = load_model(gated[0], "cpu")
    results = [predict_result(film.path, model) for film in films_of(data)]
    answered = [result for result in results if result.status == "ok"]
    assert len(answered) > 0.9 * len(results)  # most of them it was fitted on
    assert all(result.distance is not None for result in answered)
    noise = tmp_path / "noise.png"
    noise.write_bytes(
        encode(np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8), "PNG")
    )
    refused = predict_result(noise, model)
    assert refused.status == "refused"
    assert refused.code in {*TOLD, "unlike_training"}


def test_what_became_of_each_kind_is_printed_with_the_figures_of_the_card(
    gated: tuple[Path, str],
) -> None:
    path, output = gated
    for kind in FEW_KINDS:
        assert f"  {kind.name}{'*' if kind.name in HELD_OUT else ' '}" in output
    gate = load_model(path, "cpu").card.gate
    assert gate is not None
    for figure in gate.figures:
        assert f"{figure.name:54} {figure.value:7.2%}" in output
    lines = output.splitlines()
    assert sum("of 12 validation films" in line for line in lines) == 2
    assert lines[-1].startswith(f"{path}: ")  # the model last, when all else is there
    assert sum("are unsure for pneumonia, from 0." in line for line in lines) == 2


def renamed_in(folder: Path, data: tuple[Path, Path]) -> tuple[Path, Path]:
    """The same films in another folder, with viral pneumonia instead."""
    for film in films_of(data):
        shutil.copy(film.path, folder)
    text = data[0].read_text(encoding="utf-8-sig").replace("pneumonia", "viral pneumonia")
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder / "manifest.csv", data[1]


def test_fitted_again_it_is_the_same_file_whatever_a_finding_is_called_elsewhere(
    gated: tuple[Path, str], data: tuple[Path, Path], tmp_path: Path
) -> None:
    path, _ = gated
    before = contents(path.parent)
    rename = ("--rename", "viral pneumonia=pneumonia")
    outcome = invoke(path, renamed_in(tmp_path, data), *QUICK, *rename)
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    assert contents(path.parent) == before


def test_band_and_reference_can_be_of_one_source_and_another_may_lack_test_films(
    copy: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of a model without a twin."""
    alone = tmp_path / "alone" / "model.onnx"
    alone.parent.mkdir()
    shutil.copyfile(twin_path(copy), alone)
    lines = data[1].read_text(encoding="utf-8").splitlines()
    moved = [line.replace("test,", "train,") if "hospital 0" in line else line for line in lines]
    split = tmp_path / "split.csv"
    split.write_text("\n".join(moved), encoding="utf-8")
    options = ("--for-source", "hospital 1", "--version", "2.1")
    outcome = invoke(alone, (data[0], split), *QUICK, *options)
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    assert "accepted: films of hospital 1, as they are" in outcome.output
    assert "accepted: films of hospital 0" not in outcome.output
    assert [path.name for path in alone.parent.iterdir()] == ["model.onnx"]
    card = load_model(alone, "cpu").card
    assert card.label == "tiny 2.1"
    films = read_split(split, films_of(data)).films
    assert {film.source for film in films["test"]} == {"hospital 1"}
    assert card.reference is not None
    assert card.reference.n_films == len(films["test"])
    own = [film for film in films["validation"] if film.source == "hospital 1"]
    assert card.unsure[0].n_present + card.unsure[0].n_absent <= len(own) < len(films["validation"])
    assert card.unsure[0].measured_on.startswith("films of hospital 1, of patients held out")
    assert card.gate is not None
    assert len(card.gate.centres) == 2  # the gate accepts the films of both


# --- What cannot be ------------------------------------------------------------------------------


def test_a_source_that_is_not_there_is_named(copy: Path, data: tuple[Path, Path]) -> None:
    error = refusal(copy, data, "--for-source", "hospital 1", "--for-source", "Kermany")
    assert "no train films of Kermany" in str(error)
    assert "hospital 0, hospital 1" in error.next_step


def test_films_of_the_split_that_have_gone_are_named(
    copy: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    kept = data[0].read_text(encoding="utf-8-sig").splitlines()[:-2]
    manifest.write_text("\n".join(kept), encoding="utf-8")
    for film in films_of(data):
        shutil.copy(film.path, tmp_path)
    assert "The data lack 2 films of the split" in str(refusal(copy, (manifest, data[1])))


def test_findings_that_the_model_does_not_know_are_named(
    copy: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    elsewhere = renamed_in(tmp_path, data)
    error = refusal(copy, elsewhere)
    assert "made.onnx does not know viral pneumonia" in str(error)
    assert '--rename "viral pneumonia=..."' in error.next_step
    # Without those the split is not whole.
    assert "The data lack 24 films" in str(refusal(copy, elsewhere, "--ignore", "viral pneumonia"))


def test_too_few_films_for_the_coverage_are_told_before_anything_is_fitted(
    copy: Path, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.gate.__main__, "fit_gate", None)
    error = refusal(copy, data, "--coverage", 0.98)
    assert "6 validation films with pneumonia are too few" in str(error)
    assert "Give 49 or more" in error.next_step


def test_a_twin_gets_its_gate_with_its_model_alone(copy: Path, data: tuple[Path, Path]) -> None:
    error = refusal(twin_path(copy), data)
    assert "is the twin of made.onnx" in str(error)
    assert str(copy) in error.next_step


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_fitted(
    copy: Path, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK
    )  # whoever runs this may write
    error = refusal(copy, data)
    assert f"Nothing can be written into {copy.parent}" in str(error)


def test_a_model_whose_twin_or_evidence_is_not_its_own_is_refused_before_anything_is_fitted(
    copy: Path, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.gate.__main__, "fit_gate", None)
    right = evidence_path(copy).read_bytes()
    evidence_path(copy).write_text(some_evidence("c" * 64).to_json(), encoding="utf-8")
    assert "made for another model file" in str(refusal(copy, data))
    evidence_path(copy).write_bytes(right)
    with twin_path(copy).open("ab") as file:
        file.write(b"\0")
    assert "was changed or damaged" in str(refusal(copy, data))
    twin_path(copy).unlink()
    assert "cannot be read" in str(refusal(copy, data))


def test_where_the_reference_cannot_be_taken_neither_model_nor_twin_is_written(
    copy: Path, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin is done by then; it stays as it was all the same."""
    n_calls = []

    def fails(*arguments: object) -> Reference:
        n_calls.append(1)
        if len(n_calls) == 2:
            raise ExportError("no reference", "none")
        return Reference("made films", 0, 0, (), (), ())

    monkeypatch.setattr(export.gate.write, "reference_of", fails)
    assert "no reference" in str(refusal(copy, data))
    assert len(n_calls) == 2


def test_the_help_says_how_it_is_called_and_what_has_to_be_signed_afterwards() -> None:
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "python -m export.gate pneumonia.onnx --data" in shown.split("Example:", 1)[1]
    assert "python -m export.sign" in shown
