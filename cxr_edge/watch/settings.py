"""The settings of `cxr-edge watch`: every option with its default, its limits and what it does.

A TOML file (https://toml.io/en/v1.0.0) gives them; EXAMPLE is written from the same fields, so that
neither can know an option that the other does not.
"""

# ruff: noqa: RUF009 - _option is dataclasses.field with this project's own words

import codecs
import os
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from ..errors import SettingsError
from ..refusals import ACCEPTABLE
from ..strict import from_data

_T = TypeVar("_T")
_ALL_OPTIONS = "`cxr-edge watch --example` prints every option."
_SINGLE_QUOTES = r"On Windows write paths in single quotes: folder = 'D:\films'."


def _option(
    default: _T,
    says: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> _T:
    """A dataclass field: its default, its line in the example, and what its value must keep to."""
    limits = {"choices": choices, "least": least, "most": most, "above": above}
    made: _T = field(default=default, metadata={"says": says, **limits})
    return made


@dataclass(frozen=True)
class CsvSettings:
    path: Path | None = _option(None, 'The CSV that shows the ledger; "": none.')
    dialect: str = _option(
        "standard",
        "excel: with a byte order mark; excel-semicolon: also with ; and a decimal comma.",
        choices=("standard", "excel", "excel-semicolon"),
    )
    rotate: str = _option(
        "never", "A new CSV every day or month.", choices=("never", "day", "month")
    )


@dataclass(frozen=True)
class ModelSettings:
    name: str = _option("", 'A model file, or the name of an installed model; "": the default one.')
    device: str = _option("auto", "Where the network runs.", choices=("auto", "cpu", "cuda", "dml"))
    threshold: float = _option(
        0.0,
        "Positive from this probability on; 0: the model's operating points.",
        least=0,
        most=1,
    )
    thresholds: Mapping[str, float] = field(
        default_factory=dict,
        metadata={"says": "The same for single findings: {pneumonia = 0.3}", "least": 0, "most": 1},
    )
    accept: tuple[str, ...] = _option(
        (),
        "Refusals that this site overrules: such films get an answer, and their rows say so.",
        choices=tuple(sorted(ACCEPTABLE)),
    )
    profile: bool = _option(
        True, "Judge by this site's profile, where `cxr-edge calibrate` has made one of the model."
    )


@dataclass(frozen=True)
class WorkerSettings:
    count: int = _option(
        0, "Processes that read films; 0: one per core, on a card 4 at most.", least=0, most=256
    )
    film_s: float = _option(60.0, "A film that takes longer to read has failed.", above=0)
    memory_mb: int = _option(2048, "Memory that one film may take.", least=256)


@dataclass(frozen=True)
class HeatmapSettings:
    folder: Path | None = _option(
        None, 'Films with the findings drawn over them are written here; "": none are.'
    )


@dataclass(frozen=True)
class AfterSettings:
    success: str = _option(
        "leave",
        "What becomes of a film once its row is on the disk.",
        choices=("leave", "move", "delete"),
    )
    moved_to: Path | None = _option(None, 'Where success = "move" puts it.')
    failed_to: Path | None = _option(
        None, 'Films without a result go here, each with its reason beside it; "": they stay.'
    )


@dataclass(frozen=True)
class RetentionSettings:
    results_days: int = _option(
        0, "Results older than this leave the ledger; 0: they stay.", least=0
    )
    films_days: int = _option(
        0, "Films leave moved_to and failed_to after so long; 0: they stay.", least=0
    )
    heatmaps_days: int = _option(0, "Heatmaps are deleted after so long; 0: they stay.", least=0)


@dataclass(frozen=True)
class PrivacySettings:
    pseudonymise: bool = _option(
        False, "A keyed hash stands for each file's name in the results and notices."
    )
    key_file: Path | None = _option(
        None, 'The key of that hash, made on first use; "": beside the ledger.'
    )
    identifiers: str = _option(
        "none",
        "Whether the ledger keeps DICOM identifiers.",
        choices=("none", "pseudonym", "plain"),
    )


@dataclass(frozen=True)
class LogSettings:
    file: Path | None = _option(None, 'JSON lines without patient data; "": no log file.')
    level: str = _option(
        "info", "The least that is logged.", choices=("debug", "info", "warning", "error")
    )
    max_mb: float = _option(10.0, "A new file is begun at this size.", above=0)
    keep: int = _option(5, "How many older files are kept.", least=1)


@dataclass(frozen=True)
class NoticeSettings:
    desktop: bool = _option(False, "A notice on this computer's desktop.")
    webhook: str = _option("", 'A notice is POSTed to this address as JSON; "": none is.')
    email_to: str = _option("", 'Notices go to these addresses, separated by commas; "": none do.')
    email_from: str = _option("", "The address that they come from.")
    smtp_host: str = _option("", "The mail server; it must offer TLS.")
    smtp_port: int = _option(587, "587: STARTTLS; 465: TLS from the start.", least=1, most=65535)
    smtp_user: str = _option("", 'The user name there; "": none is asked for.')
    smtp_password_file: Path | None = _option(None, "A file whose first line is the password.")
    positive: bool = _option(True, "Say when a finding is positive, or unsure and rather so.")
    piled_up: int = _option(0, "Say when so many films wait; 0: never.", least=0)
    piled_up_for_s: float = _option(600.0, "And have waited for so long.", least=0)
    with_names: bool = _option(
        False, "Name the film in notices; otherwise they hold counts and findings."
    )

    @property
    def asked_for(self) -> bool:
        """Whether there is anyone to tell."""
        return bool(self.desktop or self.webhook or self.email_to)


@dataclass(frozen=True)
class Settings:
    """Every option of `cxr-edge watch`, checked. Raises SettingsError.

    Whether folders are there, and may be written to, is not looked at: a share comes and goes.
    """

    folder: Path = field(metadata={"says": "The folder to watch.", "example": "films"})
    ledger: Path | None = _option(
        None, 'The one record of every film; "": in this user\'s own folder.'
    )
    include: tuple[str, ...] = _option(
        (),
        "Only files that match one of these patterns, by name or by path below folder "
        '(["*.dcm", "ward 3/*"]); case does not matter.',
    )
    exclude: tuple[str, ...] = _option((), "And none that matches one of these.")
    subfolders: bool = _option(True, "Films in sub-folders too.")
    newest_first: bool = _option(False, "A backlog is read from its newest film on.")
    settle_s: float = _option(2.0, "A file is read when unchanged for so long.", least=0)
    poll_interval_s: float = _option(1.0, "Between two looks at the folder.", above=0)
    events: bool = _option(
        True, "Let the system say when a file comes; looking remains what counts."
    )
    patience_s: float = _option(
        30.0, "A film that does not decode has failed only when unchanged for so long.", least=0
    )
    retry_for_s: float = _option(
        3600.0, "What may heal (a locked file, a lost share) is tried again for so long.", least=0
    )
    share_work: bool = _option(
        False, "Several watchers share this folder; otherwise the second one stops."
    )
    csv: CsvSettings = field(default_factory=CsvSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    heatmaps: HeatmapSettings = field(default_factory=HeatmapSettings)
    after: AfterSettings = field(default_factory=AfterSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    log: LogSettings = field(default_factory=LogSettings)
    notice: NoticeSettings = field(default_factory=NoticeSettings)

    def __post_init__(self) -> None:
        _check_values(self)
        _check_after(self)
        _check_notice(self.notice)
        _check_places(self)

    @property
    def ledger_path(self) -> Path:
        return self.ledger or default_ledger_path()

    @property
    def key_path(self) -> Path:
        return self.privacy.key_file or self.ledger_path.with_name("pseudonym.key")


def load_settings(path: Path) -> Settings:
    """The settings in a TOML file; relative paths in it start from its folder.

    Raises SettingsError that names the file, and the key or the line.
    """
    text = read_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:  # says the line
        backslash = "\\" in str(exc) or "hex" in str(exc)
        raise SettingsError(
            f"{path} is not TOML: {exc}.", _SINGLE_QUOTES if backslash else _ALL_OPTIONS
        ) from exc
    try:
        return from_data(Settings, _anchored(Settings, table, path.absolute().parent))
    except TypeError as exc:
        raise SettingsError(f"{path}: {exc}.", _ALL_OPTIONS) from exc
    except SettingsError as exc:
        raise SettingsError(f"{path}: {exc.message}", exc.next_step) from exc


def read_text(path: Path) -> str:
    """What a settings file says, however an editor saved it. Raises SettingsError."""
    try:
        data = path.read_bytes()
        # Notepad may write a byte order mark; PowerShell's > writes UTF-16 with one.
        is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except OSError as exc:
        raise SettingsError(
            f"{path} cannot be read ({exc.strerror}).", "Check the path and its permissions."
        ) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise SettingsError(
            f"{path}: line {line} is not UTF-8.", "Save the file as UTF-8 in the editor."
        ) from exc


def default_ledger_path() -> Path:
    """The ledger of a watcher that this user starts."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library/Application Support"
    else:
        # A relative one is to be ignored (XDG Base Directory Specification 0.8).
        folder = Path(os.environ.get("XDG_DATA_HOME", ""))
        folder = folder if folder.is_absolute() else Path.home() / ".local/share"
    return folder / "cxr-edge" / "ledger.db"


def service_ledger_path() -> Path:
    """The ledger of a service, which has no user's folder."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("PROGRAMDATA") or "C:/ProgramData")
    elif sys.platform == "darwin":
        folder = Path("/Library/Application Support")
    else:
        folder = Path("/var/lib")
    return folder / "cxr-edge" / "ledger.db"


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it, links followed. Raises SettingsError."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as exc:  # links in a circle
        raise SettingsError(f"{path} or {folder} cannot be followed to its place.") from exc


def _anchored(kind: Any, data: Any, base: Path) -> Any:
    """The parsed data with its relative paths made absolute."""
    if not isinstance(data, dict):
        return data
    hints = get_type_hints(kind)
    anchored = {}
    for key, value in data.items():
        hint = hints.get(key)
        if is_dataclass(hint):
            value = _anchored(hint, value, base)
        elif hint in (Path, Path | None) and isinstance(value, str) and value:
            value = str(base / value)
        anchored[key] = value
    return anchored


def _check_values(settings: Any, prefix: str = "") -> None:
    for option in fields(settings):
        value, name = getattr(settings, option.name), prefix + option.name
        if is_dataclass(value):
            _check_values(value, f"{name}.")
            continue
        if isinstance(value, Mapping):
            for key, one in value.items():
                _check_number(f"{name}.{key}", one, option)
        elif isinstance(value, (int, float)):
            _check_number(name, value, option)
        elif choices := option.metadata.get("choices"):
            for one in value if isinstance(value, tuple) else (value,):
                if one not in choices:
                    raise SettingsError(f"{name} is {one!r}.", f"Give one of {', '.join(choices)}.")
        # A path that came from "D:\table" holds a tab.
        elif isinstance(value, (str, Path)) and any(ord(letter) < 32 for letter in str(value)):
            raise SettingsError(f"{name} holds a control character: {value!s:.80}", _SINGLE_QUOTES)
        elif isinstance(value, tuple) and "" in value:
            raise SettingsError(f"{name} holds an empty pattern.", "Take it out.")


def _check_number(name: str, value: float, option: "Field[Any]") -> None:
    least, most, above = (option.metadata.get(limit) for limit in ("least", "most", "above"))
    if least is not None and value < least:
        raise SettingsError(f"{name} is {value:g}.", f"Give {least:g} or more.")
    if most is not None and value > most:
        raise SettingsError(f"{name} is {value:g}.", f"Give {most:g} or less.")
    if above is not None and value <= above:
        raise SettingsError(f"{name} is {value:g}.", f"Give more than {above:g}.")


def _check_after(settings: Settings) -> None:
    after, keep = settings.after, settings.retention
    if (after.success == "move") != (after.moved_to is not None):
        raise SettingsError(
            f'after.success is "{after.success}", and after.moved_to '
            + ("names a folder." if after.moved_to else "names none."),
            'Give both success = "move" and moved_to, or neither.',
        )
    if keep.films_days and not (after.moved_to or after.failed_to):
        raise SettingsError(
            "retention.films_days is given, and no film is moved anywhere.",
            "Give after.moved_to or after.failed_to; films in the watched folder are never aged.",
        )
    if keep.heatmaps_days and not settings.heatmaps.folder:
        raise SettingsError(
            "retention.heatmaps_days is given without heatmaps.folder.", "Name the folder."
        )


def _check_notice(notice: NoticeSettings) -> None:
    if notice.webhook:
        try:
            address = urlsplit(notice.webhook)
            usable = address.scheme in ("http", "https") and bool(address.hostname)
            usable = usable and address.port != 0  # a port that is no number raises
        except ValueError:
            usable = False
        # The address may hold a secret, so it is not repeated.
        if not usable or not notice.webhook.isascii() or " " in notice.webhook:
            raise SettingsError(
                "notice.webhook is not an address of the web.", "It starts with https:// or http://"
            )
    if notice.email_to:
        for name in ("email_to", "email_from"):
            for address in getattr(notice, name).split(","):
                if "@" not in address.strip().strip("@") or " " in address.strip():
                    raise SettingsError(
                        f"notice.{name} is {address!r}.", "Give an address: reading@example.org"
                    )
        if not notice.smtp_host:
            raise SettingsError(
                "notice.email_to is given without notice.smtp_host.", "Name the mail server."
            )
        if bool(notice.smtp_user) != bool(notice.smtp_password_file):
            raise SettingsError(
                "Of notice.smtp_user and notice.smtp_password_file only one is given.",
                "Give both, or neither.",
            )
    if notice.piled_up and not notice.asked_for:
        raise SettingsError(
            "notice.piled_up is given, and there is nobody to tell.",
            "Give notice.desktop, notice.webhook or notice.email_to.",
        )


def _check_places(settings: Settings) -> None:
    """Nothing is written into the folder that is read, and no two things to one place."""
    files = {
        "ledger": settings.ledger_path,
        "csv.path": settings.csv.path,
        "log.file": settings.log.file,
        "privacy.key_file": settings.key_path,
    }
    folders = {
        "heatmaps.folder": settings.heatmaps.folder,
        "after.moved_to": settings.after.moved_to,
        "after.failed_to": settings.after.failed_to,
    }
    for name, path in {**files, **folders}.items():
        if path and is_inside(path, settings.folder):
            raise SettingsError(
                f"{name}: {path} lies inside {settings.folder}, which is being read.",
                "Name a place outside that folder.",
            )
    for name, path in folders.items():
        # Otherwise films not yet read could be moved over, or deleted for their age.
        if path and is_inside(settings.folder, path):
            raise SettingsError(
                f"{name}: the watched folder {settings.folder} lies inside {path}.",
                "Name a folder of its own.",
            )
    taken: dict[Path, str] = {}
    for name, path in {**files, **folders}.items():
        if path and (other := taken.setdefault(path.resolve(), name)) != name:
            raise SettingsError(f"{other} and {name} are both {path}.", "Give each its own.")


def _example(kind: Any, table: str = "") -> str:
    """TOML with every option at its default, each after a line that says what it does."""
    lines = [f"\n[{table}]"] if table else []
    tables = []
    for option in fields(kind):
        if isinstance(option.type, type) and is_dataclass(option.type):
            tables.append(_example(option.type, option.name))
            continue
        choices = option.metadata.get("choices")
        says = option.metadata["says"] + (f" One of: {', '.join(choices)}" if choices else "")
        lines += textwrap.wrap(says, 98, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"{option.name} = {_toml(option)}")
    return "\n".join(lines + tables)


def _toml(option: "Field[Any]") -> str:
    value = option.metadata.get("example", option.default)
    if value is MISSING:
        return "{}"
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[]"
    return f'"{value}"' if isinstance(value, str) else str(value)


EXAMPLE = f"""\
# Settings of `cxr-edge watch`. Not for diagnostic use.
# Each option stands here with its default. A path that is not absolute starts from this file's
# folder; on Windows write paths in single quotes: 'D:\\films'. Times are in seconds.

{_example(Settings)}
"""
