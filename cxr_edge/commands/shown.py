"""Results as a person reads them in a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..result import Result


def outcome(result: "Result") -> str:
    """positive, negative, refused or failed."""
    if not result.findings:
        return result.status
    return "positive" if result.findings[0].positive else "negative"


def described(result: "Result") -> str:
    """One line for a person."""
    if not result.findings:
        return f"{printable(result.source)}: {result.status}, {result.reason}"
    leading = result.findings[0]
    name = printable(result.source)
    return f"{name}: {outcome(result)} for {leading.name}, score {leading.score}"


def printable(path: Path | str) -> str:
    """A path, or text that may hold one, as any terminal can print it."""
    encoding = sys.stdout.encoding or "utf-8"
    return str(path).encode(encoding, "backslashreplace").decode(encoding)


def as_table(
    films: list[Path], findings: Iterable[str]
) -> Callable[[Iterable["Result"]], Iterator["Result"]]:
    """What prints a row per result as it comes."""
    width = min(60, max(len("file"), *(len(printable(film)) for film in films)))
    wide = max(len(name) for name in ("finding", *findings))

    def rows(results: Iterable["Result"]) -> Iterator["Result"]:
        click.echo(f"{'file':{width}}  {'finding':{wide}}  score  result")
        for result in results:
            name = printable(result.source)
            name = name if len(name) <= width else "..." + name[3 - width :]
            finding, score = "-", "-"
            if result.findings:
                finding, score = result.findings[0].name, str(result.findings[0].score)
            reason = f"  {result.reason}" if result.reason else ""
            click.echo(f"{name:{width}}  {finding:{wide}}  {score:>5}  {outcome(result)}{reason}")
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
