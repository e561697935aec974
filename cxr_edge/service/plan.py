"""What is to run as a service: the name, the configuration, the account, and what is written."""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CxrEdgeError, SettingsError
from ..watch.places import refuse_ledger_on_share, refuse_mapped_drive
from ..watch.settings import Settings, load_settings, service_ledger_path

DEFAULT_NAME = "cxr-edge"
DESCRIPTION = "Reads the chest X-rays that arrive in a folder. Not for diagnostic use."
# Letters that need no quoting, in systemd or in Windows.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Plan:
    """A service to install. config: absolute. account: "" for the default one."""

    name: str
    config: Path
    account: str
    settings: Settings


def plan(name: str, config: Path, account: str) -> Plan:
    """Check the configuration as the service will find it.

    Raises SettingsError, and LedgerError for a ledger on a share.
    """
    check_name(name)
    config = config.absolute()
    settings = load_settings(config)
    if name != DEFAULT_NAME and settings.ledger is None:
        raise SettingsError(
            f"{config} names no ledger, and that of services belongs to {DEFAULT_NAME!r}.",
            "Give each further service its own: ledger = ...",
        )
    settings = for_service(settings)
    for path in (config, *(path for _, path in places(settings))):
        refuse_mapped_drive(path)
    refuse_ledger_on_share(settings.ledger_path)
    return Plan(name, config, account, settings)


def check_name(name: str) -> None:
    """Raises SettingsError where `name` cannot name a service."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"A service cannot be called {name!r}.", "Use letters, digits, - and _: --name cxr-edge"
        )


def for_service(settings: Settings) -> Settings:
    """What would lie in a user's own folder lies where services keep it."""
    ledger = settings.ledger or service_ledger_path()
    log = settings.log
    # systemd keeps what a service says in its journal; Windows keeps nothing.
    if sys.platform == "win32" and log.file is None:
        log = replace(log, file=ledger.parent / "log" / "cxr-edge.log")
    return replace(settings, ledger=ledger, log=log)


def default_config_path() -> Path:
    """Where a service's configuration lies unless another file is named."""
    if sys.platform == "win32":
        return service_ledger_path().with_name("watch.toml")
    return Path("/etc/cxr-edge/watch.toml")


def places(settings: Settings) -> list[tuple[str, Path]]:
    """The folders that the service writes into, each with the setting that names it.

    The watched one too: a beacon lies in it, and films may be moved out of it.
    """
    files = {
        "ledger": settings.ledger_path,
        "csv.path": settings.csv.path,
        "log.file": settings.log.file,
        "privacy.key_file": settings.key_path if settings.privacy.pseudonymise else None,
    }
    folders = {
        "folder": settings.folder,
        "heatmaps.folder": settings.heatmaps.folder,
        "after.moved_to": settings.after.moved_to,
        "after.failed_to": settings.after.failed_to,
    }
    named = [(name, path.parent) for name, path in files.items() if path]
    return named + [(name, path) for name, path in folders.items() if path]


def absent(settings: Settings) -> list[tuple[str, Path]]:
    """The folders that are not there now, but for the ledger's and the log's, which are made."""
    made = ("ledger", "log.file", "privacy.key_file")
    return [(name, path) for name, path in places(settings) if name not in made and not _is(path)]


def make_state_folders(settings: Settings) -> list[Path]:
    """Make the folders of the ledger, its key and the log; those that were not there before.

    Raises CxrEdgeError where one cannot be made.
    """
    made: list[Path] = []
    for name, path in places(settings):
        if name not in ("ledger", "log.file", "privacy.key_file"):
            continue
        missing = [folder for folder in (path, *path.parents) if not _is(folder)]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise CxrEdgeError(
                f"{path} ({name}) cannot be made ({exc.strerror}).", "Check permission."
            ) from exc
        made += missing
    return made


def program() -> list[str]:
    """The command that starts this same cxr-edge, wherever the service's working folder is."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "cxr_edge"]


def _is(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a share that is away, or not this account's to see
        return False
