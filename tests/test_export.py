"""Export: the whole line on made films, and each thing that must not be written."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

import export.__main__ as export_main
import export.judge
import export.ranges
import train.__main__ as train_main
from cxr_edge import load_model, predict
from cxr_edge.errors import CxrEdgeError
from cxr_edge.evidence import evidence_path, load_evidence
from cxr_edge.golden import GOLDEN_KEY
from cxr_edge.interpret import to_probability
from cxr_edge.model import MODELS_FOLDER, shipped_models
from cxr_edge.model_card import METADATA_KEY, NO_FINDING, SIGMOID, SOFTMAX
from export.card_text import read_card_text
from export.compare import Tolerance, compare, require
from export.convert import to_onnx
from export.errors import ExportError
from export.operating_point import fit_shared_threshold, fit_temperature, fit_threshold
from export.quantize import head
from export.timing import Timing
from tests.conftest import ROOT
from train.learn.average import command as average_command
from train.learn.checkpoint import load_checkpoint, save_checkpoint
from train.measure.evaluate import command as evaluate_command
from train.measure.stress import STRESSES
from train.measure.stress import command as stress_command

# A whole recipe in seconds.
QUICK = """
title = "made films"
network = "small_cnn"
patient_pattern = '(person\\d+)_'
input = { width_px = 32, height_px = 32 }
augmentation = { only = true }
balance = { weighted_loss = true }
optimisation = { epochs = 4, batch_size = 8, ema_decay = 0.8, learning_rate = 0.003 }
"""
CARD = ROOT / "export" / "cards" / "pneumonia-children.toml"
ANYTHING, NOTHING = Tolerance(1, 1, 1, 1), Tolerance(0, 0, 0, 0)


def data_of(films: Path) -> tuple[object, ...]:
    return ("--data", f"folders={films}")


def invoke(command, *arguments: object) -> str:
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


@pytest.fixture(scope="session", autouse=True)
def no_clock() -> Iterator[None]:
    """Whatever this machine does meanwhile, int8 takes half of fp32's time; ranges come quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.judge, "side_by_side", lambda *models: Timing(1.0, 2.0))
        patch.setattr(export.ranges, "_N_BINS", 256)
        yield


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "quick.toml"
    path.write_text(QUICK, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> Path:
    """80 made films of 40 patients: with the finding the lower half is bright."""
    import cv2

    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for i in range(80):
        present = i % 2 == 1
        film = rng.normal(90, 30, (64, 64))
        film[32:] += 90 * present
        film[:8, :8] = 255
        label = folder / ("PNEUMONIA" if present else "NORMAL")
        label.mkdir(exist_ok=True)
        name = label / f"person{i // 2}_{i}.png"
        name.write_bytes(cv2.imencode(".png", np.clip(film, 0, 255).astype(np.uint8))[1].tobytes())
    return folder


@pytest.fixture(scope="session")
def run(films, quick, tmp_path_factory) -> Path:
    """A short run of `python -m train` on them."""
    out = tmp_path_factory.mktemp("runs") / "short"
    output = invoke(train_main.command, quick, *data_of(films), "--out", out)
    assert "epoch 4/4" in output
    return out


@pytest.fixture(scope="session")
def exported(films, run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    output = invoke(
        export_main.command, run / "checkpoint.pt", out, *data_of(films), "--card", CARD
    )
    assert "per channel, 7 bits" in output
    assert "Chosen: " in output
    return out


def export_run(run: Path, out: Path, films: Path, *options: object) -> str:
    return invoke(
        export_main.command,
        *(run / "checkpoint.pt", out, *data_of(films), "--card", CARD, *options),
    )


def test_a_run_folder_holds_what_is_needed_to_repeat_and_judge_it(run):
    assert {path.name for path in run.iterdir()} >= {
        "config.json",
        "split.csv",
        "epochs.jsonl",
        "metrics.json",
        "checkpoint.pt",
        "snapshot.pt",
        "learning.png",
        "roc.png",
        "scores-pneumonia.png",
    }
    test = json.loads((run / "metrics.json").read_text())["figures"]["test"]
    figures = test["findings"]["pneumonia"]
    assert {"auroc", "auprc", "sensitivity", "specificity", "brier", "ece"} <= set(figures)
    assert figures["auroc"]["low"] <= figures["auroc"]["value"] <= figures["auroc"]["high"]


def test_a_second_run_never_overwrites_the_first(films, quick, run):
    with pytest.raises(CxrEdgeError, match="already holds a run"):
        invoke(train_main.command, quick, *data_of(films), "--out", run)


def test_a_finished_run_resumed_stays_as_it_is(films, quick, run):
    before = (run / "checkpoint.pt").read_bytes()
    invoke(train_main.command, quick, *data_of(films), "--out", run, "--resume")
    assert len((run / "epochs.jsonl").read_text().splitlines()) == 4
    assert (run / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--set", "optimisation.learning_rate=1e-5"], "another configuration"),
        (["--leave-out", "person1_"], "split otherwise"),
    ],
)
def test_a_run_resumed_with_other_options_is_refused_and_left_alone(
    films, quick, run, option, said
):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(CxrEdgeError, match=said):
        invoke(train_main.command, quick, *data_of(films), "--out", run, "--resume", *option)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_nothing_to_resume_leaves_no_folder_behind(films, quick, tmp_path):
    with pytest.raises(CxrEdgeError, match="no snapshot"):
        invoke(train_main.command, quick, *data_of(films), "--out", tmp_path / "new", "--resume")
    assert not (tmp_path / "new").exists()


def test_the_exported_model_reads_films_like_the_runtime_expects(exported, films):
    model = load_model(exported, "cpu")
    assert model.card.findings == ("pneumonia",)
    assert model.card.training_data.licence == read_card_text(CARD).training_data.licence
    (figure,) = (f for f in model.card.figures if f.name == "pneumonia auroc")
    assert figure.value > 0.9
    present, absent = (
        predict(sorted((films / label).iterdir())[0], model)[0] for label in ("PNEUMONIA", "NORMAL")
    )
    assert present.probability > absent.probability


def test_the_exported_model_is_int8_takes_any_batch_and_needs_no_other_file(exported):
    model = onnx.load(exported, load_external_data=False)
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert [output.name for output in model.graph.output] == ["logits", "heatmaps"]
    assert not any(t.external_data for t in model.graph.initializer)
    assert METADATA_KEY in {prop.key for prop in model.metadata_props}
    inputs = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)
    loaded = load_model(exported, "cpu")
    one_by_one = np.concatenate([loaded.infer(inputs[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(loaded.infer(inputs), one_by_one, atol=1e-5)


def test_evaluate_prints_what_the_card_says(exported, films, run):
    output = invoke(evaluate_command, exported, *data_of(films), "--split", run / "split.csv")
    (figure,) = (f for f in load_model(exported).card.figures if f.name == "pneumonia accuracy")
    line = f"  {'accuracy':17} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
    assert line in output


def test_the_evidence_beside_a_model_says_what_its_card_says(exported):
    model = load_model(exported, "cpu")
    evidence = load_evidence(exported, model.sha256)
    assert evidence is not None
    (one,) = evidence.findings
    (point,) = model.card.operating_points
    (figure,) = (f for f in model.card.figures if f.name == "pneumonia auroc")
    assert (one.auroc.value, one.auroc.low, one.auroc.high) == (
        *(figure.value, figure.low, figure.high),
    )
    shown = one.operating_point
    assert (shown.threshold, shown.sensitivity.value, shown.specificity.value) == (
        *(point.threshold, point.sensitivity, point.specificity),
    )
    assert evidence.measured_on == point.measured_on
    assert evidence.n_films == figure.n_films


def test_a_checkpoint_has_no_evidence(films, run, tmp_path):
    with pytest.raises(CxrEdgeError, match="bound to a model file"):
        invoke(
            evaluate_command,
            *(run / "checkpoint.pt", *data_of(films), "--evidence", tmp_path / "c.evidence.json"),
        )


def test_evaluate_names_labels_that_the_model_does_not_know(exported, films, tmp_path):
    other = tmp_path / "films"
    shutil.copytree(films, other)
    (other / "PNEUMONIA").rename(other / "TUBERCULOSIS")
    with pytest.raises(CxrEdgeError, match="does not know tuberculosis"):
        invoke(evaluate_command, exported, "--data", other)


def test_no_path_of_the_machine_that_trained_gets_into_the_model(exported, films, run):
    data = exported.read_bytes()
    for path in (films, run, ROOT):
        assert str(path).encode() not in data
    # A film's name may be a patient's.
    assert load_model(exported).card.quantization["against fp32"]
    assert not [film.name for film in films.rglob("*.png") if film.stem.encode() in data]


@pytest.mark.parametrize(
    ("tolerance", "times_fp32", "why"),
    [(NOTHING, 2.0, r"probability change 0\.\d+ \(at most 0\)"), (ANYTHING, 1.0, "not faster")],
)
def test_where_no_int8_model_is_both_faster_and_the_same_fp32_is_written(
    films, run, tmp_path, monkeypatch, tolerance, times_fp32, why
):
    monkeypatch.setattr(export_main, "INT8", tolerance)
    monkeypatch.setattr(export.judge, "side_by_side", lambda *models: Timing(1.0, times_fp32))
    out = tmp_path / "m.onnx"
    output = export_run(run, out, films, "--finetuning-steps", 1, "--also", "fp32")
    rungs = [line for line in output.splitlines() if re.search(why, line)]
    names = [re.split(r"\s{2,}", line)[0] for line in rungs]
    assert names[0] == "per channel, 7 bits"
    assert names[-2:] == ["2 worst in fp32", "4 worst in fp32"]  # every rung was tried
    assert "finetuned" in names
    assert "Chosen: fp32, since no int8 model is both faster and the same." in output
    card = load_model(out, "cpu").card
    assert (card.precision, card.quantization, card.twin_sha256) == ("fp32", {}, "")
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert "QuantizeLinear" not in kinds
    assert set(tmp_path.iterdir()) == {out, evidence_path(out)}  # it needs no twin


def test_a_model_whose_fp32_form_differs_from_torch_is_not_written(
    films, run, tmp_path, monkeypatch
):
    def shifted(*arguments):
        model = to_onnx(*arguments)
        (bias,) = (t for t in model.graph.initializer if t.name == head(model.graph).input[2])
        moved = onnx.numpy_helper.to_array(bias) + np.float32(0.1)
        bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
        return model

    monkeypatch.setattr(export_main, "to_onnx", shifted)
    said = r"from torch differs too much.*probability change 0\.0\d+ \(at most 0.001\).*Nothing was"
    with pytest.raises(ExportError, match=said):
        export_run(run, tmp_path / "m.onnx", films)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("checkpoint", "out", "card", "message"),
    [
        ("none/checkpoint.pt", "m.onnx", CARD, "no split.csv beside"),
        ("{run}/checkpoint.pt", "m.pt", CARD, "Name a .onnx file"),
        ("{run}/checkpoint.pt", "none/m.onnx", CARD, "existing folder"),
        ("{run}/config.json", "m.onnx", CARD, "not a PyTorch checkpoint"),
        ("{run}/checkpoint.pt", "m.onnx", "none.toml", "not a usable card text"),
    ],
)
def test_what_cannot_be_exported_is_named(
    films, run, tmp_path, monkeypatch, checkpoint, out, card, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CxrEdgeError, match=message):
        invoke(
            export_main.command,
            *(checkpoint.format(run=run), out, *data_of(films), "--card", card),
        )


def test_a_card_text_that_lacks_a_fact_is_named(films, run, tmp_path):
    card = tmp_path / "card.toml"
    card.write_text(CARD.read_text().replace("intended_use", "use"))
    with pytest.raises(ExportError, match="use"):
        invoke(
            export_main.command,
            *(run / "checkpoint.pt", tmp_path / "m.onnx", *data_of(films), "--card", card),
        )


def test_the_operating_point_can_come_from_a_source_that_a_sister_run_left_out(
    films, quick, run, tmp_path
):
    sister = tmp_path / "sister"
    invoke(
        train_main.command,
        *(quick, *data_of(films), "--out", sister),
        *("--set", "optimisation.epochs=1", "--leave-out", "person[1-4]_"),
    )
    out = tmp_path / "m.onnx"
    invoke(
        export_main.command,
        *(run / "checkpoint.pt", out, *data_of(films), "--card", CARD),
        *("--shifted-run", sister / "checkpoint.pt"),
    )
    (point,) = load_model(out, "cpu").card.operating_points
    assert "left out of a sister run's training" in point.chosen_by
    with pytest.raises(ExportError, match="left nothing out"):
        invoke(
            export_main.command,
            *(run / "checkpoint.pt", out, *data_of(films), "--card", CARD),
            *("--shifted-run", run / "checkpoint.pt"),
        )


def test_a_sister_run_that_saw_test_patients_cannot_choose_the_operating_point(
    films, quick, run, tmp_path
):
    sister = tmp_path / "sister"
    invoke(
        train_main.command,
        *(quick, *data_of(films), "--out", sister, "--leave-out", "person[1-4]_"),
        *("--set", "optimisation.epochs=1", "--set", "optimisation.seed=2"),
    )
    with pytest.raises(ExportError, match=r"saw \d+ of the run's test patients"):
        invoke(
            export_main.command,
            *(run / "checkpoint.pt", tmp_path / "m.onnx", *data_of(films), "--card", CARD),
            *("--shifted-run", sister / "checkpoint.pt"),
        )


@pytest.fixture(scope="session")
def second_run(films, quick, run, tmp_path_factory) -> Path:
    """A run that goes on from the first one's weights, on its split."""
    out = tmp_path_factory.mktemp("runs") / "second"
    torch.save(load_checkpoint(run / "checkpoint.pt").state, out.with_suffix(".pth"))
    invoke(
        train_main.command,
        *(quick, *data_of(films), "--out", out),
        *("--set", "optimisation.epochs=2", "--set", "optimisation.seed=2"),
        *("--split", run / "split.csv", "--init", out.with_suffix(".pth")),
    )
    return out


def test_the_mean_of_runs_is_a_run_that_export_takes(films, run, second_run, tmp_path):
    mean, out = tmp_path / "mean", tmp_path / "m.onnx"
    checkpoints = [folder / "checkpoint.pt" for folder in (run, second_run)]
    invoke(average_command, *checkpoints, *data_of(films), "--out", mean)
    assert (mean / "split.csv").read_bytes() == (run / "split.csv").read_bytes()
    assert {"metrics.json", "roc.png"} <= {path.name for path in mean.iterdir()}
    weights, *parts = (
        load_checkpoint(path).state["features.0.0.weight"]
        for path in (mean / "checkpoint.pt", *checkpoints)
    )
    assert not torch.equal(*parts)
    torch.testing.assert_close(weights, (parts[0] + parts[1]) / 2)

    invoke(export_main.command, mean / "checkpoint.pt", out, *data_of(films), "--card", CARD)
    recipe = load_model(out, "cpu").card.recipe
    assert recipe["weights"] == "the mean of 2 runs, batch norm taken anew"
    assert (recipe["optimisation.epochs"], recipe["optimisation.seed"]) == ("4 | 2", "1 | 2")
    assert recipe["network"] == "small_cnn"


def test_a_stress_test_starts_from_the_threshold_of_the_untouched_films(films, run):
    output = invoke(stress_command, run / "checkpoint.pt", *data_of(films), "--sensitivity", 0.5)
    assert "pneumonia: present in 4, absent in 4" in output
    (untouched,) = (line for line in output.splitlines() if "as they are" in line)
    assert "sensitivity 0.500" in untouched
    assert len(output.splitlines()) == 1 + len(STRESSES)
    with pytest.raises(CxrEdgeError, match="no left out films"):
        invoke(stress_command, run / "checkpoint.pt", *data_of(films), "--part", "left out")


def test_runs_that_cannot_be_averaged_are_named(films, run, second_run, tmp_path):
    def average(*folders: Path, out: Path = tmp_path / "mean") -> None:
        checkpoints = [folder / "checkpoint.pt" for folder in folders]
        invoke(average_command, *checkpoints, *data_of(films), "--out", out)

    with pytest.raises(CxrEdgeError, match="nothing to average"):
        average(run)
    with pytest.raises(CxrEdgeError, match="already there"):
        average(run, second_run, out=run)
    with pytest.raises(CxrEdgeError, match="There is no file"):
        average(run, tmp_path / "none")
    with pytest.raises(CxrEdgeError, match=r"no split\.csv beside"):
        alone = tmp_path / "alone"
        alone.mkdir()
        for name in ("checkpoint.pt", "config.json"):
            shutil.copyfile(run / name, alone / name)
        average(run, alone)
    with pytest.raises(CxrEdgeError, match="not the configuration of a run"):
        (alone / "config.json").unlink()
        average(run, alone)
    with pytest.raises(CxrEdgeError, match="is a mean itself"):
        (alone / "averaged.json").write_text("[]")
        average(run, alone)
    other_split = tmp_path / "other"
    shutil.copytree(second_run, other_split)
    (other_split / "split.csv").write_bytes((run / "split.csv").read_bytes() + b"\n")
    with pytest.raises(CxrEdgeError, match="trained on another split"):
        average(run, other_split)
    other_finding = tmp_path / "finding"
    shutil.copytree(second_run, other_finding)
    checkpoint = load_checkpoint(other_finding / "checkpoint.pt")
    save_checkpoint(
        dataclasses.replace(checkpoint, findings=("tuberculosis",)),
        other_finding / "checkpoint.pt",
    )
    with pytest.raises(CxrEdgeError, match="other findings"):
        average(run, other_finding)
    assert not (tmp_path / "mean").exists()


def rungs_of(output: str) -> list[str]:
    """The names of the rungs in the table that export prints, fp32 first."""
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("rung "))
    return [re.split(r"\s{2,}", line)[0] for line in lines[start + 1 :] if re.search(r"\dp ", line)]


def fixed_timings(monkeypatch, times_fp32: Sequence[float], otherwise: float) -> None:
    """Timings of fp32 and of the rungs in their order."""
    given = iter(times_fp32)
    monkeypatch.setattr(
        export.judge, "side_by_side", lambda *models: Timing(1.0, next(given, otherwise))
    )


def test_climbing_ends_where_the_biases_are_corrected_and_int8_passes(
    films, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_main, "INT8", ANYTHING)
    output = export_run(run, tmp_path / "m.onnx", films)
    assert rungs_of(output) == ["fp32", "per channel, 7 bits", "biases corrected"]
    card = load_model(tmp_path / "m.onnx", "cpu").card
    assert card.precision == "int8"
    assert card.quantization["fp32"] == "the head"
    assert "films" in card.quantization["against fp32"]
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.evidence.json"}


def test_of_every_rung_the_fastest_that_passes_is_taken_and_none_that_saturates(
    films, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_main, "INT8", ANYTHING)
    # fp32, both with 8 bits, 7 bits, corrected, MSE, and the rest.
    fixed_timings(monkeypatch, [1.0, 9.0, 8.0, 1.5, 1.6, 3.0], 1.4)
    output = export_run(run, tmp_path / "m.onnx", films, "--every-rung", "--finetuning-steps", 0)
    names = rungs_of(output)
    assert names[1:3] == ["per tensor, 8 bits", "per channel, 8 bits"]
    assert names[-1] == "4 worst in fp32"
    assert output.count("saturates on CPUs without VNNI") == 2
    assert "Chosen: MSE ranges." in output
    card = load_model(tmp_path / "m.onnx", "cpu").card
    assert card.quantization["ranges"].startswith("MSE")
    assert "7 bits" in card.quantization["weights"]


def test_the_twin_and_the_half_are_written_beside_the_model(films, run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_main, "INT8", ANYTHING)
    out = tmp_path / "m.onnx"
    output = export_run(run, out, films, "--also", "fp32", "--also", "fp16")
    twin_path, half_path = tmp_path / "m.fp32.onnx", tmp_path / "m.fp16.onnx"
    models = {out, twin_path, half_path}
    assert set(tmp_path.iterdir()) == models | {evidence_path(path) for path in models}
    assert all(f"{path}: " in output for path in (out, twin_path, half_path))
    model, twin, half = (load_model(path, "cpu") for path in (out, twin_path, half_path))
    assert (model.card.precision, twin.card.precision, half.card.precision) == (
        *("int8", "fp32", "fp16"),
    )
    assert model.card.twin_sha256 == hashlib.sha256(twin_path.read_bytes()).hexdigest()
    assert (twin.card.twin_sha256, half.card.twin_sha256) == ("", "")
    # One operating point and temperature for all, whichever reads a film.
    assert len({m.card.temperature for m in (model, twin, half)}) == 1
    assert len({m.card.operating_points[0].threshold for m in (model, twin, half)}) == 1
    inputs = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(half.infer(inputs), twin.infer(inputs), atol=0.02)
    kinds = {t.data_type for t in onnx.load(half_path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert half_path.stat().st_size < twin_path.stat().st_size


def test_where_one_of_the_variants_fails_nothing_is_written(films, run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_main, "INT8", ANYTHING)
    monkeypatch.setattr(export_main, "FP16", NOTHING)
    out = tmp_path / "m.onnx"
    out.write_bytes(b"the model of last week")
    with pytest.raises(ExportError, match=r"fp16 differs too much"):
        export_run(run, out, films, "--also", "fp32", "--also", "fp16")
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"the model of last week"


def test_ranges_from_a_folder_without_labels_and_not_from_films_of_another_kind(
    films, run, tmp_path, monkeypatch
):
    import cv2

    rng = np.random.default_rng(0)
    noise = tmp_path / "noise"
    noise.mkdir()
    for i in range(40):
        film = rng.integers(0, 256, (64, 64)).astype(np.uint8)
        (noise / f"{i}.png").write_bytes(cv2.imencode(".png", film)[1].tobytes())
    out = tmp_path / "m.onnx"
    with pytest.raises(ExportError, match="not of the kind"):
        export_run(run, out, films, "--range-data", noise)
    assert not out.exists()
    monkeypatch.setattr(export_main, "INT8", ANYTHING)
    export_run(run, out, films, "--range-data", films / "PNEUMONIA")
    assert load_model(out, "cpu").card.precision == "int8"


def test_a_comparison_counts_flips_and_names_the_worst_film():
    present = np.array([[True], [True], [False], [False]])
    reference = np.array([[0.9], [0.6], [0.4], [0.1]])
    candidate = np.array([[0.9], [0.45], [0.4], [0.5]])
    films = [Path(name) for name in "abcd"]
    comparison = compare("c", reference, candidate, present, [0.5], films)
    assert comparison.flips == 0.5
    assert comparison.worst_film == Path("d")
    assert comparison.probability_change == pytest.approx(0.4)
    assert comparison.auroc_change == pytest.approx(-0.25)
    # All four were right; now one is missed and one is called what it is not.
    assert comparison.accuracy_change == pytest.approx(-0.5)
    both = compare(
        "c", *(np.hstack([x, x]) for x in (reference, candidate, present)), [0.5, np.inf], films
    )
    assert both.flips == 0.5  # nothing is decided by the second
    with pytest.raises(ExportError, match=r"flipped decisions 0\.5000 \(at most 0\.1\).*film is d"):
        require(comparison, Tolerance(auroc=1, accuracy=1, flips=0.1, probability=1))


def test_the_temperature_that_made_overconfident_logits_is_found_again():
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 1))
    present = rng.random(honest.shape) < to_probability(honest, SIGMOID, 1.0)
    assert fit_temperature(honest * 3, present, SIGMOID) == pytest.approx(3, rel=0.1)
    three = rng.normal(0, 2, (20_000, 3))
    cumulated = to_probability(three, SOFTMAX, 1.0).cumsum(1)
    drawn = (rng.random((20_000, 1)) > cumulated).sum(1)
    present = drawn[:, None] == np.arange(3)
    assert fit_temperature(three * 0.5, present, SOFTMAX) == pytest.approx(0.5, rel=0.1)


def test_findings_that_exclude_each_other_share_the_threshold_with_most_films_right():
    findings = (NO_FINDING, "a", "b")
    probability = np.array(
        [[0.7, 0.2, 0.1], [0.72, 0.1, 0.18], [0.6, 0.3, 0.1], [0.1, 0.45, 0.45], [0.5, 0.1, 0.4]]
    )
    true = np.array([0, 0, 1, 1, 2])
    present = true[:, None] == np.arange(3)
    # 0.2 and 0.18 must stay below, 0.3 must not.
    assert 0.2 < fit_shared_threshold(present, probability, findings) < 0.3


def test_the_threshold_keeps_the_sensitivity_and_takes_the_best_specificity():
    present = np.array([True] * 10 + [False] * 4)
    probability = np.array([0.2, *[0.8] * 9, 0.1, 0.1, 0.3, 0.9])
    threshold = fit_threshold(present, probability, min_sensitivity=0.9)
    assert 0.3 < threshold < 0.8
    threshold = fit_threshold(present, probability, min_sensitivity=1.0)
    assert 0.1 < threshold < 0.2
    with pytest.raises(ExportError, match="only one label"):
        fit_threshold(np.ones(3, bool), np.ones(3), 0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "pneumonia", "--data", "none", "--out", "run"), "Error: There is no"),
        (("train", "nowhere.toml", "--data", "d", "--out", "run"), "Error: The recipe nowhere"),
        (("train", "measles", "--data", "d", "--out", "run"), "No such command 'measles'"),
        (("export", "c.pt", "m.onnx", "--data", "d", "--card", str(CARD)), "Error: There is no"),
        (("train", "evaluate", "none.onnx", "--data", "d"), "Error: The model none.onnx cannot be"),
    ],
)
def test_a_users_mistake_is_a_message_and_an_exit_code(tmp_path, arguments, message):
    outcome = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode in (2, 4)
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_names_no_place_of_the_machine_that_made_it(name):
    model = onnx.load(MODELS_FOLDER / f"{name}.onnx")
    assert [prop.key for prop in model.metadata_props] == [METADATA_KEY, GOLDEN_KEY]
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    data = model.SerializeToString()
    assert not any(mark in data for mark in (b'File "', b"site-packages", b"/home/", b"/tmp/"))
