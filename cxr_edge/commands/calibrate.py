"""`cxr-edge calibrate`."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..language import Message, _, told
from ..starting import starting
from .options import (
    NOT_FOR_DIAGNOSIS,
    accept_option,
    chosen_model,
    device_option,
    json_option,
    ledger_in_use,
    ledger_in_use_option,
    model_option,
)
from .shown import printable

if TYPE_CHECKING:
    from ..calibration.films import Answered
    from ..calibration.fit import Fitted
    from ..calibration.labels import Judge, Labels
    from ..model import Model
    from ..profile import SiteProfile

_N_SHOWN = 5


@click.command(
    "calibrate",
    epilog="""\b
Examples:
  cxr-edge calibrate labels.csv --target-sensitivity 0.90 --name "Clinic 7"
  cxr-edge calibrate labels.csv --picture site.svg --dry-run
  cxr-edge calibrate --from-page --prevalence 0.08

\b
LABELS.csv, with commas or semicolons:
  file,finding,label
  scans/film 1.jpg,pneumonia,present
  scans/film 2.dcm,pneumonia,absent
Paths start from its folder. A column `patient` tells which films are of the same
patient. What `cxr-edge export-csv --verdicts` writes will do, too.

\b
Exit codes:
  0  every film was read, and the profile is stored
  1  interrupted
  2  wrong usage, or labels that cannot be used
  3  done; some films were refused or could not be read, and are left out
  4  the model file cannot be used
  5  the requested device cannot be had
  6  the profile or the picture cannot be written, or the ledger cannot be read
  8  a file of cxr-edge itself is missing or damaged
  9  the profiles that are there cannot be used
""",
)
@click.argument(
    "labels_path", metavar="[LABELS.csv]", required=False, type=click.Path(path_type=Path)
)
@click.option("--from-page", is_flag=True, help="Take the verdicts that people gave on the page.")
@ledger_in_use_option
@click.option(
    "--target-sensitivity",
    "target",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Of films with the finding, the part that is to be positive.",
)
@click.option(
    "--prevalence",
    "prevalences",
    multiple=True,
    metavar="[FINDING=]PART",
    help="The part of this site's films that have it, where the labelled ones were picked; "
    "otherwise it is theirs.",
)
@click.option(
    "--name", default="site", show_default=True, help="What the site is called in every row."
)
@click.option(
    "--picture",
    "picture_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SITE.svg",
    help="Draw scores, ROC curve and reliability; a browser shows it.",
)
@click.option("--dry-run", is_flag=True, help="Show what it gives, and store nothing.")
@json_option
@click.option("--workers", "n_workers", type=click.IntRange(1), help="Films read at a time.")
@accept_option
@device_option
@model_option
def command(
    labels_path: Path | None,
    from_page: bool,
    ledger_path: Path | None,
    target: float,
    prevalences: tuple[str, ...],
    name: str,
    picture_path: Path | None,
    dry_run: bool,
    as_json: bool,
    n_workers: int | None,
    accepted: tuple[str, ...],
    device: Any,
    model: str | None,
) -> None:
    """Find this site's operating point with films whose label is known.

    Reads the films of LABELS.csv, chooses the threshold that keeps the sensitivity, calibrates the
    probability, and tells what both give here. It is stored as a site profile, by which predict,
    watch, serve and reprocess judge from then on (see `cxr-edge profile`); a profile holds for one
    model alone.
    """
    if from_page == (labels_path is not None):
        raise click.UsageError("Name a file with labels, or say --from-page.")
    if ledger_path is not None and not from_page:
        raise click.UsageError("--ledger is for --from-page.")
    if picture_path is not None and picture_path.suffix.lower() != ".svg":
        raise click.UsageError("--picture writes SVG: name a file that ends with .svg.")
    if picture_path is not None and not picture_path.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {picture_path.absolute().parent}.")
    with starting():
        from ..profile import check_name
        from ..profiles import Profiles, user_profiles_folder
        from ..reading import n_cores

        check_name(name)
        profiles = Profiles(user_profiles_folder())
        profiles.used()  # what is damaged is told before films are read
        n_workers = n_workers or n_cores()
        loaded = chosen_model(model, device, 1 if n_workers > 1 else 0)
        judge = _judge(loaded)
        labels = _labels(labels_path, ledger_path, judge)
        of_findings = _by_finding(prevalences, labels)
    answered = _read(labels, loaded, frozenset(accepted), n_workers)
    fitted = _fit(answered, loaded, target, of_findings)
    profile = _profile(name, loaded, labels, answered, fitted)
    stored = None if dry_run else profiles.keep(profile)
    if picture_path is not None:
        _draw(picture_path, profile, fitted)
    said = _warnings(profile, labels, answered, from_page and not prevalences)
    if as_json:
        click.echo(json.dumps(_as_data(profile, answered, said, stored), indent=1))
    else:
        from ..calibration.report import page

        click.echo("\n".join(map(printable, page(profile))))
    _say(profile, answered, said, stored)
    sys.exit(3 if answered.left_out else 0)


def _judge(model: "Model") -> "Judge":
    from ..calibration.labels import Judge

    card = model.card
    findings = tuple(point.finding for point in card.operating_points)
    return Judge(card.label, findings, frozenset({model.sha256, card.twin_sha256} - {""}))


def _labels(path: Path | None, ledger_path: Path | None, judge: "Judge") -> "Labels":
    """Raises SettingsError, LedgerError."""
    from ..calibration.labels import read_labels
    from ..errors import SettingsError

    if path is not None:
        return read_labels(path, judge)
    from ..calibration.verdicts import labels_of_verdicts
    from ..ledger import Ledger

    with Ledger(ledger_in_use(ledger_path), read_only=True) as ledger:
        labels = labels_of_verdicts(ledger, judge)
    if not labels.labels:
        raise SettingsError(
            Message(
                "The ledger has no verdicts on {model} that tell whether a finding is there, on "
                "films that are there still.",
                model=judge.label,
            ),
            Message("Give verdicts on the page, or label films in a CSV."),
        )
    return labels


def _by_finding(prevalences: tuple[str, ...], labels: "Labels") -> dict[str, float]:
    """The prevalence of each finding for which one is given. Raises click.UsageError."""
    findings = dict.fromkeys(label.finding for label in labels.labels)
    given = {}
    for text in prevalences:
        finding, _equals, part = text.rpartition("=")
        if not finding and len(findings) == 1:
            (finding,) = findings
        if finding not in findings:
            raise click.UsageError(
                f'--prevalence {text}: say of which finding, as in "{next(iter(findings))}=0.05".'
            )
        try:
            given[finding] = float(part)
        except ValueError:
            given[finding] = 0.0
        if not 0 < given[finding] < 1:
            raise click.UsageError(f"--prevalence {text}: give a part between 0 and 1.")
    return given


def _read(labels: "Labels", model: "Model", accepted: frozenset[str], n_workers: int) -> "Answered":
    """Raises SettingsError."""
    from ..calibration.films import put_together
    from ..reading import read_results
    from ..terms import Terms

    films = list(dict.fromkeys(label.film for label in labels.labels))
    results = read_results(films, model, Terms(accepted=accepted), min(n_workers, len(films)))
    with click.progressbar(
        results, length=len(films), label=_("Reading"), file=sys.stderr
    ) as shown:
        return put_together(labels.labels, shown)


def _fit(
    answered: "Answered", model: "Model", target: float, prevalences: Mapping[str, float]
) -> "list[Fitted]":
    """In the order of the model's findings. Raises SettingsError."""
    from ..calibration.fit import fit_point

    bands = {band.finding: band for band in model.card.unsure}
    order = model.card.findings.index
    return [
        fit_point(films, target, prevalences.get(films.finding), bands.get(films.finding))
        for films in sorted(answered.films, key=lambda films: order(films.finding))
    ]


def _profile(
    name: str,
    model: "Model",
    labels: "Labels",
    answered: "Answered",
    fitted: "list[Fitted]",
) -> "SiteProfile":
    from .. import __version__
    from ..calibration.reference import site_reference
    from ..profile import SCHEMA_VERSION, SiteProfile

    return SiteProfile(
        schema_version=SCHEMA_VERSION,
        name=name,
        model=model.card.name,
        model_version=model.card.version,
        model_sha256=model.sha256,
        twin_sha256=model.card.twin_sha256,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=__version__,
        labels=labels.source,
        films_digest=answered.digest,
        n_films=answered.n_films,
        n_left_out=len(answered.left_out),
        points=tuple(one.point for one in fitted),
        reference=site_reference(answered, model.card.reference, labels.source),
    )


def _draw(path: Path, profile: "SiteProfile", fitted: "list[Fitted]") -> None:
    """Raises RecordError."""
    from ..calibration.picture import picture
    from ..csv_export import whole_file

    with whole_file(path) as file:
        file.write(picture(profile, fitted).encode())


def _warnings(
    profile: "SiteProfile", labels: "Labels", answered: "Answered", picked_by_hand: bool
) -> list[Message]:
    from ..calibration.report import warnings

    said = [one for point in profile.points for one in warnings(point)]
    if answered.left_out:
        said.append(
            Message(
                "{n} labelled films were refused or could not be read, and are left out: the "
                "figures are of the others alone.",
                n=len(answered.left_out),
            )
        )
    if answered.n_copies:
        said.append(
            Message(
                "{n} labels are of copies of the same films and count once.", n=answered.n_copies
            )
        )
    if labels.n_open:
        said.append(
            Message(
                "{n} verdicts do not tell whether the finding is there, such as those on films "
                "that the model was unsure of, and are left out; label these films in a CSV.",
                n=labels.n_open,
            )
        )
    if labels.n_gone:
        said.append(Message("{n} films with verdicts are not there any more.", n=labels.n_gone))
    if picked_by_hand:
        said.append(
            Message(
                "Verdicts are on films that somebody chose to look at: where more of them have the "
                "finding than of all films, give its share with --prevalence."
            )
        )
    return said


def _say(
    profile: "SiteProfile", answered: "Answered", said: list[Message], stored: Path | None
) -> None:
    """On the error stream: what was left out, what to mind, and where the profile is."""
    lines = [f"{one.film}: {one.reason}" for one in answered.left_out[:_N_SHOWN]]
    if (n_more := len(answered.left_out) - len(lines)) > 0:
        lines.append(_("And {n} more.").format(n=n_more))
    lines += [_("Warning: {what}").format(what=told(one)) for one in said]
    if stored is None:
        lines.append(_("Nothing was stored."))
    else:
        kept = _("Stored as {profile} in {path}; {model} is judged by it from now on.")
        lines.append(kept.format(profile=profile.label, path=stored, model=profile.model))
    click.echo("\n".join(map(printable, [*lines, told(NOT_FOR_DIAGNOSIS)])), err=True)


def _as_data(
    profile: "SiteProfile", answered: "Answered", said: list[Message], stored: Path | None
) -> dict[str, Any]:
    return {
        "label": profile.label,
        "profile": asdict(profile),
        "n_missing": {point.finding: point.n_missing for point in profile.points},
        "left_out": [{"file": str(one.film), "reason": one.reason} for one in answered.left_out],
        "warnings": said,
        "stored_in": None if stored is None else str(stored),
        "note": NOT_FOR_DIAGNOSIS,
    }
