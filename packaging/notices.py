"""Writes what must go with a bundle: whose work is in it, under which licences, and its parts.

THIRD-PARTY-NOTICES.txt holds the full licence texts, sbom.cdx.json every part and the sha256 of its
binaries (CycloneDX 1.6). Nothing is written, and the exit code is 1, where a file of the bundle
comes from no known part, a part lacks its licence's text, or a licence would bind all of it.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

# The models' cards are read by the program's own code, which need not be installed here.
sys.path.insert(0, str(Path(__file__).parents[1]))

from parts import NOTICES, SBOM, BundleError, Part, parts_of
from sbom import as_cyclonedx

_LINE = "=" * 100


@click.command(
    help=__doc__,
    epilog="""\b
Example:
  python packaging/notices.py --build build/pyinstaller/cxr_edge \\
    --site-packages .venv/lib/python3.11/site-packages dist/cxr-edge
""",
)
@click.option(
    "--build",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="PyInstaller's work folder of this bundle, with COLLECT-00.toc and PYZ-00.toc.",
)
@click.option(
    "--site-packages",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Of the Python that the bundle was made from; a Windows one will do on Linux.",
)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(build: Path, site_packages: Path, bundle: Path) -> None:
    try:
        parts = parts_of(bundle, build, site_packages)
        sbom = as_cyclonedx(parts, bundle, made_at())
    except BundleError as exc:
        for reason in exc.args:
            click.echo(f"error: {reason}", err=True)
        sys.exit(1)
    for name, text in ((NOTICES, as_text(parts)), (SBOM, sbom)):
        (bundle / name).write_text(text, encoding="utf-8", newline="\n")
    click.echo(f"{len(parts)} parts: {NOTICES} and {SBOM} are in {bundle}.")


def made_at() -> datetime:
    """SOURCE_DATE_EPOCH (reproducible-builds.org), or when the commit was made.

    Raises BundleError where neither is to be had.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds:
        command = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
        seconds = done.stdout.strip()
    if not seconds.isdigit():
        raise BundleError("There is no commit to take the date from: set SOURCE_DATE_EPOCH.")
    return datetime.fromtimestamp(int(seconds), UTC)


def as_text(parts: Sequence[Part]) -> str:
    """For people: a table of the parts, then the texts of each."""
    program, *others = parts
    width = max(len(part.name) for part in others)
    lines = [
        f"{program.name} {program.version} is under {program.licence} (see LICENSE). It holds",
        "these works of others, and models, each under a licence of its own, whose text follows.",
        "",
        *(f"{part.name:{width}}  {part.version or '-':12}  {part.licence}" for part in others),
    ]
    for part in others:
        lines += ["", _LINE, f"{part.name} {part.version}".rstrip(), part.licence, _LINE]
        for title, text in part.texts:
            lines += ["", f"--- {title}", "", text]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
