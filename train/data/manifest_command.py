"""`python -m train manifest`: what the data are, before anything is trained on them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import click

from cxr_edge.model_card import NO_FINDING

from ..commands import CONTEXT, data_option, entries_of, film_bar, patient_option
from ..errors import TrainError
from .duplicates import NearDuplicate, find_near_duplicates, same_bytes, write_near_duplicates
from .manifest import LATERAL, SIDES, Entry, write_manifest

_N_SHOWN = 10
_HEADER = ("finding", "source", "films", "patients", "age in years", "views", "official sides")


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train manifest --data chest_xray/ --data COVID-19_Radiography_Dataset/ \\
      --out manifest.csv --plot films.png

The manifest has the columns path,finding,patient,source,view,age,split, and sex (F or M) where
it is known. Edit it as you like, and give it as --data wherever films are asked for.
""",
)
@data_option
@patient_option
@click.option("--out", type=click.Path(path_type=Path), help="Write the manifest (CSV).")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the table (PNG).")
@click.option(
    "--copies",
    type=click.Path(path_type=Path),
    help="Write the pairs of films that show one picture (CSV).",
)
@click.option("--force", is_flag=True, help="Overwrite these files.")
def command(
    data: tuple[str, ...],
    patient_pattern: str,
    out: Path | None,
    plot: Path | None,
    copies: Path | None,
    force: bool,
) -> None:
    """Join data sets into one manifest, and show what is in them."""
    for path in (out, plot, copies):
        if path and path.exists() and not force:
            raise TrainError(f"{path} is already there.", "Name another file or give --force.")
        if path and not path.parent.is_dir():
            raise TrainError(f"There is no folder {path.parent}.", "Make it, or name another.")
    entries = entries_of(data, patient_pattern)
    click.echo(table_of(entries))
    if out:
        write_manifest(entries, out)
    if plot:
        plot_films(entries, plot)
    sources = {entry.path: entry.source for entry in entries}
    same = list(same_bytes(list(sources)).values())
    pairs = find_near_duplicates([paths[0] for paths in same], film_bar)
    click.echo(_copies_text(same, pairs, {entry.path: entry for entry in entries}))
    if copies:
        exact = [NearDuplicate(p[0], second, 1.0) for p in same for second in p[1:]]
        write_near_duplicates([*exact, *pairs], sources, copies)


def table_of(entries: Sequence[Entry]) -> str:
    """The films by finding and source, with patients, ages, views and official sides, as text."""
    parts: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        for finding in entry.findings or (NO_FINDING,):
            parts[finding, entry.source].append(entry)
    rows = [_HEADER, *((*key, *_described(parts[key])) for key in sorted(parts))]
    if len(parts) > 1:
        rows.append(("all films", f"{len({e.source for e in entries})}", *_described(entries)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = [
        "  ".join(
            # Numbers to the right.
            cell.rjust(width) if i in (2, 3) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if several := sum(len(entry.findings) > 1 for entry in entries):
        lines.append(f"{several} films have several findings and stand in several lines.")
    if laterals := sum(entry.view == LATERAL for entry in entries):
        lines.append(f"{laterals} lateral films stay in the manifest and are not trained on.")
    return "\n".join(lines)


def plot_films(entries: Sequence[Entry], path: Path) -> None:
    """Bars of the films by finding, stacked by source: a finding that one source alone has shows.

    Raises TrainError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_films = Counter(
        (finding, entry.source) for entry in entries for finding in entry.findings or (NO_FINDING,)
    )
    findings = sorted({finding for finding, _ in n_films}, reverse=True)
    figure, axis = plt.subplots(figsize=(8, 1.5 + 0.4 * len(findings)))
    left = [0] * len(findings)
    for source in sorted({source for _, source in n_films}):
        widths = [n_films[finding, source] for finding in findings]
        axis.barh(findings, widths, left=left, label=source)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axis.text(total, place, f" {total}", va="center")
    axis.margins(x=0.15)
    axis.set_xlabel("films")
    axis.legend(title="source", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as exc:
        raise TrainError(f"{path} cannot be drawn ({exc}).", "Name a .png file.") from exc
    finally:
        plt.close(figure)


def _described(entries: Sequence[Entry]) -> tuple[str, str, str, str, str]:
    """Numbers of films and patients, ages, views and official sides, as text."""
    n_patients = len({(entry.source, entry.patient) for entry in entries})
    views = _counts((entry.view for entry in entries), ("PA", "AP", LATERAL))
    sides = _counts((entry.split for entry in entries), SIDES)
    return str(len(entries)), str(n_patients), _ages(entries), views, sides


def _ages(entries: Sequence[Entry]) -> str:
    ages = [entry.age_years for entry in entries if entry.age_years is not None]
    if not ages:
        return "not stated"
    text = f"{median(ages):.3g} ({min(ages):.3g} to {max(ages):.3g})"
    without = len(entries) - len(ages)
    return f"{text}, {without} not stated" if without else text


def _counts(values: Iterable[str], order: Sequence[str]) -> str:
    counts = Counter(values)
    shown = [f"{counts[value]} {value}" for value in order if counts[value]]
    if shown and counts[""]:
        shown.append(f"{counts['']} not stated")
    return ", ".join(shown) or "not stated"


def _copies_text(
    same: Sequence[Sequence[Path]], pairs: Sequence[NearDuplicate], entries: dict[Path, Entry]
) -> str:
    exact = [(paths[0], second) for paths in same for second in paths[1:]]
    near = [(pair.first, pair.second) for pair in pairs]
    lines = []
    for name, found in (("Exact duplicates", exact), ("Near-duplicates", near)):
        by_sources = Counter(
            " and ".join(sorted({entries[path].source for path in two})) for two in found
        )
        of = ", ".join(f"{n} in {names}" for names, n in sorted(by_sources.items()))
        contradict = [two for two in found if len({entries[path].findings for path in two}) > 1]
        lines.append(f"{name}: {len(found)} pairs{f' ({of})' if of else ''}.")
        if contradict:
            lines.append(f"  {len(contradict)} of them with contradicting findings:")
            lines += [f"    {first}  {second}" for first, second in contradict[:_N_SHOWN]]
        if len(contradict) > _N_SHOWN:
            lines.append(f"    and {len(contradict) - _N_SHOWN} more; --copies lists all pairs")
    return "\n".join(lines)
