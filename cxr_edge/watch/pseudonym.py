"""Names and DICOM identifiers replaced by a keyed hash: the same one each time at this site, and
nothing to anyone without the site's key.

HMAC with SHA-256 (RFC 2104, FIPS 180-4): without the key nobody can try out all patient numbers,
as a bare hash would let them. This is the consistent replacement of identifiers of DICOM PS3.15
Annex E, not its whole profile: names burned into pixels stay where they are.
"""

import hashlib
import hmac
import logging
import os
import stat
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..result import Identifiers

if TYPE_CHECKING:
    from ..ledger import Ledger

logger = logging.getLogger(__name__)
_KEY_BYTES = 32  # as many as the hash gives; RFC 2104, 3, advises against fewer
_N_HEX = (
    20  # 80 bits: among a hundred million films two share one with a chance of 1 in 240,000,000
)


def load_key(path: Path) -> bytes:
    """The site's key, made on first use; later keys would give other pseudonyms, so keep it safe.

    The file holds hexadecimal text, for its owner's eyes alone. Two processes that start at once
    come to the same key. Raises SettingsError: unreadable, or too short to keep a secret.
    """
    text = _read(path)
    if text is None:
        _make(path)
        text = _read(path) or ""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES:
        raise SettingsError(
            f"{path} holds no key: {2 * _KEY_BYTES} or more hexadecimal digits were expected.",
            "Bring it back from a copy. Without one, delete it and begin a new ledger.",
        )
    return key


def check_key(ledger: "Ledger", pseudonyms: "Pseudonyms", path: Path) -> None:
    """Hold on to the key that a ledger was begun with: by another one every film would be new, and
    a patient two. path: of the key.

    Raises SettingsError: it is another one. LedgerError.
    """
    with ledger.transaction():
        known = ledger.fact("pseudonym_key")
        if not known:
            ledger.set_fact("pseudonym_key", pseudonyms.fingerprint)
        elif known != pseudonyms.fingerprint:
            raise SettingsError(
                f"{path} is not the key that the pseudonyms in {ledger.path} were made with.",
                "Bring that key back from a copy, or name a new ledger.",
            )


class Pseudonyms:
    """What stands for a name: the same for the same key, on every machine."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Tells whether a key is still the same one, and tells nothing else of it."""
        return self._hash("key", b"")

    def name(self, path: str | bytes | os.PathLike[str]) -> str:
        """film-3f9a... and the suffix, where it is an image's: it says nothing of a patient."""
        from ..reading import DICOM_SUFFIXES, IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES

        suffix = PurePath(os.fsdecode(path)).suffix.lower()
        known = IMAGE_SUFFIXES | DICOM_SUFFIXES | OTHER_IMAGE_SUFFIXES
        return self._hash("film", os.fsencode(path)) + (suffix if suffix in known else "")

    def identifier(self, kind: str, value: str) -> str:
        """patient-8d1c... for kind "patient"; one value gives two kinds two pseudonyms.

        An empty value stays empty: it identifies nobody.
        """
        return self._hash(kind, value.encode("utf-8", "surrogateescape")) if value else ""

    def identifiers(self, found: Identifiers) -> Identifiers:
        """All of a film's."""
        return Identifiers(*(self.identifier(*each) for each in asdict(found).items()))

    def _hash(self, kind: str, value: bytes) -> str:
        # No kind holds a zero byte, so no kind and value run together into another pair.
        digest = hmac.new(self._key, kind.encode() + b"\0" + value, hashlib.sha256).hexdigest()
        return f"{kind}-{digest[:_N_HEX]}"


def _read(path: Path) -> str | None:
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
        seen_by_others = sys.platform != "win32" and path.stat().st_mode & stat.S_IRWXO
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SettingsError(
            f"The key {path} cannot be read ({exc.strerror}).", "Give this user access to it."
        ) from exc
    if seen_by_others:
        logger.warning("Every user may read the key %s: chmod 600 ends that.", path)
    return text


def _make(path: Path) -> None:
    """Write a new key, whole or not at all, unless another process has just done so."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(os.urandom(_KEY_BYTES).hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                # Either refuses to replace a file.
                if sys.platform == "win32":
                    draft.rename(path)
                else:
                    path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as exc:
        raise SettingsError(
            f"The key {path} cannot be made ({exc.strerror}).",
            "Name a privacy.key_file in a folder on a local disk that this user may write to.",
        ) from exc
