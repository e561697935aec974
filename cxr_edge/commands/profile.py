"""`cxr-edge profile`: the site profiles of this PC."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..language import _, told
from .options import NOT_FOR_DIAGNOSIS, json_option
from .shown import printable

if TYPE_CHECKING:
    from ..profiles import Profiles

_EXIT_CODES = """\b
Exit codes:
  0  done
  2  wrong usage
  6  the folder of the profiles cannot be written
  9  a profile is not there, was edited or is damaged
"""
_argument = click.argument("profile", metavar="PROFILE")


@click.group(
    "profile",
    epilog="""\b
Examples:
  cxr-edge profile list
  cxr-edge profile show "Clinic 7"
  cxr-edge profile off

""",
)
def command() -> None:
    """List, show and choose site profiles.

    `cxr-edge calibrate` makes them. PROFILE is a name, or the digits that rows show behind it.
    """


@command.command(
    "list",
    epilog="""\b
Example:
  cxr-edge profile list

"""
    + _EXIT_CODES,
)
@json_option
def list_profiles(as_json: bool) -> None:
    """List the profiles; * is what its model is judged by."""
    from ..errors import ProfileError
    from ..profile import read_profile

    profiles = _profiles()
    used = profiles.used()
    rows: list[dict[str, Any]] = []
    for path in profiles.paths():
        try:
            one = read_profile(path)
        except ProfileError as exc:
            rows.append({"file": str(path), "used": False, "fault": told(exc)})
            continue
        rows.append(
            {
                "file": str(path),
                "used": used.get(one.model) == one.digest,
                "label": one.label,
                "model": f"{one.model} {one.model_version}",
                "model_sha256": one.model_sha256,
                "made_at": one.made_at,
                "n_films": one.n_films,
                "findings": [point.finding for point in one.points],
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        for row in sorted(rows, key=lambda row: str(row.get("made_at", ""))):
            click.echo(printable(_line(row)))
    else:
        click.echo(_("No site profile here: `cxr-edge calibrate` makes one."), err=True)
    if any("fault" in row for row in rows):
        sys.exit(9)


@command.command(
    "show",
    epilog="""\b
Examples:
  cxr-edge profile show
  cxr-edge profile show 3fa9c1d2 --json

"""
    + _EXIT_CODES,
)
@click.argument("profile", metavar="[PROFILE]", required=False)
@json_option
def show(profile: str | None, as_json: bool) -> None:
    """Show what a profile says; without PROFILE, each that is used."""
    from ..calibration.report import page, warnings

    profiles = _profiles()
    wanted = [profile] if profile else sorted(profiles.used().values())
    found = [profiles.find(one) for one in wanted]
    if as_json:
        click.echo(json.dumps([{"label": one.label} | asdict(one) for one in found], indent=1))
        return
    if not found:
        click.echo(_("No site profile is used."), err=True)
    for one in found:
        lines = page(one)
        for point in one.points:
            lines += [_("Warning: {what}").format(what=told(what)) for what in warnings(point)]
        click.echo("\n".join(map(printable, [*lines, told(NOT_FOR_DIAGNOSIS)])))


@command.command(
    "use",
    epilog="""\b
Example:
  cxr-edge profile use 3fa9c1d2

"""
    + _EXIT_CODES,
)
@_argument
def use(profile: str) -> None:
    """Judge its model by this profile from now on."""
    profiles = _profiles()
    found = profiles.find(profile)
    profiles.use(found)
    said = _("{model} is judged by {profile} from now on.")
    click.echo(printable(said.format(model=found.model, profile=found.label)))


@command.command(
    "off",
    epilog="""\b
Examples:
  cxr-edge profile off
  cxr-edge profile off pneumonia-children

"""
    + _EXIT_CODES,
)
@click.argument("model", default="", metavar="[MODEL]")
def off(model: str) -> None:
    """Judge MODEL, or every model, by its card alone; the profiles stay."""
    for name in _profiles().off(model):
        click.echo(printable(_("{model} is judged by its card from now on.").format(model=name)))


@command.command(
    "remove",
    epilog="""\b
Example:
  cxr-edge profile remove 3fa9c1d2

"""
    + _EXIT_CODES,
)
@_argument
def remove(profile: str) -> None:
    """Delete a profile; its model is then judged by its card, if it was in use."""
    profiles = _profiles()
    found = profiles.find(profile)
    profiles.remove(found)
    click.echo(printable(_("Removed {profile}.").format(profile=found.label)))


def _profiles() -> "Profiles":
    from ..profiles import Profiles, user_profiles_folder

    return Profiles(user_profiles_folder())


def _line(row: dict[str, Any]) -> str:
    mark = "*" if row["used"] else " "
    if "fault" in row:
        return f"{mark} {row['fault']}"
    said = _("{mark} {label}: {model}, made {day}, {n} films, {findings}")
    return said.format(
        mark=mark,
        label=row["label"],
        model=row["model"],
        day=row["made_at"][:10],
        n=row["n_films"],
        findings=", ".join(row["findings"]),
    )
