"""The curves beside a model: read strictly, bound to that very file, and true to its card."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxr_edge.errors import ModelError
from cxr_edge.evidence import (
    SCHEMA_VERSION,
    BandPoint,
    Evidence,
    FindingEvidence,
    Interval,
    OperatingFigures,
    ReliabilityBin,
    RocPoint,
    evidence_path,
    load_evidence,
)
from cxr_edge.model_card import N_SCORE_BINS
from cxr_edge.model_file import MODELS_FOLDER, read_model_file
from cxr_edge.store import Store
from tests.tiny_model import write_drifting_model, write_tiny_model

SHIPPED = sorted(MODELS_FOLDER.glob("*.onnx"))


def some_evidence(model_sha256: str = "a" * 64) -> Evidence:
    """Of 10 films, 4 of them with pneumonia, 3 of these called so and no other."""
    figure = Interval(0.75, 0.5, 1.0)
    finding = FindingEvidence(
        finding="pneumonia",
        n_present=4,
        n_absent=6,
        auroc=figure,
        roc=(RocPoint(0.0, 0.0), RocPoint(0.0, 0.75), RocPoint(0.5, 1.0), RocPoint(1.0, 1.0)),
        roc_band=(BandPoint(0.0, 0.25, 1.0), BandPoint(1.0, 1.0, 1.0)),
        operating_point=OperatingFigures(0.5, figure, Interval(1.0, 1.0, 1.0)),
        reliability=(
            ReliabilityBin(6, 0.1, 0.0, 0.0, 0.39),
            ReliabilityBin(4, 0.9, 1.0, 0.51, 1.0),
        ),
        brier=figure,
        ece=figure,
        scores_present=(1, *[0] * (N_SCORE_BINS - 2), 3),
        scores_absent=(6, *[0] * (N_SCORE_BINS - 1)),
    )
    return Evidence(SCHEMA_VERSION, model_sha256, "made films", "b" * 64, 10, 8, 0, (finding,))


def written(folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """Evidence of the model "made", changed as data; where that model's file would be."""
    model_path = folder / "made.onnx"
    data = json.loads(some_evidence().to_json())
    if change:
        change(data)
    evidence_path(model_path).write_text(json.dumps(data), encoding="utf-8")
    return model_path


def test_evidence_lies_beside_its_model_and_is_read_as_it_was_written(tmp_path) -> None:
    evidence = some_evidence()
    (tmp_path / "made.fp32.evidence.json").write_text(evidence.to_json(), encoding="utf-8")
    assert load_evidence(tmp_path / "made.fp32.onnx", "a" * 64) == evidence
    pneumonia = evidence.of("pneumonia")
    assert pneumonia is not None
    assert pneumonia.operating_point.on_curve in pneumonia.roc
    assert evidence.of("tuberculosis") is None


def test_a_model_without_evidence_has_none(tmp_path) -> None:
    assert load_evidence(tmp_path / "made.onnx", "a" * 64) is None


def test_evidence_of_another_model_is_refused(tmp_path) -> None:
    model_path = written(tmp_path)
    assert load_evidence(model_path, "a" * 64)
    with pytest.raises(ModelError, match="made for another model") as info:
        load_evidence(model_path, "c" * 64)
    assert "--evidence" in info.value.next_step


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"schema_version": 1}',
        b'{"schema_version": true}',
        b"[" * 100_000,
        b'{"schema_version": NaN}',
        b" " * ((1 << 20) + 1),
    ],
    ids=["empty", "a list", "no text", "facts missing", "no number", "deep", "NaN", "too large"],
)
def test_what_is_no_evidence_is_said_with_its_path(tmp_path, text) -> None:
    path = tmp_path / "made.evidence.json"
    path.write_bytes(text)
    with pytest.raises(ModelError, match=r"made\.evidence\.json is no usable evidence"):
        load_evidence(tmp_path / "made.onnx", "a" * 64)


def finding(data: dict[str, Any]) -> dict[str, Any]:
    return data["findings"][0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(schema_version=2), "schema version 2"),
        (lambda d: d.update(film="IM-1.jpeg"), "unknown film"),
        (lambda d: d.pop("measured_on"), "lacks measured_on"),
        (lambda d: d.update(model_sha256="A" * 64), "64 hexadecimal"),
        (lambda d: d.update(n_patients=11), "as many as patients"),
        (lambda d: d.update(n_films=11), "on every film"),
        (lambda d: d.update(findings=d["findings"] * 2), "there once"),
        (lambda d: finding(d).update(n_present=0, n_absent=10), "with it and without"),
        (lambda d: finding(d)["auroc"].update(value=1.1), "between 0 and 1"),
        (lambda d: finding(d)["auroc"].update(value=float("nan")), "auroc.value should be float"),
        (lambda d: finding(d)["ece"].update(low=0.9, high=0.1), "end before it begins"),
        (lambda d: finding(d)["roc"].pop(), r"from \(0, 0\) to \(1, 1\)"),
        (lambda d: finding(d).update(roc=[]), r"from \(0, 0\) to \(1, 1\)"),
        (lambda d: finding(d)["roc"].insert(2, finding(d)["roc"][0]), "in their order"),
        (lambda d: finding(d)["roc_band"].pop(), "from 0 to 1"),
        (lambda d: finding(d)["roc_band"][0].update(low=1.0, high=0.0), "end before it begins"),
        (lambda d: finding(d)["operating_point"].update(threshold=0), "between 0 and 1"),
        (lambda d: finding(d)["reliability"].pop(), "of its 10 films"),
        (lambda d: finding(d)["reliability"].reverse(), "in their order"),
        (lambda d: finding(d)["reliability"][0].update(observed=0.4), "lie in its interval"),
        (lambda d: finding(d)["scores_present"].pop(), "in 20 bins"),
        (lambda d: finding(d)["scores_absent"].__setitem__(0, 5), "6 films in 20 bins"),
    ],
)
def test_what_cannot_be_true_is_refused(tmp_path, change, why) -> None:
    with pytest.raises(ModelError, match=why):
        load_evidence(written(tmp_path, change), "a" * 64)


def test_evidence_that_cannot_be_opened_is_said(tmp_path) -> None:
    (tmp_path / "made.evidence.json").mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        load_evidence(tmp_path / "made.onnx", "a" * 64)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_has_evidence_that_says_what_its_card_says(path) -> None:
    file = read_model_file(path)
    evidence = load_evidence(path, file.sha256)
    assert evidence is not None
    assert evidence_path(path).stat().st_size < 60_000
    for point in file.card.operating_points:
        one = evidence.of(point.finding)
        assert one is not None
        assert one.operating_point.threshold == point.threshold
        assert evidence.measured_on == point.measured_on
        said = {
            "auroc": one.auroc,
            "sensitivity": one.operating_point.sensitivity,
            "specificity": one.operating_point.specificity,
            "brier": one.brier,
            "ece": one.ece,
        }
        for name, interval in said.items():
            # The first of a name is of all films, those that follow are by source.
            figure = next(f for f in file.card.figures if f.name == f"{point.finding} {name}")
            assert figure.n_films == evidence.n_films
            card = (figure.value, figure.low, figure.high)
            assert (interval.value, interval.low, interval.high) == pytest.approx(card, abs=1e-6)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_evidence_names_no_film_and_no_place(path) -> None:
    text = evidence_path(path).read_text(encoding="utf-8")
    assert not any(mark in text for mark in ("/", "\\", ".jpeg", ".jpg", "IM-", "person"))


def installed(tmp_path: Path, path: Path) -> Path:
    """Where a model lies once it is installed."""
    return Store(tmp_path / "models").install(path, [], unsigned=True).path


def test_evidence_is_installed_with_its_model(tmp_path) -> None:
    path = write_tiny_model(tmp_path / "on a stick.onnx")
    evidence = some_evidence(read_model_file(path).sha256)
    evidence_path(path).write_text(evidence.to_json(), encoding="utf-8")
    there = installed(tmp_path, path)
    assert there.name == "tiny.onnx"
    assert load_evidence(there, evidence.model_sha256) == evidence


def test_the_twins_evidence_is_installed_with_the_twin(tmp_path) -> None:
    path = write_drifting_model(tmp_path / "m.onnx", twin_off_by=0.0)
    twin = tmp_path / "m.fp32.onnx"
    evidence = some_evidence(read_model_file(twin).sha256)
    evidence_path(twin).write_text(evidence.to_json(), encoding="utf-8")
    there = installed(tmp_path, path)
    assert load_evidence(there, read_model_file(there).sha256) is None
    assert load_evidence(there.with_name("tiny.fp32.onnx"), evidence.model_sha256) == evidence


@pytest.mark.parametrize(
    "text", ["{}", some_evidence().to_json()], ids=["damaged", "of another model"]
)
def test_a_model_is_installed_without_evidence_that_is_not_its_own(tmp_path, caplog, text) -> None:
    path = write_tiny_model(tmp_path / "m.onnx")
    evidence_path(path).write_text(text, encoding="utf-8")
    there = installed(tmp_path, path)
    assert [name.name for name in there.parent.iterdir()] == ["tiny.onnx"]
    assert "tiny 1 is installed without its evidence" in caplog.text


def test_evidence_that_came_later_is_added_by_installing_again(tmp_path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx")
    assert not evidence_path(installed(tmp_path, path)).exists()
    evidence = some_evidence(read_model_file(path).sha256)
    evidence_path(path).write_text(evidence.to_json(), encoding="utf-8")
    assert load_evidence(installed(tmp_path, path), evidence.model_sha256) == evidence


def test_no_finding_at_all_is_evidence_of_none(tmp_path) -> None:
    evidence = replace(some_evidence(), findings=())
    evidence_path(tmp_path / "made.onnx").write_text(evidence.to_json(), encoding="utf-8")
    loaded = load_evidence(tmp_path / "made.onnx", "a" * 64)
    assert loaded is not None and loaded.of("pneumonia") is None
