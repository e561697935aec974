"""Who may come in, as a file says it: a name, and an Argon2id hash (RFC 9106) of its password or
token. Neither of these can be told from it.

It is TOML, and for its owner's eyes alone: whoever may write to it may come in.
"""

import base64
import hashlib
import os
import re
import secrets
import stat
import sys
import tomllib
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import SettingsError
from ..strict import from_data

TOKEN_START = "cxre_"
_TOKEN_BYTES = 32
_TOKEN = re.compile(rf"{TOKEN_START}[A-Za-z0-9_-]{{43}}")
# It stands in the ledger's verdicts and in the audit.
_NAME = re.compile(r"[\w.@'-]([\w.@' -]{0,62}[\w.@'-])?")
# Memory (in KiB) and passes have bounds, as each login takes them.
_HASH = re.compile(
    r"\$argon2id\$v=19\$m=\d{4,6},t=\d,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", re.ASCII
)
_MIN_LETTERS, _MAX_LETTERS = 10, 1000
_COMMENT = (
    "# Who may come in to `cxr-edge serve`. Made by its --set-password, --new-token and --remove.\n"
    "# Keep it for yourself.\n\n"
)


@dataclass(frozen=True)
class Entry:
    """kind: password or token. id: of a token, to find it by, made of a hash of it. made_at: when,
    in UTC (ISO 8601)."""

    kind: str
    hash: str = field(repr=False)
    id: str = ""
    made_at: str = ""


@dataclass(frozen=True)
class _File:
    people: Mapping[str, Entry] = field(default_factory=dict)


def set_password(path: Path, name: str, password: str) -> None:
    """Let a name in by a password from now on, and by nothing else.

    Raises SettingsError: no such name can be, the password is too short or long, or the file cannot
    be read or written.
    """
    name = _checked(name)
    if not _MIN_LETTERS <= len(password) <= _MAX_LETTERS:
        raise SettingsError(
            f"A password has {_MIN_LETTERS} to {_MAX_LETTERS} characters.",
            "Take a few words that nobody would guess.",
        )
    _change(path, name, Entry("password", _hash(secret_bytes(password)), "", _now()))


def new_token(path: Path, name: str) -> str:
    """A token that lets a name in from now on, and nothing else does; this is the only time that it
    is told. Raises SettingsError."""
    name = _checked(name)
    token = TOKEN_START + secrets.token_urlsafe(_TOKEN_BYTES)
    _change(path, name, Entry("token", _hash(secret_bytes(token)), token_id(token), _now()))
    return token


def remove(path: Path, name: str) -> None:
    """Let a name in no more. Raises SettingsError: nobody has it, or the file cannot be changed."""
    name = unicodedata.normalize("NFC", name).strip()
    if name not in read_people(path):
        raise SettingsError(
            f"Nobody is called {name} in {path}.", "Look at the names in that file."
        )
    _change(path, name, None)


def read_people(path: Path) -> dict[str, Entry]:
    """Everybody who may come in, by name.

    Raises SettingsError: there is no such file, it is damaged, or others may read or change it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode("utf-8")
        people = dict(from_data(_File, tomllib.loads(text)).people)
        if not all(_is_whole(name, entry) for name, entry in people.items()):
            raise ValueError
    except FileNotFoundError:
        raise SettingsError(
            f"There is no {path}, so nobody may come in.",
            "Make it: cxr-edge serve --set-password NAME.",
        ) from None
    except OSError as exc:
        raise SettingsError(
            f"{path} cannot be read ({exc.strerror}).", "Give this user access to it."
        ) from exc
    except (ValueError, TypeError):  # whose words may hold a hash
        raise SettingsError(
            f"{path} does not say who may come in: it is damaged.",
            "Bring it back from a copy, or delete it and set the passwords again.",
        ) from None
    if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(
            f"Other users may read or change {path}, which says who may come in.",
            f"Run chmod 600 {path}, and set the passwords again if somebody has seen it.",
        )
    return people


def is_token(text: str) -> bool:
    """Whether it looks like one."""
    return _TOKEN.fullmatch(text) is not None


def token_id(token: str) -> str:
    """What a token is found by; of 256 random bits it tells nothing that helps to guess them."""
    return hashlib.sha256(b"cxr-edge token id\0" + token.encode()).hexdigest()[:16]


def secret_bytes(secret: str) -> bytes:
    """What is hashed: the same for one password, however a keyboard puts its letters together."""
    return unicodedata.normalize("NFKC", secret).encode("utf-8", "surrogatepass")


def matches(hashed: str, secret: bytes) -> bool:
    """Whether this is the secret; takes as much memory and time as `hashed` says."""
    from nacl.exceptions import CryptoError
    from nacl.pwhash import argon2id

    try:
        return argon2id.verify(hashed.encode(), secret)
    except CryptoError:
        return False


def hash_of_nothing() -> str:
    """A hash that no secret has, and that takes as long as another."""
    salt, digest = (base64.b64encode(os.urandom(n)).rstrip(b"=").decode("ascii") for n in (16, 32))
    return f"$argon2id$v=19$m=65536,t=2,p=1${salt}${digest}"


def _hash(secret: bytes) -> str:
    from nacl.pwhash import argon2id

    hashed = argon2id.str(
        secret, opslimit=argon2id.OPSLIMIT_INTERACTIVE, memlimit=argon2id.MEMLIMIT_INTERACTIVE
    )
    return hashed.decode("ascii")


def _checked(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    if not _NAME.fullmatch(name):
        raise SettingsError(
            "That cannot be a name here.",
            "A name has up to 64 letters, digits, spaces and any of . _ - @ '",
        )
    return name


def _is_whole(name: str, entry: Entry) -> bool:
    return bool(
        _NAME.fullmatch(name)
        and _HASH.fullmatch(entry.hash)
        and (entry.kind == "password" or (entry.kind == "token" and entry.id))
    )


def _change(path: Path, name: str, entry: Entry | None) -> None:
    """Put an entry in, in place of the name's earlier one, or take that out."""
    people = read_people(path) if path.exists() else {}
    people.pop(name, None)
    if entry is not None:
        people[name] = entry
    _write(path, _File(people))


def _write(path: Path, file: _File) -> None:
    """In one step, so that whoever reads it meanwhile has all of it."""
    import tomlkit

    text = _COMMENT + tomlkit.dumps(asdict(file))
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as drafted:
                drafted.write(text.encode())
                drafted.flush()
                os.fsync(drafted.fileno())
                _give_to_owner(drafted.fileno(), path)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as exc:
        raise SettingsError(
            f"{path} cannot be written ({exc.strerror}).", "Check permission and free space."
        ) from exc


def _give_to_owner(handle: int, path: Path) -> None:
    """What root changes stays readable for the service's own user."""
    if sys.platform != "win32" and os.geteuid() == 0:
        with suppress(OSError):
            owned = (path if path.exists() else path.parent).stat()
            os.fchown(handle, owned.st_uid, owned.st_gid)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
