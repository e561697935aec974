"""Each recipe, whole, in seconds: made films in, a run folder out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cxr_edge.errors import CxrEdgeError
from train.__main__ import command
from train.data.manifest import Entry, write_manifest
from train.learn.checkpoint import load_checkpoint
from train.recipe import read_recipe, recipe_names, recipe_path

QUICK = (
    "optimisation.epochs=1",
    "optimisation.small_epochs=0",
    "optimisation.batch_size=16",
    "input.width_px=32",
    "input.height_px=32",
    "teaching.weight=0.0",
)
N_FILMS = 12


def manifest_of(folder: Path, findings: list[str]) -> Path:
    """Made films of every finding, from two sources: a bright band tells the finding."""
    rng = np.random.default_rng(0)
    entries = []
    for k, finding in enumerate(findings):
        for i in range(N_FILMS):
            film = rng.normal(90, 40, (40, 40))
            film[4 * k : 4 * k + 8] += 90
            path = folder / f"{finding} {i}.png"
            path.write_bytes(cv2.imencode(".png", film.clip(0, 255).astype(np.uint8))[1].tobytes())
            given = () if finding == "no finding" else (finding,)
            entries.append(Entry(path, given, f"{finding} {i}", f"hospital {i % 2}"))
    write_manifest(entries, folder / "manifest.csv")
    return folder / "manifest.csv"


def findings_of(name: str) -> list[str]:
    """As the recipe's data sets name them, before it renames them."""
    path = recipe_path(name)
    assert path is not None
    labels = read_recipe(path).config.labels
    own = {**labels.rename, "hernia": labels.rename.get("*")}
    told = [finding for finding in own if own[finding] in labels.findings and finding != "*"]
    return ["no finding", *(f for f in labels.findings if f not in own.values()), *told]


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_makes_a_checkpoint_with_its_evidence(name: str, tmp_path: Path) -> None:
    findings = list(dict.fromkeys(findings_of(name)))
    manifest = manifest_of(tmp_path, findings)
    out = tmp_path / "run"
    arguments = [name, "--data", str(manifest), "--out", str(out)]
    for setting in QUICK:
        arguments += ["--set", setting]
    outcome = CliRunner().invoke(command, arguments)
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    checkpoint = load_checkpoint(out / "checkpoint.pt")
    path = recipe_path(name)
    assert path is not None
    config = read_recipe(path).config
    assert (checkpoint.network, checkpoint.head) == (config.network, config.head)
    assert checkpoint.findings == config.labels.findings
    figures = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]["test"]
    assert set(figures["findings"]) == set(config.labels.findings) - {"no finding"}
    assert set(figures["sources"]) == {"hospital 0", "hospital 1"}
    assert {"confusion.png", "roc.png", "split.csv", "near-duplicates.csv"} <= {
        file.name for file in out.iterdir()
    }


def test_findings_that_a_recipe_does_not_know_are_named(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["no finding", "pneumonia", "measles"])
    arguments = ["pneumonia", "--data", str(manifest), "--out", str(tmp_path / "run")]
    outcome = CliRunner().invoke(command, arguments)
    assert isinstance(outcome.exception, CxrEdgeError)
    assert "measles (12 films)" in str(outcome.exception)
    assert not (tmp_path / "run").exists()


def test_a_source_can_be_left_out(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["no finding", "pneumonia"])
    out = tmp_path / "run"
    arguments = ["pneumonia", "--data", str(manifest), "--out", str(out)]
    for setting in QUICK:
        arguments += ["--set", setting]
    outcome = CliRunner().invoke(command, [*arguments, "--leave-source-out", "hospital 1"])
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    rows = (out / "split.csv").read_text(encoding="utf-8").splitlines()[1:]
    sides = {(row.split(",")[3], row.split(",")[0]) for row in rows}
    assert ("hospital 1", "left out") in sides
    assert not {("hospital 1", "train"), ("hospital 1", "validation")} & sides
    figures = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert "left out, and test" in figures


def test_a_teacher_must_answer_the_same_questions(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["no finding", "pneumonia"])
    arguments = ["pneumonia", "--data", str(manifest)]
    for setting in QUICK:
        arguments += ["--set", setting]
    first = tmp_path / "first"
    assert CliRunner().invoke(command, [*arguments, "--out", str(first)]).exit_code == 0
    taught = [*arguments, "--out", str(tmp_path / "taught"), "--set", "teaching.weight=0.5"]
    outcome = CliRunner().invoke(command, taught)
    assert "need each other" in str(outcome.exception)
    teacher = ["--teacher", str(first / "checkpoint.pt")]
    outcome = CliRunner().invoke(command, [*taught, *teacher])
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    outcome = CliRunner().invoke(
        command, [*taught[:-2], "--resume", *teacher, "--set", "input.width_px=64", *taught[-2:]]
    )
    assert "another input" in str(outcome.exception)


def test_the_help_names_every_recipe_and_its_variants() -> None:
    shown = CliRunner().invoke(command, ["--help"]).output
    for name in recipe_names():
        assert f"  {name} " in shown
        path = recipe_path(name)
        assert path is not None
        own = CliRunner().invoke(command, [name, "--help"])
        assert own.exit_code == 0
        assert "Example:" in own.output
        assert all(f"  {variant} " in own.output for variant in read_recipe(path).variants)


def test_the_contact_sheet_takes_films_of_each_label_in_turn(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["no finding", "pneumonia"])
    sheet = tmp_path / "sheet.jpg"
    arguments = ["pneumonia", "--data", str(manifest), "--films", "3"]
    small = ["--set", "input.width_px=32", "--set", "input.height_px=32"]
    outcome = CliRunner().invoke(command, ["sheet", *arguments, *small, "--out", str(sheet)])
    assert outcome.exit_code == 0, f"{outcome.output} {outcome.exception!r}"
    assert "3 films" in outcome.output
    assert sheet.read_bytes()[:3] == b"\xff\xd8\xff"
    for wrong, message in (
        (["sheet", "measles", *arguments[1:], "--out", str(sheet)], "There is no recipe measles"),
        (["sheet", *arguments, "--out", str(tmp_path / "none" / "a.png")], "There is no folder"),
    ):
        assert message in str(CliRunner().invoke(command, wrong).exception)
