"""`python -m export.sign`: vouch for model files.

keygen makes a key pair, sign signs a model with it, and manifest writes down which files a folder
of shipped models holds.
"""

import hashlib
import json
import os
from pathlib import Path

import click
from nacl.signing import SigningKey

from cxr_edge.model_file import MANIFEST_NAME, read_model_file, signature_path
from cxr_edge.signature import (
    PublicKey,
    public_key_text,
    read_signature,
    sign,
    verify,
)
from train.commands import CONTEXT, run_command

from .errors import ExportError

_PRIVATE_KEY_HEADER = "cxr-edge PRIVATE key 1"


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Sign models, so that they can be installed from a stick without trusting the stick."""


@command.command(
    epilog="""\b
Example:
  python -m export.sign keygen my.key --signer "St. Anna, radiology"
"""
)
@click.argument("key", type=click.Path(path_type=Path))
@click.option("--signer", required=True, help="Whose key it is, as users will read it.")
def keygen(key: Path, signer: str) -> None:
    """Make the private key KEY, and KEY.pub, which users need to trust its signatures."""
    if not signer.strip().isprintable() or not signer.strip():
        raise ExportError("The signer must have a name on one line.", "Give --signer a name.")
    private = SigningKey.generate()
    public = key.with_name(key.name + ".pub")
    text = f"{_PRIVATE_KEY_HEADER}\nsigner: {signer.strip()}\nseed: {private.encode().hex()}\n"
    for path, content, mode in (
        (key, text, 0o600),
        (public, public_key_text(PublicKey(signer.strip(), bytes(private.verify_key))), 0o644),
    ):
        try:
            # Never over an old key: what it signed could not be signed again.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as exc:
            raise ExportError(
                f"{path} cannot be written ({exc.strerror}).",
                "Name a new file in a folder that exists.",
            ) from exc
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    click.echo(
        f"{key}: the PRIVATE key. Whoever has it can sign models in your name: keep it off "
        "networks and out of\nrepositories, share it with nobody, and keep a copy in a safe place, "
        "since it cannot be made again.\n"
        f"{public}: the public key. Give it to users by a way they trust; they name it with "
        "--public-key."
    )


@command.command(
    "sign",
    epilog="""\b
Example:
  python -m export.sign sign model.onnx --key my.key
""",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The private key.")
def sign_model(model: Path, key: Path) -> None:
    """Write MODEL.sig: this very file, its name and its version, signed with KEY."""
    signer, private = _read_private_key(key)
    target = signature_path(model)
    target.unlink(missing_ok=True)  # of an earlier file
    file = read_model_file(model)
    name, version = file.card.name, file.card.version
    if not (name + version).isprintable():
        raise ExportError("The model's name or version has unprintable letters.", "Change them.")
    text = sign(file.sha256, name, version, signer, private)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ExportError(
            f"{target} cannot be written ({exc.strerror}).", "Check permission and space."
        ) from exc
    verify(read_signature(target), [PublicKey(signer, bytes(private.verify_key))])
    click.echo(f"{target}: {file.card.label} signed by {signer}.")


@command.command(
    epilog="""\b
Example:
  python -m export.sign manifest cxr_edge/models
"""
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def manifest(folder: Path) -> None:
    """Write FOLDER/manifest.json, the sha256 of each model in FOLDER.

    A shipped model that is not as its manifest says is never loaded.
    """
    models = sorted(folder.glob("*.onnx"))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in models}
    target = folder / MANIFEST_NAME
    target.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    for path in models:
        read_model_file(path)
    click.echo(f"{target}: {len(digests)} models.")


def _read_private_key(path: Path) -> tuple[str, SigningKey]:
    """Whose it is, and the key."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        facts = dict(line.split(": ", 1) for line in lines)
        if header != _PRIVATE_KEY_HEADER:
            raise ValueError("another first line than a private key has")
        return facts["signer"], SigningKey(bytes.fromhex(facts["seed"]))
    # What a key file may hold is never part of the message.
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ExportError(
            f"{path} is no private key ({type(exc).__name__}).",
            "Name the file that `python -m export.sign keygen` wrote, not its .pub.",
        ) from None


if __name__ == "__main__":
    run_command(command, "python -m export.sign")
