"""Results as a person reads them in a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..language import _, told
from ..words import OUTCOMES, finding_told, reason_told

if TYPE_CHECKING:
    from ..profile import SiteProfile
    from ..result import Result


def outcome(result: "Result") -> str:
    """positive, negative, unsure, refused or failed."""
    return result.findings[0].answer if result.findings else result.status


def described(result: "Result") -> str:
    """One line for a person."""
    name, said = printable(result.source), told(OUTCOMES[outcome(result)])
    if not result.findings:
        return f"{name}: {said}, {printable(reason_told(result))}"
    leading = result.findings[0]
    line = _("{file}: {outcome} for {finding}, score {score}").format(
        file=name, outcome=said, finding=finding_told(leading.name), score=leading.score
    )
    more = [_("a person has to decide")] if leading.unsure else []
    more += [printable(reason_told(result))] if result.accepted else []
    return "; ".join([line, *more])


def judged_by(profile: "SiteProfile | None") -> list[str]:
    """A line that says so where films are judged by a site profile."""
    if profile is None:
        return []
    return [_("Judged by the site profile {profile}.").format(profile=profile.label)]


def printable(path: Path | str) -> str:
    """A path, or text that may hold one, as any terminal can print it."""
    encoding = sys.stdout.encoding or "utf-8"
    return str(path).encode(encoding, "backslashreplace").decode(encoding)


def as_table(
    films: list[Path], findings: Iterable[str]
) -> Callable[[Iterable["Result"]], Iterator["Result"]]:
    """What prints a row per result as it comes."""
    heads = [_("file"), _("finding"), _("score"), _("result")]
    width = min(60, max(len(heads[0]), *(len(printable(film)) for film in films)))
    wide = max(len(name) for name in (heads[1], *map(finding_told, findings)))
    narrow = len(heads[2])

    def rows(results: Iterable["Result"]) -> Iterator["Result"]:
        click.echo(f"{heads[0]:{width}}  {heads[1]:{wide}}  {heads[2]}  {heads[3]}")
        for result in results:
            name = printable(result.source)
            name = name if len(name) <= width else "..." + name[3 - width :]
            finding, score = "-", "-"
            if result.findings:
                leading = result.findings[0]
                finding, score = finding_told(leading.name), str(leading.score)
            reason = f"  {printable(reason_told(result))}" if result.reason else ""
            said = told(OUTCOMES[outcome(result)])
            click.echo(f"{name:{width}}  {finding:{wide}}  {score:>{narrow}}  {said}{reason}")
            yield result

    return rows


def as_json_array(results: Iterable["Result"]) -> Iterator["Result"]:
    from ..record import json_text

    separator = "[\n"
    for result in results:
        click.echo(separator + json_text(result), nl=False)
        separator = ",\n"
        yield result
    click.echo("\n]")


def as_nothing(results: Iterable["Result"]) -> Iterator["Result"]:
    yield from results
