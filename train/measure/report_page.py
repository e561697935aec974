"""An evaluation as one HTML file that stands alone (markup.py)."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from .answers import Measured
from .blackout import blackout_lines
from .markup import bullets, document, paragraph, picture, table
from .metrics import Interval
from .report import SOURCE_FIGURES, Evaluation, reason_of, title_of

EXPLANATION = """Intervals are 95 %, from 1,000 resamples of the patients. AUROC: area under the
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
        paragraph(
            f"Measured on {date}: {measured.n_films} films of {measured.n_patients} patients; "
            f"{len(answers.unanswered)} films without an answer."
        ),
        "<h2>What was measured</h2>",
        table(("", ""), facts.items()),
        "<h2>The data</h2>",
        table(("label", "films"), data["labels"].items()),
        table(("source", "films"), data["sources"].items()),
        f"<p>Digest of the films and their labels: <code>{escape(data['digest'])}</code></p>",
        "<h2>Figures</h2>",
        paragraph(EXPLANATION),
        *figure_tables(evaluation),
    ]
    if evaluation.by_source:
        parts += ["<h2>By source</h2>", *tables_by("source", evaluation.by_source)]
    if evaluation.blackout:
        lines = blackout_lines(evaluation.blackout, measured)
        parts += [
            "<h2>With the lungs blacked out</h2>",
            "<p>A fixed box over both lungs is painted over. What can still be told is read from "
            "the rest of the film: its frame, its markers, its source. An AUROC near 0.5 and a "
            "source told no better than by chance are good.</p>",
            bullets(lines),
        ]
    parts += ["<h2>Pictures</h2>", *(picture(title, path) for title, path in pictures.items())]
    if answers.unanswered:
        parts += [
            "<h2>Films without an answer</h2>",
            table(
                ("film", "label", "reason"),
                (
                    (fault.film.path.name, fault.film.label, reason_of(fault.reason, fault.film))
                    for fault in answers.unanswered
                ),
            ),
        ]
    parts += ["<h2>Measure it again</h2>", f"<pre>{escape(command)}</pre>"]
    return document(heading, parts)


def figure_tables(evaluation: Evaluation) -> list[str]:
    """The figures by finding and over all labels, and the confusion matrix."""
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
        parts.append(table(("figure", "value (95 % interval)"), _rows(figures), caption))
    if measured.overall:
        parts.append(
            table(("figure", "value (95 % interval)"), _rows(measured.overall), "all labels")
        )
    parts.append(_confusion(measured))
    return parts


def _rows(figures: Mapping[str, Interval]) -> list[tuple[str, str]]:
    return [(title_of(name), str(interval)) for name, interval in figures.items()]


def _confusion(measured: Measured) -> str:
    rows = (
        (label, *row)
        for label, row in zip(measured.labels, measured.confusion.tolist(), strict=True)
    )
    return table(("labelled / decided", *measured.labels), rows, "confusion matrix, films")


def tables_by(kind: str, parts: Mapping[str, Measured]) -> Iterable[str]:
    """The figures of parts of the films beside each other, by finding and over all labels.

    kind: what the parts differ in.
    """
    header = (kind, "films", "present", *(title_of(name) for name in SOURCE_FIGURES))
    first = next(iter(parts.values()))
    for finding in first.findings:
        rows = [
            (
                name,
                part.n_films,
                part.n_present[finding],
                *(part.findings[finding][figure] for figure in SOURCE_FIGURES),
            )
            for name, part in parts.items()
        ]
        yield table(header, rows, finding)
    if first.overall:
        yield table(
            (kind, "films", *(title_of(figure) for figure in first.overall)),
            (
                (name, part.n_films, *(part.overall[figure] for figure in first.overall))
                for name, part in parts.items()
            ),
            "all labels",
        )
