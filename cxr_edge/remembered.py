"""What `cxr-edge start` remembers from one time to the next: the folder, and where its results go.

It is a configuration of `cxr-edge watch`, in this user's own cxr-edge.toml.
"""

import os
import re
import sys
from pathlib import Path

from .errors import CxrEdgeError, SettingsError
from .language import Message, _, language, why
from .service.plan import default_config_path
from .watch.settings import (
    Settings,
    default_ledger_path,
    load_settings,
    read_text,
    service_ledger_path,
)

# A ; between cells and a decimal comma are what spreadsheets of these languages expect.
_SEMICOLON_LANGUAGES = frozenset({"de", "es", "fr", "pt"})
_PERIOD = {"day": r"\d{4}-\d\d-\d\d", "month": r"\d{4}-\d\d"}
_BEGINNING = """\
# Written by `cxr-edge`; every setting is explained by: cxr-edge watch --example
"""


def own_config_path() -> Path:
    """This user's own configuration, whether or not it is there."""
    if sys.platform in ("win32", "darwin"):
        return default_ledger_path().with_name("cxr-edge.toml")
    # A relative one is to be ignored (XDG Base Directory Specification 0.8).
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = folder if folder.is_absolute() else Path.home() / ".config"
    return folder / "cxr-edge" / "cxr-edge.toml"


def remembered() -> Settings | None:
    """The user's own settings; None where there are none yet. Raises SettingsError."""
    path = own_config_path()
    return load_settings(path) if path.exists() else None


def of_service() -> Settings | None:
    """The settings of this machine's service; None where there are none that this user may read.

    Raises SettingsError.
    """
    path = default_config_path()
    try:
        return load_settings(path) if path.exists() and os.access(path, os.R_OK) else None
    except PermissionError:  # its folder is closed to others
        return None


def remember(folder: Path, home: Path, dialect: str, config: Path | None = None) -> Settings:
    """Have `folder` watched from now on; whatever else was set stays.

    home, dialect: where the first time lets results go (home/cxr-edge/results.csv; not among the
    documents, which Windows may copy to its maker's cloud), and how they are written. config: the
    file that remembers it, this user's own where none is named.
    Raises SettingsError: the folder cannot be watched; CxrEdgeError: this cannot be written.
    """
    import tomlkit

    check(folder)
    config = config or own_config_path()
    new = config.with_name(f"{config.name}.new")
    if config.exists():
        document = tomlkit.parse(read_text(config))
        document["folder"] = str(folder.resolve())
    else:
        csv = home / "cxr-edge" / "results.csv"
        document = tomlkit.parse(_BEGINNING)
        document["folder"] = str(folder.resolve())
        document["csv"] = {"path": str(csv), "dialect": dialect}
        make(csv.parent)
    make(config.parent)
    try:
        with new.open("wb") as file:  # line ends are in the document
            file.write(tomlkit.dumps(document).encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        load_settings(new)
        new.replace(config)
    except OSError as exc:
        raise CxrEdgeError(
            Message("{path} cannot be written ({why}).", path=config, why=why(exc)),
            Message("Check permission and free space."),
        ) from exc
    except SettingsError as exc:
        new.unlink()
        raise SettingsError(
            Message("{folder} also holds what cxr-edge itself writes.", folder=folder),
            Message("Choose a folder that holds nothing but X-rays, or make a new one."),
        ) from exc
    return load_settings(config)


def check(folder: Path) -> None:
    """Raises SettingsError where no folder is there, or this user may not look into it."""
    try:
        if folder.is_dir():
            with os.scandir(folder):
                return
    except OSError as exc:
        raise SettingsError(
            Message("{folder} cannot be opened ({why}).", folder=folder, why=why(exc)),
            Message("Ask whoever looks after this PC for the right to read it."),
        ) from exc
    raise SettingsError(
        Message("There is no folder {folder}.", folder=folder),
        Message("Check its name, and whether its disk or share is connected."),
    )


def make(folder: Path) -> None:
    """Raises CxrEdgeError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CxrEdgeError(
            Message("{folder} cannot be made ({why}).", folder=folder, why=why(exc)),
            Message("Check permission and free space."),
        ) from exc


def newest_results() -> Path:
    """The CSV that was written last, of this user's own and of this machine's service.

    Raises CxrEdgeError where there is none.
    """
    # The settings of a service are often closed to others; where it has its results by itself is
    # known.
    found = [public_documents_folder() / "cxr-edge" / "results.csv"]
    none = CxrEdgeError(
        Message("There are no results yet: no folder was chosen."),
        Message("Choose the folder of the X-rays: cxr-edge start"),
    )
    for settings in (of_service(), remembered()):
        try:
            found += [results_file(settings)] if settings else []
        except CxrEdgeError as exc:
            none = exc
    written = {time: path for path in found if (time := _written_at(path)) is not None}
    if not written:
        raise none
    return written[max(written)]


def _written_at(path: Path) -> int | None:
    """Nanoseconds since 1970; None: it is not there, or not for this user."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def results_file(settings: Settings) -> Path:
    """Where the results of these settings go, of several files the newest.

    Raises CxrEdgeError where there is none.
    """
    path, period = settings.csv.path, _PERIOD.get(settings.csv.rotate)
    if path is None:
        raise CxrEdgeError(
            Message("The results go into no table: the settings name none."),
            Message("Write one now: cxr-edge export-csv FILE"),
        )
    found = [path]
    if period:
        name = re.compile(f"{re.escape(path.stem)}-{period}{re.escape(path.suffix)}")
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        found = sorted(one for one in beside if name.fullmatch(one.name))
    if not found or not found[-1].is_file():
        raise CxrEdgeError(
            Message("There are no results yet in {folder}.", folder=path.parent),
            Message("Start cxr-edge, and put X-rays into {folder}.", folder=settings.folder),
        )
    return found[-1]


def default_folder(home: Path) -> Path:
    """For X-rays, where the user has no other."""
    return home / "cxr-edge" / _("X-rays")


def public_documents_folder() -> Path:
    """Where the results of a service are for everybody to read."""
    if sys.platform == "win32":
        return Path(os.environ.get("PUBLIC") or "C:/Users/Public") / "Documents"
    return service_ledger_path().parents[1]


def dialect_here() -> str:
    """The --csv-dialect that the spreadsheet on this machine opens as a table."""
    if sys.platform == "win32":
        import winreg

        # What stands between the items of a list in this region is what Excel goes by.
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, r"Control Panel\International") as key:
            return "excel-semicolon" if winreg.QueryValueEx(key, "sList")[0] == ";" else "excel"
    return "excel-semicolon" if language() in _SEMICOLON_LANGUAGES else "excel"
