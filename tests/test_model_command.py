"""`cxr-edge model` as a user meets it."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from cxr_edge.model import shipped_models
from cxr_edge.model_card import UnsureBand
from export import sign as sign_main
from tests.conftest import ROOT, make_film
from tests.tiny_model import (
    gated_card,
    write_drifting_model,
    write_gated_model,
    write_tiny_model,
)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "installed models ä"
    monkeypatch.setenv("CXR_EDGE_MODELS", str(folder))
    return folder


def invoke(*arguments: object):
    outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert "Traceback" not in outcome.output
    return outcome


def test_the_shipped_models_are_listed_and_the_default_is_marked():
    outcome = invoke("model", "list")
    assert outcome.exit_code == 0
    _, *lines = outcome.stdout.splitlines()
    assert [line[3:].split()[0] for line in lines] == shipped_models()
    assert [line for line in lines if line[0] == "*"] == [
        line for line in lines if line[3:].startswith("pneumonia-children ")
    ]
    data = json.loads(invoke("model", "list", "--json").stdout)
    assert {row["name"] for row in data} == set(shipped_models())
    assert all(len(row["sha256"]) == 64 and row["shipped"] for row in data)


def test_a_model_goes_from_its_maker_to_a_result_row(tmp_path):
    """Key, signature, stick, installation, prediction, rollback: as the manual says."""
    key, model = tmp_path / "my key", write_tiny_model(tmp_path / "stick.onnx")
    for arguments in (["keygen", key, "--signer", "St. Anna"], ["sign", model, "--key", key]):
        made = CliRunner().invoke(sign_main.command, list(map(str, arguments)))
        assert made.exit_code == 0, made.output

    refused = invoke("model", "install", model)
    assert refused.exit_code == 4
    assert "--public-key" in refused.stderr
    installed = invoke("model", "install", model, "--public-key", tmp_path / "my key.pub")
    assert installed.exit_code == 0
    assert "Installed tiny@1 (signed by St. Anna)" in installed.stdout
    assert "St. Anna" in invoke("model", "list").stdout
    # The key that it was installed with is trusted from then on, or no later check could pass.
    (tmp_path / "my key.pub").unlink()
    assert invoke("model", "verify", "tiny").exit_code == 0
    assert invoke("model", "verify", model).exit_code == 0

    film = make_film(tmp_path / "film.png")
    (row,) = json.loads(invoke("predict", film, "--model", "tiny", "--json").stdout)
    assert row["model"] == "tiny 1"
    assert invoke("model", "use", "tiny").exit_code == 0
    (row,) = json.loads(invoke("predict", film, "--json").stdout)
    assert row["model"] == "tiny 1"
    assert invoke("model", "remove", "tiny").exit_code == 0
    (row,) = json.loads(invoke("predict", film, "--json").stdout)
    assert row["model"].startswith("pneumonia-children")


def test_an_unsigned_model_is_refused_unless_it_is_said(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx")
    refused = invoke("model", "install", model)
    assert refused.exit_code == 4
    assert "has no signature" in refused.stderr
    assert "--unsigned" in refused.stderr
    installed = invoke("model", "install", model, "--unsigned")
    assert "Installed tiny@1 (unsigned)" in installed.stdout


@pytest.mark.parametrize("name", shipped_models())
def test_a_card_is_shown_for_people(name):
    text = invoke("model", "show", name).stdout
    for said in (
        "Meant for ",
        " years; views PA, AP.",
        "Not for diagnostic use",
        "positive from 0.",
        "sensitivity 0.",
        "95 % intervals",
        "Learned from",
        "CC BY 4.0",
        "Arithmetic: int8",
        "sha256 ",
    ):
        assert said in text
    assert "Recipe" not in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "Recipe\n" in invoke("model", "show", name, "--all").stdout


def test_what_a_model_refuses_and_where_it_is_unsure_is_shown(tmp_path, tiny_model_path):
    band = UnsureBand("pneumonia", 0.2, 0.65, 0.95, 120, 340, "films of other patients")
    card = replace(gated_card(), unsure=(band,), age_range_years=(1.0, 5.0))
    text = invoke("model", "show", write_gated_model(tmp_path / "m.onnx", card)).stdout
    said = " ".join(text.split())
    for fact in (
        "pneumonia: from 0.200 to 0.650",
        "at least 95.0% of films with it, and of films without it, by 120 and 340 films",
        "on films of other patients",
        "patients who are not 1 to 5 years old, and views other than PA, AP.",
        "Refused by the film itself: not_a_chest_film, lateral,",
        "photographed, unlike_training.",
        "refused: lateral 0.990 (0.950 to 1.000), 200 films",
        "fitted on made films",
    ):
        assert fact in said, fact
    assert max(len(line) for line in text.splitlines()) <= 120
    without = invoke("model", "show", tiny_model_path).stdout
    assert "It does not say where it is unsure." in without
    assert "It cannot tell from a film what it cannot read." in without


def test_a_card_is_shown_for_programs_and_of_a_file(tiny_model_path):
    card = json.loads(invoke("model", "show", tiny_model_path, "--json").stdout)
    assert card["name"] == "tiny"
    assert invoke("model", "show", "measles").exit_code == 4


def test_verify_finds_every_shipped_model_sound():
    outcome = invoke("model", "verify")
    assert outcome.exit_code == 0
    assert outcome.stdout.count("golden vectors: drift 0.") == len(shipped_models())


def test_verify_fails_with_exit_code_4(tmp_path):
    drifting = write_drifting_model(tmp_path / "drifting.onnx")
    outcome = invoke("model", "verify", drifting)
    assert outcome.exit_code == 4
    assert "drift 1.000" in outcome.stdout
    assert "  -> " in outcome.stdout
    assert invoke("model", "verify", tmp_path / "none.onnx").exit_code == 4


def test_verify_looks_at_the_signature(tmp_path):
    key, model = tmp_path / "key", write_tiny_model(tmp_path / "m.onnx")
    for arguments in (["keygen", key, "--signer", "St. Anna"], ["sign", model, "--key", key]):
        CliRunner().invoke(sign_main.command, list(map(str, arguments)))
    assert invoke("model", "verify", model).exit_code == 4
    trusted = invoke("model", "verify", model, "--public-key", tmp_path / "key.pub")
    assert trusted.exit_code == 0
    assert "signed by St. Anna" in trusted.stdout


def test_a_drifting_model_reads_through_its_twin_and_says_so(tmp_path):
    model = write_drifting_model(tmp_path / "m.onnx", twin_off_by=0.0)
    film = make_film(tmp_path / "film.png")
    # In a process of its own: pytest takes what is logged.
    outcome = subprocess.run(
        [sys.executable, "-m", "cxr_edge", "predict", film, "--model", model, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    (row,) = json.loads(outcome.stdout)
    twin = (tmp_path / "m.fp32.onnx").read_bytes()
    assert row["model_sha256"] == hashlib.sha256(twin).hexdigest()
    assert "WARNING tiny 1 (int8) drifts by 1.00 on this machine" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["model"],
        *(["model", name] for name in ("list", "show", "verify", "install", "use", "remove")),
        ["doctor"],
    ],
    ids=" ".join,
)
def test_help_shows_an_example(arguments):
    text = invoke(*arguments, "--help").stdout
    assert f"cxr-edge {' '.join(arguments)}" in text.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["model", "install"], 2),
        (["model", "install", "none.onnx"], 4),
        (["model", "use", "nothing"], 4),
        (["model", "use", "pneumonia-children@none"], 4),
        (["model", "remove", "pneumonia-children"], 4),
        (["model", "burn"], 2),
        (["predict", "x.png", "--model", "pneumonia-children@none"], 4),
    ],
)
def test_a_users_mistake_is_a_message_and_an_exit_code(tmp_path, monkeypatch, arguments, exit_code):
    monkeypatch.chdir(tmp_path)
    outcome = invoke(*arguments)
    assert outcome.exit_code == exit_code
    assert "Error: " in outcome.stderr or "Usage: " in outcome.stderr
