"""What `doctor` says of a PC: every trouble with its next step, nothing of any patient."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge import doctor
from cxr_edge.cli import cli
from cxr_edge.doctor import Check, check_free_space, check_model, check_onnxruntime, check_writing
from cxr_edge.model import shipped_models
from cxr_edge.store import Entry, Store
from tests.tiny_model import write_drifting_model, write_tiny_model


def entry_of(path: Path, sha256: str = "") -> Entry:
    return Entry(path.stem, "1", path, sha256)


def run(*arguments: str, models: Path):
    return CliRunner().invoke(cli, ["doctor", *arguments], env={"CXR_EDGE_MODELS": str(models)})


def test_every_shipped_model_is_put_to_its_golden_vectors_and_holds(tmp_path):
    outcome = run("--json", models=tmp_path)
    assert outcome.exit_code == 0, outcome.output
    checks = {check["name"]: check for check in json.loads(outcome.stdout)}
    for name in shipped_models():
        assert "drift 0." in checks[f"model {name}, golden vectors"]["found"]
    assert {"processor", "onnxruntime", "--device auto", "writing here", "free space"} <= set(
        checks
    )
    assert checks["--device cpu"]["found"] == "CPUExecutionProvider"


def test_an_installed_model_that_was_changed_is_exit_code_4_and_the_others_are_still_checked(
    tmp_path,
):
    store = Store(tmp_path / "models")
    entry = store.install(write_tiny_model(tmp_path / "tiny.onnx"), [], unsigned=True)
    write_tiny_model(entry.path, bias=-4.99)
    outcome = run(models=store.folder)
    assert outcome.exit_code == 4
    (line,) = (line for line in outcome.stdout.splitlines() if line.startswith("failed"))
    assert "model tiny@1: " in line
    assert "was changed or damaged" in line
    assert "ok       model pneumonia-children, golden vectors" in outcome.stdout
    assert "  -> Install it again from its source." in outcome.stdout
    assert "Traceback" not in outcome.output


def test_a_model_that_drifts_without_a_twin_fails(tmp_path):
    path = write_drifting_model(tmp_path / "m.onnx", n_right=1)
    *_, check = check_model(entry_of(path), [])
    assert (check.verdict, bool(check.next_step)) == ("failed", True)
    assert "drift 1.000 of at most 0.3 on 2 golden vectors" in check.found


@pytest.mark.parametrize(("twin_off_by", "verdict"), [(0.0, "warning"), (0.5, "failed")])
def test_a_model_that_drifts_is_as_good_as_its_twin(tmp_path, twin_off_by, verdict):
    path = write_drifting_model(tmp_path / "m.onnx", twin_off_by)
    *_, check = check_model(entry_of(path), [])
    assert check.verdict == verdict
    assert check.next_step


def test_two_flavours_of_onnxruntime_are_named_with_the_way_out():
    check = check_onnxruntime({"onnxruntime": "1.20", "onnxruntime-gpu": "1.21"})
    assert check.verdict == "warning"
    assert "pip uninstall onnxruntime onnxruntime-gpu" in check.next_step
    assert check_onnxruntime({"onnxruntime": "1.20"}).verdict == "ok"


def test_cuda_that_nobody_asked_for_is_no_trouble_and_with_its_package_it_is(tmp_path):
    store = Store(tmp_path)
    asked = doctor.check_device(store, "cuda", wants_cuda=True)
    if asked.verdict == "ok":
        pytest.skip("CUDA works on this machine")
    assert "--device cpu" in asked.next_step
    assert doctor.check_device(store, "cuda").verdict == "ok"
    assert doctor.check_device(store, "cuda").found == asked.found


def test_a_folder_that_cannot_be_written_to_or_is_full_is_a_warning(tmp_path, monkeypatch):
    assert check_writing(tmp_path).verdict == "ok"
    assert list(tmp_path.iterdir()) == []
    assert check_writing(tmp_path / "none").verdict == "warning"
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 10**30)
    assert check_free_space(tmp_path).next_step


def test_every_trouble_has_a_next_step(tmp_path):
    """Whatever is found on the machine that runs the tests."""
    for check in doctor.examine(Store(tmp_path), tmp_path):
        assert isinstance(check, Check)
        assert check.verdict == "ok" or check.next_step, check


def test_nothing_of_the_films_at_hand_is_told(tmp_path, monkeypatch):
    (tmp_path / "Doe John 1970.dcm").write_bytes(b"a film")
    monkeypatch.chdir(tmp_path)
    output = run("--json", models=tmp_path / "models").stdout
    assert "Doe" not in output
    assert os.environ.get("USER", "nobody at all") not in output.replace(str(tmp_path), "")
