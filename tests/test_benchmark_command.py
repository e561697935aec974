"""`cxr-edge benchmark`: what it says and refuses; how long anything takes is never tested."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.benchmark import (
    ModelSpeed,
    benchmark,
    compare,
    films_per_second,
    made_film,
    recommend,
    time_stages,
)
from cxr_edge.cli import cli
from cxr_edge.errors import UnreadableError
from cxr_edge.model_file import read_model_file, twin_path
from cxr_edge.reading import predict
from tests.conftest import make_film
from tests.tiny_model import golden_text, tiny_card, write_tiny_model

SHORT_S = 0.01


@pytest.fixture
def film(tmp_path) -> Path:
    return make_film(tmp_path / "Aufnahme 肺 1.jpg", side=128)


def invoke(*arguments: object):
    return CliRunner().invoke(cli, ["benchmark", "--seconds", str(SHORT_S), *map(str, arguments)])


def speed(name: str, network_ms: float, precision: str = "int8", **more) -> ModelSpeed:
    facts = {"label": name, "twin_of": "", "provider": "CPUExecutionProvider", "fault": ""}
    findings = more.pop("findings", ("pneumonia",))
    return ModelSpeed(
        name=name, precision=precision, findings=findings, network_ms=network_ms, **(facts | more)
    )


def test_every_stage_has_its_time_and_the_films_are_counted(film, tiny_model):
    stages = time_stages([film], tiny_model, seconds=SHORT_S)
    assert stages.heatmap_ms is None
    parts = [stages.read_and_sha256_ms, stages.decode_ms, stages.prepare_ms]
    parts += [stages.network_ms, stages.interpret_ms]
    assert min(parts) > 0
    assert stages.all_ms == pytest.approx(sum(parts))
    for n_workers in (1, 2):
        assert films_per_second([film], tiny_model, n_workers, SHORT_S) > 0


def test_the_made_film_is_a_5_megapixel_jpeg_that_can_be_read(tmp_path, tiny_model):
    path = made_film(tmp_path)
    assert 0.4e6 < path.stat().st_size < 0.7e6
    assert predict(path, tiny_model)[0].name == "pneumonia"


def test_a_film_that_cannot_be_read_is_named(tmp_path, tiny_model):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no film")
    with pytest.raises(UnreadableError, match=r"corrupt: .*broken\.jpg"):
        time_stages([broken], tiny_model, seconds=SHORT_S)


def test_the_fastest_model_for_the_same_findings_is_recommended():
    models = [
        speed("slow", 9.0),
        speed("fast", 3.0),
        speed("drifts", 1.0, fault="it drifts by 2.00 on this machine"),
        speed("other findings", 2.0, findings=("tuberculosis",)),
    ]
    name, (reason,) = recommend(models, ("pneumonia",))
    assert name == "fast"
    assert "of 2 models for pneumonia whose golden vectors hold" in reason


def test_int8_that_is_not_faster_than_its_twin_is_said_and_not_recommended():
    models = [speed("m", 6.0), speed("m.fp32", 5.0, "fp32", twin_of="m")]
    name, reasons = recommend(models, ("pneumonia",))
    assert name == "m.fp32"
    assert reasons[1] == "m in int8 is not faster here than in fp32 (6.0 ms against 5.0 ms)."
    name, reasons = recommend([replace(models[0], network_ms=4.0), models[1]], ("pneumonia",))
    assert name == "m" and len(reasons) == 1


def test_no_usable_model_is_no_recommendation():
    name, reasons = recommend([speed("m", 0.0, fault="damaged")], ("pneumonia",))
    assert (name, reasons) == ("", ("No model for pneumonia can be used here.",))


def test_models_and_their_twins_are_compared_and_one_that_drifts_is_not_timed(tmp_path):
    good = write_tiny_model(tmp_path / "good.onnx")
    write_tiny_model(twin_path(good))
    drifting = write_tiny_model(tmp_path / "drifting.onnx", golden=golden_text(off_by=1.0))
    found = {m.name: m for m in compare([good, drifting, good], "cpu", SHORT_S)}
    assert list(found) == ["good", "good.fp32", "drifting"]
    assert found["good"].network_ms > 0 and not found["good"].fault
    assert found["good.fp32"].twin_of == "good"
    assert "drifts by 1.0" in found["drifting"].fault
    assert found["drifting"].network_ms == 0


def test_a_model_that_is_damaged_has_a_fault_and_the_others_are_compared(tmp_path):
    good = write_tiny_model(tmp_path / "good.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    (text, other) = compare([tmp_path / "text.onnx", good], "cpu", SHORT_S)
    assert "not a usable ONNX model" in text.fault
    assert not other.fault


def test_the_whole_benchmark_says_what_really_ran(film, tiny_model_path):
    said = []
    result = benchmark([film], tiny_model_path, [], "cpu", seconds=SHORT_S, say=said.append)
    assert result.provider == "CPUExecutionProvider"
    assert result.model_sha256 == read_model_file(tiny_model_path).sha256
    assert result.recommended == tiny_model_path.stem
    assert result.n_workers >= 1 and result.cpu
    assert len(said) == 4


def test_the_command_prints_tables_and_talks_on_the_error_stream(film, tiny_model_path):
    outcome = invoke(film, "--model", tiny_model_path, "--device", "cpu")
    assert outcome.exit_code == 0
    for words in ("ms per film", "decode", "films per second", "golden vectors", "Recommended"):
        assert words in outcome.stdout
    assert "heatmap" not in outcome.stdout
    assert "Comparing the models" in outcome.stderr
    assert "Not for diagnostic use" in outcome.stderr


def test_json_is_all_there_is_on_the_standard_output(film, tiny_model_path):
    outcome = invoke(film, "--model", tiny_model_path, "--json")
    data = json.loads(outcome.stdout)
    assert data["stages"]["network_ms"] > 0
    assert data["stages"]["heatmap_ms"] is None
    assert data["models"][0]["precision"] == tiny_card().precision
    assert data["films"].startswith("1 film of 0.0 MB")


def test_without_films_one_is_made(tiny_model_path):
    outcome = invoke("--model", tiny_model_path, "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["films"] == "1 film of 0.5 MB"


def test_bad_films_models_and_options_have_their_exit_codes(film, tmp_path, tiny_model_path):
    bad = tmp_path / "bad.onnx"
    bad.write_text("no model")
    assert invoke(film, "--model", bad).exit_code == 4
    gone = invoke(tmp_path / "gone.jpg", "--model", tiny_model_path)
    assert gone.exit_code == 3
    assert "missing" in gone.stderr and "gone.jpg" in gone.stderr
    assert invoke("--device", "quantum").exit_code == 2
    assert "Traceback" not in gone.output


def test_help_shows_an_example():
    assert "cxr-edge benchmark scans/" in invoke("--help").stdout
