"""Signatures of model files: who vouches for these bytes. Ed25519 (RFC 8032), offline.

Beside MODEL.onnx lies MODEL.onnx.sig, a text that says what is signed (the file's sha256, the
model's name and version) and, in its last line, carries the signature over the lines above it.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelError

if TYPE_CHECKING:
    from nacl.signing import SigningKey

SIGNATURE_HEADER = "cxr-edge model signature 1"
PUBLIC_KEY_HEADER = "cxr-edge public key 1"
_FACTS = ("sha256", "name", "version", "signer")
_MAX_BYTES = 10_000
_ANOTHER = "Get the model and its .sig again from their source."


@dataclass(frozen=True)
class PublicKey:
    """A trusted key: 32 bytes, and whose it is, as its file says."""

    signer: str
    key: bytes


@dataclass(frozen=True)
class Signature:
    """What was signed. signer: as the signature claims; `verify` tells whose key it really was."""

    sha256: str
    name: str
    version: str
    signer: str
    signature: bytes

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        lines = [SIGNATURE_HEADER, *(f"{fact}: {getattr(self, fact)}" for fact in _FACTS)]
        return "".join(f"{line}\n" for line in lines).encode()


def read_signature(path: Path) -> Signature:
    """Raises ModelError: not readable, or no signature of a model."""
    header, facts = _read_facts(path)
    try:
        if header != SIGNATURE_HEADER or list(facts) != [*_FACTS, "signature"]:
            raise ValueError("other lines than a signature has")
        if not re.fullmatch("[0-9a-f]{64}", facts["sha256"]):
            raise ValueError("a sha256 that is none")
        signature = base64.b64decode(facts.pop("signature"), validate=True)
        return Signature(**facts, signature=signature)
    except ValueError as exc:
        raise ModelError(f"{path} is no signature of a model ({exc}).", _ANOTHER) from exc


def verify(signature: Signature, keys: Iterable[PublicKey]) -> str:
    """Who signed: the signer of the trusted key that the signature was made with.

    Raises ModelError where it was made with none of them, or what it signs was changed.
    """
    from nacl.exceptions import BadSignatureError
    from nacl.exceptions import ValueError as NaclValueError
    from nacl.signing import VerifyKey

    for key in keys:
        try:
            VerifyKey(key.key).verify(signature.message, signature.signature)
        except (BadSignatureError, NaclValueError):
            continue
        return key.signer
    raise ModelError(
        f"The signature of {signature.name} {signature.version} ({signature.signer!r}) was made "
        "with no key that is trusted here, or what it signs was changed.",
        "Give the signer's key with --public-key FILE if you have it from a source you trust; else "
        "do not use this model.",
    )


def read_public_key(path: Path) -> PublicKey:
    """Raises ModelError: not readable, or no public key."""
    header, facts = _read_facts(path)
    try:
        if header != PUBLIC_KEY_HEADER or list(facts) != ["signer", "key"]:
            raise ValueError("other lines than a key has")
        key = base64.b64decode(facts["key"], validate=True)
        if len(key) != 32:
            raise ValueError(f"{len(key)} bytes, not 32")
    except ValueError as exc:
        raise ModelError(
            f"{path} is no public key ({exc}).",
            "Name the .pub file that `python -m export.sign keygen` wrote.",
        ) from exc
    return PublicKey(facts["signer"], key)


def read_public_keys(folder: Path) -> list[PublicKey]:
    """The keys of a folder, which may be missing."""
    return [read_public_key(path) for path in sorted(folder.glob("*.pub"))]


def public_key_text(key: PublicKey) -> str:
    encoded = base64.b64encode(key.key).decode()
    return f"{PUBLIC_KEY_HEADER}\nsigner: {key.signer}\nkey: {encoded}\n"


def sign(sha256: str, name: str, version: str, signer: str, key: "SigningKey") -> str:
    """The text of a model's .sig file."""
    unsigned = Signature(sha256, name, version, signer, b"")
    signature = base64.b64encode(key.sign(unsigned.message).signature).decode()
    return f"{unsigned.message.decode()}signature: {signature}\n"


def _read_facts(path: Path) -> tuple[str, dict[str, str]]:
    """The first line, and `name: value` of each other one."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelError(f"{path} cannot be read ({exc}).", _ANOTHER) from exc
    parts = [line.partition(": ") for line in lines[1:]]
    return (lines or [""])[0], {name: value for name, _, value in parts}
