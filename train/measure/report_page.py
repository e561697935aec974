"""An evaluation as one HTML file that stands alone: no script, no link, pictures inside."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .answers import Measured
from .blackout import blackout_lines
from .metrics import Interval
from .report import SOURCE_FIGURES, Evaluation, reason_of, title_of

NOT_FOR_DIAGNOSIS = "Not for diagnostic use."

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #1a1a1a; background: #fff; }
.warning { border-left: .4rem solid #d55e00; padding: .5rem 1rem; background: #d55e0022;
  font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .8rem .25rem 0; text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; max-width: 100%; }
img { max-width: 100%; background: #fff; border-radius: .3rem; }
code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: #8882; padding: .6rem; border-radius: .3rem; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181b; } }
"""

_EXPLANATION = """Intervals are 95 %, from 1,000 resamples of the patients. AUROC: area under the
ROC curve, 0.5 is guessing. AUPRC: area under the precision-recall curve in steps; guessing has the
finding's prevalence. Sensitivity, specificity, accuracy and balanced accuracy are those of the
decision. Brier score: squared error of the probability, 0 is best. ECE: expected calibration error,
the distance between stated probability and frequency in 15 bins; it is never below 0, and grows
with few films."""


def page(
    heading: str,
    date: str,
    facts: Mapping[str, str],
    data: Mapping[str, Any],
    evaluation: Evaluation,
    pictures: Mapping[str, Path],
    command: str,
) -> str:
    """The page as text.

    facts: what is measured, by name. data: report.data_json. pictures: files by title.
    command: how to measure it again.
    """
    measured, answers = evaluation.measured, evaluation.answers
    parts = [
        f'<p class="warning">{NOT_FOR_DIAGNOSIS}</p>',
        f"<h1>{escape(heading)}</h1>",
        f"<p>Measured on {escape(date)}: {measured.n_films} films of {measured.n_patients} "
        f"patients; {len(answers.unanswered)} films without an answer.</p>",
        "<h2>What was measured</h2>",
        _table(("", ""), facts.items()),
        "<h2>The data</h2>",
        _table(("label", "films"), data["labels"].items()),
        _table(("source", "films"), data["sources"].items()),
        f"<p>Digest of the films and their labels: <code>{escape(data['digest'])}</code></p>",
        "<h2>Figures</h2>",
        f"<p>{_EXPLANATION}</p>",
        *_figures(evaluation),
    ]
    if evaluation.blackout:
        lines = blackout_lines(evaluation.blackout, measured)
        parts += [
            "<h2>With the lungs blacked out</h2>",
            "<p>A fixed box over both lungs is painted over. What can still be told is read from "
            "the rest of the film: its frame, its markers, its source. An AUROC near 0.5 and a "
            "source told no better than by chance are good.</p>",
            "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>",
        ]
    parts += ["<h2>Pictures</h2>", *(_picture(title, path) for title, path in pictures.items())]
    if answers.unanswered:
        parts += [
            "<h2>Films without an answer</h2>",
            _table(
                ("film", "label", "reason"),
                (
                    (fault.film.path.name, fault.film.label, reason_of(fault.reason, fault.film))
                    for fault in answers.unanswered
                ),
            ),
        ]
    parts += ["<h2>Measure it again</h2>", f"<pre>{escape(command)}</pre>"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _figures(evaluation: Evaluation) -> list[str]:
    measured, thresholds = evaluation.measured, evaluation.answers.thresholds
    parts = []
    for finding, figures in measured.findings.items():
        n = measured.n_present[finding]
        rule = (
            f"positive from a probability of {thresholds[finding]:.3f} on"
            if finding in thresholds
            else "positive where it is the most probable label"
        )
        caption = f"{finding}: present in {n}, absent in {measured.n_films - n} films; {rule}"
        parts.append(_table(("figure", "value (95 % interval)"), _rows(figures), caption))
    if measured.overall:
        parts.append(
            _table(("figure", "value (95 % interval)"), _rows(measured.overall), "all labels")
        )
    parts.append(_confusion(measured))
    if evaluation.by_source:
        parts += ["<h2>By source</h2>", *_by_source(evaluation)]
    return parts


def _rows(figures: Mapping[str, Interval]) -> list[tuple[str, str]]:
    return [(title_of(name), str(interval)) for name, interval in figures.items()]


def _confusion(measured: Measured) -> str:
    rows = (
        (label, *row)
        for label, row in zip(measured.labels, measured.confusion.tolist(), strict=True)
    )
    return _table(("labelled / decided", *measured.labels), rows, "confusion matrix, films")


def _by_source(evaluation: Evaluation) -> Iterable[str]:
    header = ("source", "films", "present", *(title_of(name) for name in SOURCE_FIGURES))
    for finding in evaluation.measured.findings:
        rows = [
            (
                source,
                part.n_films,
                part.n_present[finding],
                *(part.findings[finding][name] for name in SOURCE_FIGURES),
            )
            for source, part in evaluation.by_source.items()
        ]
        yield _table(header, rows, finding)
    if evaluation.measured.overall:
        names = list(evaluation.measured.overall)
        yield _table(
            ("source", "films", *(title_of(name) for name in names)),
            (
                (source, part.n_films, *(part.overall[name] for name in names))
                for source, part in evaluation.by_source.items()
            ),
            "all labels",
        )


def _table(header: Sequence[str], rows: Iterable[Iterable[object]], caption: str = "") -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in header)
    head = f"<tr>{cells}</tr>" if any(header) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}{head}{body}</table></div>'


def _picture(title: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    shown = escape(title)
    return (
        f'<figure><figcaption>{shown}</figcaption><img alt="{shown}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )
