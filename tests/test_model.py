"""INFER and INTERPRET: what a model file must be, and what its logits come to mean."""

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from cxr_edge import load_model, model
from cxr_edge.errors import DeviceError, ModelError
from cxr_edge.interpret import interpret
from tests.tiny_model import tiny_card, write_tiny_model


def test_a_model_gives_one_logit_per_finding_and_says_where_it_ran(tiny_model):
    logits = tiny_model.infer(np.full((3, 1, 32, 32), 0.7, np.float32))
    assert logits.shape == (3, 1)
    np.testing.assert_allclose(logits, 2.0, atol=1e-3)
    assert tiny_model.provider == "CPUExecutionProvider"
    assert len(tiny_model.sha256) == 64


def test_a_file_that_is_not_onnx_is_named(tmp_path):
    path = tmp_path / "film.onnx"
    path.write_text("not a model")
    with pytest.raises(ModelError, match=r"film\.onnx is not a usable ONNX model"):
        load_model(path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path / "none.onnx")


def test_a_model_without_a_card_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no model card"):
        load_model(write_tiny_model(tmp_path / "m.onnx", card=None))


def test_a_card_of_an_unknown_schema_is_refused(tmp_path):
    card = json.loads(tiny_card().to_json()) | {"schema_version": 99}
    with pytest.raises(ModelError, match="schema version 99"):
        load_model(write_tiny_model(tmp_path / "m.onnx", json.dumps(card)))


def test_a_card_that_names_other_findings_than_the_network_gives_is_refused(tmp_path):
    with pytest.raises(ModelError, match="its card names 2 findings"):
        load_model(write_tiny_model(tmp_path / "m.onnx", findings=("a", "b")))


def test_a_card_with_another_input_size_is_refused(tmp_path):
    card = json.loads(tiny_card().to_json())
    card["input"]["width_px"] = 48
    with pytest.raises(ModelError, match=r"\[1, 32, 48\]"):
        load_model(write_tiny_model(tmp_path / "m.onnx", json.dumps(card)))


def test_cuda_that_cannot_be_had_is_an_error_with_the_reason(tiny_model_path):
    if not model.why_no_cuda(onnxruntime):
        pytest.skip("CUDA works on this machine")
    with pytest.raises(DeviceError, match=r"CUDA cannot be used: .+\. Install cxr-edge\[gpu\]"):
        load_model(tiny_model_path, "cuda")


def test_a_cuda_library_that_does_not_load_is_named(tmp_path: Path, monkeypatch, capsys):
    # What onnxruntime-gpu looks like on a PC without CUDA: the provider is listed all the same.
    capi = tmp_path / "capi"
    capi.mkdir()
    for name in ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"):
        (capi / name).write_bytes(b"no library")
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load it"))
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    assert "a CUDA library does not load" in model.why_no_cuda(onnxruntime)
    assert capsys.readouterr().out == "", "the standard output belongs to the results"


def test_auto_takes_the_cpu_where_cuda_does_not_serve(tiny_model_path):
    if not model.why_no_cuda(onnxruntime):
        pytest.skip("CUDA works on this machine")
    assert load_model(tiny_model_path, "auto").provider == "CPUExecutionProvider"


def test_the_probability_is_the_sigmoid_of_the_logit_over_the_temperature():
    card = json.loads(tiny_card().to_json()) | {"temperature": 2.0}
    card = type(tiny_card()).from_json(json.dumps(card))
    (finding,) = interpret(np.array([3.0], np.float32), card)
    assert finding.probability == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert finding.score == 82
    assert finding.positive


def test_a_probability_on_the_threshold_is_positive():
    (finding,) = interpret(np.array([0.0], np.float32), tiny_card())
    assert finding.probability == 0.5
    assert finding.positive
    (finding,) = interpret(np.array([0.0], np.float32), tiny_card(), {"pneumonia": 0.51})
    assert not finding.positive


def test_extreme_logits_stay_probabilities():
    for logit, expected in ((1e4, 1.0), (-1e4, 0.0)):
        (finding,) = interpret(np.array([logit], np.float32), tiny_card())
        assert finding.probability == pytest.approx(expected)


def test_the_leading_finding_is_a_positive_one_even_if_another_is_more_probable():
    card = tiny_card(("effusion", "nodule"))
    findings = interpret(np.array([0.4, -0.4], np.float32), card, {"effusion": 0.9, "nodule": 0.3})
    assert [f.name for f in findings] == ["nodule", "effusion"]
    assert [f.positive for f in findings] == [True, False]


def exclusive_card(findings=("no finding", "effusion", "nodule")):
    text = tiny_card(findings[1:]).to_json()
    return type(tiny_card()).from_json(
        json.dumps(json.loads(text) | {"findings": list(findings), "activation": "softmax"})
    )


def test_probabilities_of_findings_that_exclude_each_other_add_up_to_one():
    logits = np.array([0.0, 1.0, 1000.0], np.float32)
    findings = interpret(logits / 500, exclusive_card())
    assert sum(f.probability for f in findings) == pytest.approx(1)
    assert findings[0].name == "nodule"
    assert findings[0].probability == pytest.approx(1 / (1 + math.exp(-2) + math.exp(-1.998)))
    (leading, *_) = interpret(logits, exclusive_card())  # no overflow
    assert leading.probability == pytest.approx(1)


def test_no_finding_leads_where_nothing_is_positive_and_is_never_positive():
    card = exclusive_card()
    leading, *others = interpret(np.array([2.0, 0.0, 0.0], np.float32), card)
    assert (leading.name, leading.positive, leading.threshold) == ("no finding", False, None)
    assert not any(f.positive for f in others)
    leading, *_ = interpret(np.array([2.0, 0.0, 1.9], np.float32), card, {"nodule": 0.4})
    assert (leading.name, leading.positive) == ("nodule", True)  # though less probable
    # One threshold for all, as --threshold gives it, is not for "no finding".
    everywhere = interpret(
        np.array([9.0, 0.0, 0.0], np.float32), card, dict.fromkeys(card.findings, 0.1)
    )
    assert not any(f.positive for f in everywhere)


def test_no_finding_is_an_output_only_where_findings_exclude_each_other():
    with pytest.raises(ModelError, match="only where findings exclude each other"):
        text = exclusive_card().to_json().replace('"softmax"', '"sigmoid"')
        type(tiny_card()).from_json(text)


def test_a_shipped_model_can_be_named():
    by_name = load_model("pneumonia-children", "cpu")
    assert by_name.sha256 == load_model(device="cpu").sha256
    with pytest.raises(ModelError, match=r"measles cannot be read.*pneumonia-children"):
        load_model("measles", "cpu")


@pytest.mark.parametrize("name", model.shipped_models())
def test_a_shipped_model_is_called_as_its_file_is(name):
    assert load_model(name, "cpu").card.name == name
