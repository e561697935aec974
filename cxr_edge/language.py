"""In which language people are spoken to, and what is said to them.

The source is in English. Catalogs of GNU gettext in locale/ hold what a person reads on the
screen, in other languages: one .po file each, which translators edit, and the .mo made of it.

Not translated, on purpose, because other programs or those who look after this one read it: the
texts of --help, log files, JSON, the CSV with its codes, and the ledger. So a text that may go both
ways is a Message, which is English wherever it is used as text; only `told` translates.
"""

import contextlib
import copy
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from .errors import CxrEdgeError, RadiographError

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN = "cxr-edge"
# Whoever opens a page may speak another language than the PC that serves it.
_spoken: ContextVar[str] = ContextVar("spoken", default="")


class Message(str):
    """A text in English that can be said in another language, too.

    template: as it stands in the source and the catalogs. fields: what stands for its
    {placeholders}; without any, braces mean nothing.
    """

    template: str
    fields: Mapping[str, object]

    def __new__(cls, template: str, **fields: object) -> Self:
        self = super().__new__(cls, template.format(**fields) if fields else template)
        self.template = template
        self.fields = fields
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # as of any text

    @classmethod
    def joined(cls, parts: Iterable[str], between: str = " ") -> Self:
        """Several texts in a row; those that are empty are left out."""
        fields = {f"part{n}": part for n, part in enumerate(filter(None, parts))}
        return cls(between.join(f"{{{name}}}" for name in fields), **fields)


def sentence(error: CxrEdgeError) -> Message:
    """What str() says of an error: its code, what went wrong, and the next step."""
    code = f"{error.code}:" if isinstance(error, RadiographError) else ""
    return Message.joined((code, error.message, error.next_step))


def told(said: str | CxrEdgeError) -> str:
    """A message, or an error with its next step, as it is told to a person.

    Any other text stays as it is, unless a catalog has it.
    """
    if isinstance(said, CxrEdgeError):
        said = sentence(said)
    if not isinstance(said, Message):
        return _(said)
    fields = {
        name: told(value) if isinstance(value, Message) else value
        for name, value in said.fields.items()
    }
    return _(said.template).format(**fields) if fields else _(said.template)


class ConsoleFormatter(logging.Formatter):
    """What is logged, as it is told to a person; log files have it in English."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        record.msg = told(record.msg) if isinstance(record.msg, str) else record.msg
        if isinstance(record.args, tuple):
            record.args = tuple(
                told(one) if isinstance(one, Message) else one for one in record.args
            )
        return super().format(record)


def _(text: str) -> str:
    """The text in the language of the person."""
    if not text:
        return ""
    spoken = _spoken.get()
    return (_translate_to(spoken) if spoken else _translate())(text)


@contextlib.contextmanager
def speaking(name: str) -> Iterator[None]:
    """Within it, and in whatever it awaits, the person speaks that language."""
    token = _spoken.set(name)
    try:
        yield
    finally:
        _spoken.reset(token)


def language() -> str:
    """The language of the person, by the letters of ISO 639: the one `speaking` says, or what
    CXR_EDGE_LANGUAGE names, or else that of the system."""
    if spoken := _spoken.get():
        return spoken
    if asked := os.environ.get("CXR_EDGE_LANGUAGE"):
        return _letters(asked)
    if sys.platform == "win32":
        import ctypes
        import locale

        # https://learn.microsoft.com/windows/win32/api/winnls/nf-winnls-getuserdefaultuilanguage
        number = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return _letters(locale.windows_locale.get(number, "en"))
    return posix_language(os.environ)


def posix_language(environment: Mapping[str, str]) -> str:
    """The language that the variables of the environment name, as GNU gettext takes them
    (https://www.gnu.org/software/gettext/manual/html_node/Locale-Environment-Variables.html)."""
    names = [environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    locale = _letters(next(filter(None, names), "C"))
    if locale in ("c", "posix"):
        return "en"
    wanted = map(_letters, environment.get("LANGUAGE", "").split(":"))
    return next((one for one in wanted if one == "en" or one in languages()), locale)


def preferred_language(accepted: str, default: str) -> str:
    """The first language that a browser would like and that there is a catalog of.

    accepted: the header Accept-Language (RFC 9110, 12.5.4).
    """
    wished = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, parameter = part.partition(";")
        found = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", parameter)
        weight = float(found[1]) if found else 1.0
        if weight > 0:
            wished.append((-weight, place, _letters(name.strip())))
    known = {"en", *languages()}
    return next((name for _, _, name in sorted(wished) if name in known), default)


def languages() -> list[str]:
    """Those that there are catalogs of."""
    return sorted(folder.parent.name for folder in catalogs().glob("*/LC_MESSAGES"))


def catalogs() -> "Path":
    """Their folder."""
    from pathlib import Path  # `--help` and `--version` need none

    return Path(__file__).with_name("locale")


@functools.cache
def _translate() -> Callable[[str], str]:
    """To the language of this machine's person."""
    return _translate_to(language())


@functools.cache
def _translate_to(name: str) -> Callable[[str], str]:
    import gettext

    # Of a language without a catalog, or English, nothing is translated.
    return gettext.translation(DOMAIN, catalogs(), [name], fallback=True).gettext


def _letters(locale: str) -> str:
    """ "fr" of "fr_CA.UTF-8", "fr-CA" and "FR"."""
    for mark in "_-.@":
        locale = locale.partition(mark)[0]
    return locale.lower()


def why(error: OSError) -> Message:
    """What the system says went wrong; Windows says it in the person's language by itself."""
    return Message(error.strerror or type(error).__name__)


# What other systems may say.
SYSTEM_ERRORS = (
    Message("Input/output error"),
    Message("Is a directory"),
    Message("No space left on device"),
    Message("No such file or directory"),
    Message("Not a directory"),
    Message("Permission denied"),
    Message("Read-only file system"),
)
