"""`cxr-edge model`: the models of this PC."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import NOT_FOR_DIAGNOSIS, json_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model_card import Figure, ModelCard
    from ..model_file import ModelFile
    from ..store import Entry, Store

_EXIT_CODES = """\b
Exit codes:
  0  done
  2  wrong usage
  4  the model cannot be used, was changed, or does not hold on this PC
"""
_public_key_option = click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Trust this key too; `install` does from then on. It lies in the folder `keys` of the "
    "models' folder then.",
)


@click.group(
    "model",
    epilog="""\b
Examples:
  cxr-edge model list
  cxr-edge model show pneumonia-children
  cxr-edge model install E:/pneumonia-children.onnx

""",
)
def command() -> None:
    """List, show, check and install models."""


@command.command(
    "list",
    epilog="""\b
Example:
  cxr-edge model list

"""
    + _EXIT_CODES,
)
@json_option
def list_models(as_json: bool) -> None:
    """List the models that can be named as --model; * is the default."""
    from ..errors import ModelError
    from ..model_file import read_model_file

    store = _store()
    default = store.find().path
    rows: list[dict[str, Any]] = []
    for entry in store.entries():
        row = _facts(entry) | {"default": entry.path == default}
        try:
            file = read_model_file(entry.path, entry.sha256)
            row |= {
                "version": file.card.version,
                "precision": file.card.precision,
                "findings": list(file.card.findings),
                "bytes": len(file.data),
            }
        except ModelError as exc:
            row["fault"] = str(exc)
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _show_list(rows)
    if any("fault" in row for row in rows):
        sys.exit(4)


@command.command(
    "show",
    short_help="Show a model's card.",
    epilog="""\b
Examples:
  cxr-edge model show
  cxr-edge model show chest-findings --all
  cxr-edge model show model.onnx --json

"""
    + _EXIT_CODES,
)
@click.argument("name", required=False)
@click.option("--all", "with_recipe", is_flag=True, help="Show how it was trained, too.")
@json_option
def show(name: str | None, with_recipe: bool, as_json: bool) -> None:
    """Show the model card of NAME, a model's name or file; of the default model without it."""
    from ..model_file import read_model_file

    entry = _store().find(name)
    file = read_model_file(entry.path, entry.sha256)
    if as_json:
        click.echo(file.card.to_json())
    else:
        click.echo(_page(file, entry, with_recipe))


@command.command(
    "verify",
    short_help="Check models: sha256, signature, card, golden vectors.",
    epilog="""\b
Examples:
  cxr-edge model verify
  cxr-edge model verify E:/model.onnx --public-key E:/signer.pub

"""
    + _EXIT_CODES,
)
@click.argument("name", required=False)
@_public_key_option
def verify(name: str | None, public_keys: tuple[Path, ...]) -> None:
    """Check NAME, a model's name or file; every model of this PC without it.

    Its sha256 against what it must be, its signature where it has one, its card, and all its golden
    vectors on this PC.
    """
    from ..doctor.models import check_model
    from .doctor import show_check

    store = _store()
    keys = _keys(store, public_keys)
    failed = False
    for entry in [store.find(name)] if name else store.entries():
        for check in check_model(entry, keys):
            show_check(check)
            failed |= check.verdict == "failed"
    if failed:
        sys.exit(4)


@command.command(
    "install",
    short_help="Install a model from a file.",
    epilog="""\b
Examples:
  cxr-edge model install E:/model.onnx
  cxr-edge model install E:/model.onnx --public-key E:/signer.pub
  cxr-edge model install model.onnx --sha256 5d1e...

The signature lies beside the file, as model.onnx.sig, and its fp32 twin, if it has one,
as model.fp32.onnx; model.evidence.json, from which its pictures are drawn, comes along.
An earlier version stays: `cxr-edge model use NAME@VERSION`.

"""
    + _EXIT_CODES,
)
@click.argument("file", type=click.Path(path_type=Path))
@_public_key_option
@click.option("--sha256", default="", help="Take the file because it has this sha256.")
@click.option("--unsigned", is_flag=True, help="Take the file though nobody vouches for it.")
def install(file: Path, public_keys: tuple[Path, ...], sha256: str, unsigned: bool) -> None:
    """Install FILE, if its signature is trusted and its golden vectors hold on this PC."""
    from ..signature import read_public_key

    store = _store()
    entry = store.install(file, _keys(store, public_keys), sha256, unsigned)
    for path in public_keys:
        store.trust(read_public_key(path))
    signed = f"signed by {entry.signer}" if entry.signer else "unsigned"
    click.echo(
        f"Installed {entry.label} ({signed}) in {store.folder}.\n"
        f"Read with it: cxr-edge predict FILMS --model {entry.name}\n"
        f"Make it the default: cxr-edge model use {entry.name}"
    )


@command.command(
    "use",
    short_help="Choose the default model, or go back to an earlier version.",
    epilog="""\b
Examples:
  cxr-edge model use chest-findings
  cxr-edge model use pneumonia-children@1.0

"""
    + _EXIT_CODES,
)
@click.argument("name", metavar="NAME[@VERSION]")
def use(name: str) -> None:
    """Make NAME the default model; with a version, the one that NAME means from now on."""
    from ..model_file import read_model_file

    entry = _store().use(name)
    card = read_model_file(entry.path, entry.sha256).card
    click.echo(f"{card.label} is the default model now. {NOT_FOR_DIAGNOSIS}")


@command.command(
    "remove",
    epilog="""\b
Example:
  cxr-edge model remove pneumonia-children@1.0

"""
    + _EXIT_CODES,
)
@click.argument("name", metavar="NAME[@VERSION]")
def remove(name: str) -> None:
    """Delete an installed model."""
    click.echo(f"Removed {_store().remove(name).label}.")


def _store() -> "Store":
    from ..store import Store, user_models_folder

    return Store(user_models_folder())


def _keys(store: "Store", paths: tuple[Path, ...]) -> list[Any]:
    from ..signature import read_public_key

    return [*store.trusted_keys(), *(read_public_key(path) for path in paths)]


def _facts(entry: "Entry") -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "path": str(entry.path),
        "sha256": entry.sha256,
        "shipped": entry.shipped,
        "signed_by": entry.signer,
        "installed_at": entry.installed_at,
    }


def _show_list(rows: list[dict[str, Any]]) -> None:
    lines = [("", "name", "version", "precision", "MB", "from", "signed by", "findings")]
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "-"
        lines.append(
            (
                "*" if row["default"] else "",
                row["name"],
                row["version"] or "-",
                row.get("precision", "-"),
                size,
                "cxr-edge" if row["shipped"] else "installed",
                row["signed_by"] or "-",
                row.get("fault") or ", ".join(row["findings"]),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    for *cells, last in lines:
        start = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo(f"{start}  {last}")


def _page(file: "ModelFile", entry: "Entry", with_recipe: bool) -> str:
    """A model card as a person reads it."""
    card = file.card
    low, high = card.age_range_years
    origin = "shipped with cxr-edge" if entry.shipped else str(entry.path)
    signed = f", signed by {entry.signer}" if entry.signer else ""
    data = card.training_data
    twin = "with an fp32 twin" if card.twin_sha256 else "no fp32 twin"
    lines = [
        f"{card.label}: {card.precision}, {len(file.data) / 1e6:.1f} MB, {origin}{signed}",
        "",
        _wrapped(f"Meant for {card.intended_use}.", ""),
        f"Ages {low:g} to {high:g} years; views {', '.join(card.views)}.",
        NOT_FOR_DIAGNOSIS,
        "",
        "Findings",
    ]
    for source, points in groupby(card.operating_points, lambda p: (p.measured_on, p.chosen_by)):
        lines += [
            f"  {point.finding}: positive from {point.threshold:.3f} on; sensitivity "
            f"{point.sensitivity:.3f}, specificity {point.specificity:.3f}"
            for point in points
        ]
        lines += [_wrapped(f"on {source[0]}"), _wrapped(f"chosen by {source[1]}")]
    lines += ["", *_unsure(card), "", *_refused(card), "", "Figures, with 95 % intervals"]
    lines += _figures(card.figures)
    lines += [
        "",
        "Learned from",
        _wrapped(f"{data.name}: {data.n_films:,} films of {data.n_patients:,} patients", "  "),
        _wrapped(f"{data.licence}; {data.attribution}", "  "),
        "",
        f"Arithmetic: {card.precision}, {twin}",
        *(_wrapped(f"{name}: {text}", "  ") for name, text in card.quantization.items()),
        "",
        _wrapped(f"Licence {card.licence}", ""),
        f"sha256 {file.sha256}",
    ]
    if with_recipe:
        lines += [
            "",
            "Recipe",
            *(_wrapped(f"{name}: {text}", "  ") for name, text in card.recipe.items()),
        ]
    return "\n".join(lines)


def _unsure(card: "ModelCard") -> list[str]:
    if not card.unsure:
        return ["It does not say where it is unsure."]
    lines = ["Unsure, so that a person has to decide"]
    for band in card.unsure:
        lines += [
            f"  {band.finding}: from {band.low:.3f} to {band.high:.3f}",
            _wrapped(
                f"answered rightly or with unsure: at least {band.coverage:.1%} of films with it, "
                f"and of films without it, by {band.n_present:,} and {band.n_absent:,} films"
            ),
        ]
    sources = dict.fromkeys(band.measured_on for band in card.unsure)
    return lines + [_wrapped(f"on {source}") for source in sources]


def _refused(card: "ModelCard") -> list[str]:
    from ..gate import UNLIKE_TRAINING

    low, high = card.age_range_years
    by_header = (
        f"Refused by a DICOM header: patients who are not {low:g} to {high:g} years old, and views "
        f"other than {', '.join(card.views)}. JPEG and PNG tell no age."
    )
    if card.gate is None:
        return [_wrapped(by_header, ""), "It cannot tell from a film what it cannot read."]
    codes = ", ".join((*card.gate.conditions[1:], UNLIKE_TRAINING))
    return [
        _wrapped(by_header, ""),
        _wrapped(f"Refused by the film itself: {codes}.", ""),
        *(f"    {_interval_of(one)}, {one.n_films:,} films" for one in card.gate.figures),
        *(
            _wrapped(f"on {where}")
            for where in dict.fromkeys(one.measured_on for one in card.gate.figures)
        ),
        _wrapped(f"fitted on {card.gate.fitted_on}"),
    ]


def _figures(figures: "Iterable[Figure]") -> list[str]:
    lines, where = [], ""
    for figure in figures:
        if figure.measured_on != where:
            where = figure.measured_on
            lines.append(_wrapped(f"{figure.n_films:,} films, {where}:", "  "))
        lines.append(f"    {_interval_of(figure)}")
    return lines


def _interval_of(figure: "Figure") -> str:
    return f"{figure.name:40} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _wrapped(text: str, indent: str = "    ") -> str:
    return click.wrap_text(text, 100, initial_indent=indent, subsequent_indent=indent + "  ")
