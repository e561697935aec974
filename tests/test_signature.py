"""Signatures: what was signed, by whom, and that a change of either is noticed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from cxr_edge.errors import ModelError
from cxr_edge.model_file import read_model_file
from cxr_edge.signature import (
    PublicKey,
    public_key_text,
    read_public_key,
    read_signature,
    sign,
    verify,
)
from export import sign as sign_main
from export.errors import ExportError
from tests.tiny_model import tiny_card, write_tiny_model

KEY = SigningKey(bytes(range(32)))
PUBLIC = PublicKey("Müller, radiology", bytes(KEY.verify_key))
OTHER = PublicKey("someone else", bytes(SigningKey(bytes(32)).verify_key))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(
        sign_main.command, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def signed(tmp_path) -> Path:
    """A .sig file."""
    path = tmp_path / "m.onnx.sig"
    path.write_text(sign("a" * 64, "tiny", "1", PUBLIC.signer, KEY), encoding="utf-8")
    return path


def test_a_signature_tells_what_was_signed_and_whose_key_it_was(signed):
    signature = read_signature(signed)
    assert (signature.sha256, signature.name, signature.version) == ("a" * 64, "tiny", "1")
    assert verify(signature, [OTHER, PUBLIC]) == "Müller, radiology"


def test_the_signer_is_the_one_of_the_key_not_the_one_that_the_file_claims(signed):
    assert verify(read_signature(signed), [replace(PUBLIC, signer="the hospital")]) == (
        "the hospital"
    )


@pytest.mark.parametrize("keys", [[], [OTHER]])
def test_a_key_that_is_not_trusted_is_an_error_with_a_next_step(signed, keys):
    with pytest.raises(ModelError, match="made with no key that is trusted") as info:
        verify(read_signature(signed), keys)
    assert "--public-key" in info.value.next_step


@pytest.mark.parametrize(
    ("fact", "other"), [("a" * 64, "b" * 64), ("tiny", "tidy"), ("version: 1", "version: 2")]
)
def test_nothing_that_was_signed_can_be_changed(signed, fact, other):
    text = signed.read_text(encoding="utf-8")
    assert fact in text
    signed.write_text(text.replace(fact, other), encoding="utf-8")
    with pytest.raises(ModelError, match="what it signs was changed"):
        verify(read_signature(signed), [PUBLIC])


@pytest.mark.parametrize("signature", ["", "AAAA", "A" * 88])
def test_a_signature_of_the_wrong_size_is_none(signed, signature):
    lines = signed.read_text(encoding="utf-8").splitlines()
    signed.write_text("\n".join([*lines[:-1], f"signature: {signature}"]), encoding="utf-8")
    with pytest.raises(ModelError):
        verify(read_signature(signed), [PUBLIC])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no signature",
        "\xff\xfe",
        "cxr-edge model signature 2\n",
        "cxr-edge model signature 1\nsha256: a\nname: n\nversion: 1\nsigner: s\nsignature: AA==\n",
    ],
)
def test_what_is_no_signature_is_named(tmp_path, text):
    path = tmp_path / "m.onnx.sig"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"m\.onnx\.sig"):
        read_signature(path)


def test_a_public_key_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "k.pub"
    path.write_text(public_key_text(PUBLIC), encoding="utf-8")
    assert read_public_key(path) == PUBLIC


@pytest.mark.parametrize("text", ["", "AAAA", "cxr-edge public key 1\nsigner: a\nkey: AAAA\n"])
def test_what_is_no_public_key_is_named(tmp_path, text):
    (tmp_path / "k.pub").write_text(text)
    with pytest.raises(ModelError, match=r"k\.pub is no public key"):
        read_public_key(tmp_path / "k.pub")


@pytest.fixture
def keys(tmp_path) -> Path:
    run("keygen", tmp_path / "my key", "--signer", "Müller, radiology")
    return tmp_path / "my key"


def test_a_private_key_is_readable_by_its_owner_alone_and_comes_with_a_warning(tmp_path):
    said = run("keygen", tmp_path / "k", "--signer", "A")
    assert "share it with nobody" in said
    assert "cannot be made again" in said
    if os.name == "posix":
        assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    seed = (tmp_path / "k").read_text().split("seed: ")[1].strip()
    assert seed not in said
    assert seed not in (tmp_path / "k.pub").read_text()


def test_a_key_is_never_written_over_another(keys):
    before = keys.read_bytes()
    with pytest.raises(ExportError, match="cannot be written"):
        run("keygen", keys, "--signer", "A")
    assert keys.read_bytes() == before


def test_a_signed_model_is_verified_with_the_public_key(keys, tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx")
    run("sign", model, "--key", keys)
    signature = read_signature(tmp_path / "m.onnx.sig")
    assert signature.sha256 == read_model_file(model).sha256
    assert (signature.name, signature.version) == ("tiny", "1")
    public = read_public_key(tmp_path / "my key.pub")
    assert verify(signature, [public]) == "Müller, radiology"


def test_a_model_that_changed_after_it_was_signed_is_refused(keys, tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx")
    run("sign", model, "--key", keys)
    write_tiny_model(model, bias=-4)
    with pytest.raises(ModelError, match=r"not the file that m\.onnx\.sig was made for"):
        read_model_file(model)
    run("sign", model, "--key", keys)
    assert read_model_file(model)


def test_a_name_that_would_forge_a_line_is_not_signed(keys, tmp_path):
    card = replace(tiny_card(), name="tiny\nversion: 9").to_json()
    model = write_tiny_model(tmp_path / "m.onnx", card)
    with pytest.raises(ExportError, match="unprintable"):
        run("sign", model, "--key", keys)


@pytest.mark.parametrize("name", ["my key.pub", "none", "m.onnx"])
def test_what_is_no_private_key_is_named_and_its_content_is_not(keys, tmp_path, name):
    model = write_tiny_model(tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="is no private key") as info:
        run("sign", model, "--key", tmp_path / name)
    assert "radiology" not in str(info.value)


def test_a_manifest_names_each_model_with_its_sha256(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx")
    run("manifest", tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    assert read_model_file(model).sha256 in text
