"""Who may come in: passwords for people, who get a session; tokens for programs.

Neither passwords nor tokens nor what a cookie holds are kept: of the first two an Argon2id hash in
the access file, of a session a keyed hash in memory. A process that starts anew knows no sessions.
"""

import hashlib
import hmac
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

from starlette.responses import Response

from .access_file import (
    Entry,
    hash_of_nothing,
    is_token,
    matches,
    new_token,
    read_people,
    remove,
    secret_bytes,
    set_password,
    token_id,
)
from .attempts import Attempts
from .audit import Audit

__all__ = [
    "Access",
    "cookie_name",
    "forget_session",
    "keep_session",
    "new_token",
    "remove",
    "set_password",
]

_SESSION_BYTES = 32
_SESSION_S, _IDLE_S = 12 * 3600.0, 30 * 60.0
_MAX_SESSIONS = 20  # of one name; beyond, the one that was used longest ago ends
# Each takes 64 MB.
_N_HASHES_AT_A_TIME = 2


@dataclass
class _Session:
    """entry: by which it was begun; it ends with it."""

    name: str
    entry: Entry
    began_s: float
    used_s: float


def since_boot_s() -> float:
    """A clock that nobody sets, and that goes on while the PC sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Access:
    """For many threads at a time. Whatever it is asked first looks whether the file has changed: a
    session or token of a name whose entry is another one or gone is worth nothing from then on.

    Every method raises SettingsError where the file cannot be used, and lets nobody in then.
    """

    def __init__(
        self,
        path: Path,
        audit: Audit,
        clock_s: Callable[[], float] = since_boot_s,
        verify: Callable[[str, bytes], bool] = matches,
    ) -> None:
        """audit: where each login, failed login and logout is written. verify: whether a hash is of
        a secret."""
        self.path = path
        self._audit = audit
        self._clock_s = clock_s
        self._verify = verify
        self._key = os.urandom(32)
        self._nobody = Entry("", hash_of_nothing())
        self._attempts = Attempts(clock_s)
        self._hashing = threading.BoundedSemaphore(_N_HASHES_AT_A_TIME)
        self._changing = threading.Lock()
        self._sessions: dict[bytes, _Session] = {}
        self._tokens: dict[bytes, tuple[str, Entry]] = {}
        self._seen: tuple[int, ...] = ()
        self._people: dict[str, Entry] = {}
        self._people_now()

    def log_in(self, name: str, password: str, address: str, replaces: str = "") -> str | None:
        """A new session's value, for the cookie; None: there is no such name, or another password.

        replaces: the session that the browser had. It blocks, for a tenth of a second or more.
        Raises Problem (429), RecordError.
        """
        name = unicodedata.normalize("NFC", name).strip()
        with self._attempts.trying(address) as failed:
            entry = self._people_now().get(name)
            # What is no name here may be a password, in the wrong field.
            if not self._is_of(entry, "password", password) or entry is None:
                failed()
                self._audit.say("login_failed", who=name if entry else "", address=address)
                return None
        self._audit.say("login", who=name, address=address)
        value = token_urlsafe(_SESSION_BYTES)
        now_s = self._clock_s()
        with self._changing:
            self._sessions.pop(self._digest(replaces), None)
            self._end_old(name, now_s)
            self._sessions[self._digest(value)] = _Session(name, entry, now_s, now_s)
        return value

    def log_out(self, session: str, address: str) -> None:
        """End a session. Raises RecordError; it has ended all the same."""
        with self._changing:
            ended = self._sessions.pop(self._digest(session), None)
        if ended is not None:
            self._audit.say("logout", who=ended.name, address=address)

    def of_session(self, session: str, active: bool = True) -> str:
        """The name that a session belongs to; "" where it is none, or has ended.

        It ends after twelve hours, or half an hour without a request. active: whether this one is
        a person's, and not one that a page makes by itself.
        """
        people = self._people_now()
        digest = self._digest(session)
        with self._changing:
            found = self._sessions.get(digest)
            if found is None:
                return ""
            now_s = self._clock_s()
            if people.get(found.name) != found.entry or self._is_over(found, now_s):
                del self._sessions[digest]
                return ""
            if active:
                found.used_s = now_s
            return found.name

    def of_known_token(self, token: str) -> str:
        """The name of a token that has been verified before; "" for others. It does not block."""
        people = self._people_now()
        name, entry = self._tokens.get(self._digest(token), ("", None))
        return name if entry is not None and people.get(name) == entry else ""

    def of_token(self, token: str, address: str) -> str:
        """The name of a token; "": it is none. It blocks, for a tenth of a second or more.

        Raises Problem (429), RecordError.
        """
        with self._attempts.trying(address) as failed:
            people = self._people_now()
            wanted = token_id(token) if is_token(token) else ""
            found = [one for one in people.items() if wanted and one[1].id == wanted]
            name, entry = found[0] if found else ("", None)
            if not wanted or not self._is_of(entry, "token", token) or entry is None:
                failed()
                self._audit.say("login_failed", who=name, address=address)
                return ""
        self._audit.say("login", who=name, address=address)
        with self._changing:
            # Those of entries that are gone would pile up.
            self._tokens = {
                digest: one for digest, one in self._tokens.items() if people.get(one[0]) == one[1]
            }
            self._tokens[self._digest(token)] = (name, entry)
        return name

    def _is_of(self, entry: Entry | None, kind: str, secret: str) -> bool:
        """Whether it is the secret of an entry of this kind. It takes as long if there is none."""
        fits = entry is not None and entry.kind == kind
        hashed = (entry if entry is not None and fits else self._nobody).hash
        with self._hashing:
            return self._verify(hashed, secret_bytes(secret)) and fits

    def _people_now(self) -> dict[str, Entry]:
        seen: tuple[int, ...] = ()
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        except OSError:
            pass  # reading it tells why
        if not seen or seen != self._seen:
            self._seen = ()
            self._people = read_people(self.path)
            self._seen = seen
        return self._people

    def _end_old(self, name: str, now_s: float) -> None:
        """Make room for one more session of a name."""
        over = [digest for digest, one in self._sessions.items() if self._is_over(one, now_s)]
        for digest in over:
            del self._sessions[digest]
        own = [digest for digest, one in self._sessions.items() if one.name == name]
        own.sort(key=lambda digest: self._sessions[digest].used_s, reverse=True)
        for digest in own[_MAX_SESSIONS - 1 :]:
            del self._sessions[digest]

    @staticmethod
    def _is_over(session: _Session, now_s: float) -> bool:
        return now_s - session.began_s >= _SESSION_S or now_s - session.used_s >= _IDLE_S

    def _digest(self, secret: str) -> bytes:
        """What stands for it in memory, by a key that ends with the process. Found by it, a secret
        is compared with none, so that the time tells nothing of it."""
        return hmac.digest(self._key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256)


def cookie_name(secure: bool) -> str:
    """Of the cookie that holds the session. With TLS browsers take it from nobody but this host."""
    return "__Host-cxr_edge_session" if secure else "cxr_edge_session"


def keep_session(response: Response, session: str, secure: bool) -> None:
    """Have the browser keep it until it is closed."""
    response.set_cookie(
        cookie_name(secure), session, path="/", secure=secure, httponly=True, samesite="strict"
    )


def forget_session(response: Response, secure: bool) -> None:
    response.delete_cookie(
        cookie_name(secure), path="/", secure=secure, httponly=True, samesite="strict"
    )
