"""INFER and INTERPRET: what a model file must be, and what its logits come to mean."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from cxr_edge import golden, load_model, model, model_file, session
from cxr_edge.errors import DeviceError, ModelError
from cxr_edge.interpret import interpret
from cxr_edge.model_card import UnsureBand
from cxr_edge.terms import Terms
from tests.tiny_model import golden_text, tiny_card, write_drifting_model, write_tiny_model


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
    if not session.why_no_cuda(onnxruntime):
        pytest.skip("CUDA works on this machine")
    with pytest.raises(DeviceError, match=r"CUDA cannot be used: .+\. Install cxr-edge\[gpu\]"):
        load_model(tiny_model_path, "cuda")


def test_directml_that_cannot_be_had_is_an_error_with_the_reason(tiny_model_path):
    if not session.why_no_dml(onnxruntime):
        pytest.skip("this onnxruntime has DirectML")
    with pytest.raises(DeviceError, match=r"built without DirectML\. Install cxr-edge\[dml\]"):
        load_model(tiny_model_path, "dml")


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
    assert "a CUDA library does not load" in session.why_no_cuda(onnxruntime)
    assert capsys.readouterr().out == "", "the standard output belongs to the results"


def test_auto_takes_the_cpu_where_cuda_does_not_serve(tiny_model_path):
    if not session.why_no_cuda(onnxruntime):
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
    (finding,) = interpret(np.array([0.0], np.float32), tiny_card(), Terms({"pneumonia": 0.51}))
    assert not finding.positive


def test_extreme_logits_stay_probabilities():
    for logit, expected in ((1e4, 1.0), (-1e4, 0.0)):
        (finding,) = interpret(np.array([logit], np.float32), tiny_card())
        assert finding.probability == pytest.approx(expected)


def test_the_leading_finding_is_a_positive_one_even_if_another_is_more_probable():
    card = tiny_card(("effusion", "nodule"))
    terms = Terms({"effusion": 0.9, "nodule": 0.3})
    findings = interpret(np.array([0.4, -0.4], np.float32), card, terms)
    assert [f.name for f in findings] == ["nodule", "effusion"]
    assert [f.positive for f in findings] == [True, False]


def test_what_a_person_has_to_decide_comes_after_what_is_positive_and_before_what_is_negative():
    names = ("surely not", "unsure, below", "unsure, above", "surely", "surely not, either")
    bands = (
        UnsureBand(name, 0.3, 0.7, 0.95, 40, 40, "made films")
        for name in ("unsure, below", "unsure, above")
    )
    card = replace(tiny_card(names), unsure=tuple(bands))
    probabilities = np.array([0.45, 0.35, 0.65, 0.55, 0.1])
    findings = interpret(np.log(probabilities / (1 - probabilities)), card)
    assert [f.name for f in findings] == [
        "surely",
        *("unsure, above", "unsure, below"),
        *("surely not", "surely not, either"),
    ]
    assert [f.answer for f in findings] == ["positive", "unsure", "unsure", "negative", "negative"]
    # The site's own threshold has no band: nobody measured one.
    findings = interpret(np.zeros(5), card, Terms({"unsure, above": 0.6}))
    own = next(f for f in findings if f.name == "unsure, above")
    assert (own.answer, own.unsure_from) == ("negative", None)


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
    leading, *_ = interpret(np.array([2.0, 0.0, 1.9], np.float32), card, Terms({"nodule": 0.4}))
    assert (leading.name, leading.positive) == ("nodule", True)  # though less probable
    # One threshold for all, as --threshold gives it, is not for "no finding".
    everywhere = interpret(
        np.array([9.0, 0.0, 0.0], np.float32), card, Terms(dict.fromkeys(card.findings, 0.1))
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


def test_a_model_without_golden_vectors_is_refused(tmp_path):
    with pytest.raises(ModelError, match="carries no golden vectors"):
        load_model(write_tiny_model(tmp_path / "m.onnx", golden=None))


def test_golden_vectors_that_do_not_fit_the_model_are_refused(tmp_path):
    text = json.dumps([json.loads(golden_text())[0] | {"logits": [1, 2, 3]}])
    with pytest.raises(ModelError, match="golden vectors cannot be used"):
        load_model(write_tiny_model(tmp_path / "m.onnx", golden=text))


def test_a_model_that_drifts_gives_way_to_its_twin_and_says_so(tmp_path, caplog):
    path = write_drifting_model(tmp_path / "m.onnx", twin_off_by=0.0)
    model = load_model(path, "cpu")
    twin = tmp_path / "m.fp32.onnx"
    assert model.sha256 == hashlib.sha256(twin.read_bytes()).hexdigest()
    assert model.card.precision == "fp32"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "drifts by 1.00 on this machine" in record.message
    assert "m.fp32.onnx" in record.message


@pytest.mark.parametrize(
    ("twin_off_by", "change", "why"),
    [
        (None, None, "it has no fp32 twin"),
        (0.0, lambda twin: twin.unlink(), r"m\.fp32\.onnx cannot be read"),
        (0.0, lambda twin: write_tiny_model(twin, bias=-4.9), "was changed or damaged"),
        (0.7, None, "its fp32 twin drifts by 0.70"),
    ],
    ids=["no twin", "gone", "changed", "drifts too"],
)
def test_a_model_that_drifts_and_has_no_twin_that_holds_is_refused(
    tmp_path, twin_off_by, change, why
):
    path = write_drifting_model(tmp_path / "m.onnx", twin_off_by)
    if change:
        change(tmp_path / "m.fp32.onnx")
    with pytest.raises(ModelError, match=f"drifts by 1.00 on this machine.*{why}") as info:
        load_model(path, "cpu")
    assert "cxr-edge model list" in info.value.next_step


def write_with_external_data(path: Path, location: str) -> Path:
    """The tiny model with its bias in another file."""
    model = onnx.load(write_tiny_model(path))
    (bias,) = (t for t in model.graph.initializer if t.name == "bias")
    bias.ClearField("raw_data")
    bias.data_location = onnx.TensorProto.EXTERNAL
    bias.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret.bin", "beside.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(tmp_path, monkeypatch, location):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("secret.bin", "models/beside.bin"):
        (tmp_path / name).write_bytes(bytes(4))
    monkeypatch.chdir(folder)  # where onnxruntime would look
    path = write_with_external_data(folder / "m.onnx", location)
    with pytest.raises(ModelError, match=r"keeps weights in another file.*Save the model as one"):
        load_model(path, "cpu")


def test_weights_in_another_file_are_found_however_the_numbers_are_padded(tmp_path):
    data = write_with_external_data(tmp_path / "m.onnx", "beside.bin").read_bytes()
    (tmp_path / "m.onnx").write_bytes(data.replace(b"\x0a\x08loc", b"\x8a\x80\x00\x88\x00loc"))
    with pytest.raises(ModelError, match="keeps weights in another file"):
        load_model(tmp_path / "m.onnx", "cpu")


def test_the_word_location_hides_no_other_file(tmp_path):
    proto = onnx.load(
        write_with_external_data(tmp_path / "m.onnx", "beside.bin"), load_external_data=False
    )
    proto.producer_name = "location"  # it comes first in the file
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="keeps weights in another file"):
        load_model(tmp_path / "m.onnx", "cpu")


def test_the_word_location_alone_is_no_other_file(tmp_path):
    card = replace(tiny_card(), intended_use="location: anywhere, allocation of beds")
    assert load_model(write_tiny_model(tmp_path / "m.onnx", card.to_json()), "cpu")


@pytest.mark.parametrize("length", [0, 1, 7, 100, 500, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path, tiny_model_path, length):
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_model_path.read_bytes()[:length])
    with pytest.raises(ModelError):
        load_model(path, "cpu")


def test_a_name_that_is_no_text_is_no_usable_model(tmp_path, tiny_model_path):
    data = tiny_model_path.read_bytes()
    assert data.count(b"\x12\x01n") >= 1  # the name of the batch's size
    (tmp_path / "m.onnx").write_bytes(data.replace(b"\x12\x01n", b"\x12\x01\xd5"))
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        load_model(tmp_path / "m.onnx", "cpu")


def flip_a_weight(path: Path) -> None:
    """Change one bit of the tiny model's bias, so that its card and vectors stay as they are."""
    data = path.read_bytes()
    weights = np.float32(10).tobytes()
    assert data.count(weights) == 1
    path.write_bytes(data.replace(weights, np.float32(10.000001).tobytes()))


def test_one_bit_of_a_weight_is_noticed_where_the_sha256_is_known(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    sha256 = load_model(path, "cpu").sha256
    assert load_model(path, "cpu", sha256=sha256)
    flip_a_weight(path)
    with pytest.raises(ModelError, match="was changed or damaged"):
        load_model(path, "cpu", sha256=sha256)


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A folder of shipped models with the tiny one."""
    write_tiny_model(tmp_path / "tiny.onnx")
    write_manifest(tmp_path)
    for module in (model_file, model):
        monkeypatch.setattr(module, "MODELS_FOLDER", tmp_path)
    return tmp_path


def write_manifest(folder: Path) -> None:
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.onnx")}
    (folder / "manifest.json").write_text(json.dumps(digests))


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_shipped_model_that_was_changed_is_refused(shipped, by):
    wanted = "tiny" if by == "name" else shipped / "tiny.onnx"
    assert load_model(wanted, "cpu").card.name == "tiny"
    flip_a_weight(shipped / "tiny.onnx")
    with pytest.raises(ModelError, match=r"tiny\.onnx was changed or damaged"):
        load_model(wanted, "cpu")


def test_a_file_put_among_the_shipped_models_is_refused(shipped):
    write_tiny_model(shipped / "more.onnx")
    with pytest.raises(ModelError, match="not in the manifest"):
        load_model("more", "cpu")


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_shipped_models_need_their_manifest(shipped, text):
    (shipped / "manifest.json").unlink()
    if text is not None:
        (shipped / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json cannot be read.*Install cxr-edge again"):
        load_model("tiny", "cpu")


def test_a_twin_is_no_model_of_its_own_name(shipped):
    write_tiny_model(shipped / "tiny.fp32.onnx")
    assert model.shipped_models() == ["tiny"]


def test_the_manifest_names_every_shipped_file():
    manifest = model_file.read_manifest(model.MODELS_FOLDER)
    assert sorted(manifest) == sorted(path.name for path in model.MODELS_FOLDER.glob("*.onnx"))


@pytest.mark.parametrize("name", model.shipped_models())
def test_all_golden_vectors_of_a_shipped_model_hold_here(name):
    loaded = load_model(name, "cpu")
    assert len(loaded.golden) >= 2
    assert loaded.drift() <= golden.MAX_DRIFT
