"""What several commands share: their options, and how they find a model."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..refusals import ACCEPTABLE
from ..terms import Terms
from ..words import NOT_FOR_DIAGNOSIS as NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from ..model import Device, Model
    from ..profile import SiteProfile

EXIT_CODES = """\b
Exit codes:
  0  every radiograph was read
  1  interrupted
  2  wrong usage
  3  some radiographs were refused or could not be read; each has its row
  4  the model file cannot be used
  5  the requested device cannot be had
  6  the results cannot be written
  7  another watcher reads the folder
  8  a file of cxr-edge itself is missing or damaged
  9  the site profile cannot be used
"""
_F = TypeVar("_F", bound=Callable[..., Any])

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "dml"]),
    default="auto",
    show_default=True,
    help="Where the network runs: auto takes cuda (NVIDIA) where it works, or else the cpu; dml is "
    "DirectML, on Windows. cuda or dml that cannot be had is an error.",
)
model_option = click.option(
    "--model",
    metavar="FILE|NAME",
    help="A model file, or the name of an installed model (see `cxr-edge model list`) or of one "
    "shipped with cxr-edge: pneumonia-children (the default), pneumonia-children-resnet18, "
    "chest-findings.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to the standard output."
)
_threshold_option = click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    help="Positive from this probability on, in place of the model's operating point; nothing is "
    "unsure then.",
)
accept_option = click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=click.Choice(sorted(ACCEPTABLE)),
    metavar="CODE",
    help="Give an answer although the film would be refused with this code, and say so in its row; "
    f"may be given several times. One of: {', '.join(sorted(ACCEPTABLE))}.",
)

_no_profile_option = click.option(
    "--no-profile",
    is_flag=True,
    help="Judge by the model's card alone, also where `cxr-edge calibrate` has made a profile of "
    "this site.",
)


def reading_options(command: _F) -> _F:
    """The options of the commands that read radiographs: model, device, threshold, accepted,
    no_profile."""
    options = (_no_profile_option, accept_option, _threshold_option, device_option, model_option)
    for option in options:
        command = option(command)
    return command


def csv_option(**more: Any) -> Callable[[_F], _F]:
    """--csv, the file that rows are appended to."""
    return click.option("--csv", "csv_path", type=click.Path(path_type=Path), **more)


dialect_option = click.option(
    "--csv-dialect",
    type=click.Choice(["standard", "excel", "excel-semicolon"]),
    help="How the CSV is written: excel begins with a byte order mark; excel-semicolon, for "
    "French, German, Spanish and the like, also has ; between cells and decimal commas.",
)
ledger_option = click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The ledger, if not this user's own.",
)
ledger_in_use_option = click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The ledger; this user's own, or else the service's, where none is named.",
)


def selection_options(command: _F) -> _F:
    """The options that say which films of a ledger are meant; --model is each command's own."""
    day = click.DateTime(["%Y-%m-%d"])
    for option in (
        click.option(
            "--status",
            type=click.Choice(["ok", "refused", "failed"]),
            help="Films with this outcome.",
        ),
        click.option(
            "--finding", default="", metavar="NAME", help="Films that reach its operating point."
        ),
        click.option("--until", type=day, metavar="DATE", help="Read on this day or before it."),
        click.option(
            "--since", type=day, metavar="DATE", help="Read on this day (2026-11-21) or after it."
        ),
        click.option(
            "--folder", type=click.Path(path_type=Path), help="Films of this watched folder."
        ),
    ):
        command = option(command)
    return command


def chosen_model(
    name: str | None, device: "Device", threads: int = 0, heatmaps: bool = False
) -> "Model":
    """The model that --model names, or the default one."""
    from ..model import load_model
    from ..store import Store, user_cache_folder, user_models_folder

    entry = Store(user_models_folder()).find(name)
    return load_model(
        entry.path,
        device,
        threads,
        sha256=entry.sha256,
        cache=user_cache_folder(),
        heatmaps=heatmaps,
    )


def ledger_in_use(given: Path | None) -> Path:
    """The ledger that is named; or this user's own, or else, where there is none, the service's."""
    from ..watch.settings import default_ledger_path, service_ledger_path

    if given is not None:
        return given
    own, of_service = default_ledger_path(), service_ledger_path()
    try:
        return of_service if not own.exists() and of_service.exists() else own
    except PermissionError:
        # There is one, which opening it says.
        return of_service


def terms_for(
    model: "Model", threshold: float | None, accepted: Iterable[str], no_profile: bool
) -> Terms:
    """threshold: for all findings, where it is given. Raises ProfileError: the site profile of this
    model cannot be used."""
    thresholds = None if threshold is None else dict.fromkeys(model.card.findings, threshold)
    profile = None if no_profile else active_profile(model)
    return Terms(thresholds, frozenset(accepted), profile)


def active_profile(model: "Model") -> "SiteProfile | None":
    """What this user has the model judged by. Raises ProfileError."""
    from ..profiles import Profiles, user_profiles_folder

    return Profiles(user_profiles_folder()).active(model.card, model.sha256)
