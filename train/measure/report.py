"""What is told of measured answers: as text, as JSON, as pictures; and a run's own report."""

import json
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from cxr_edge.errors import RadiographError
from cxr_edge.model_card import SOFTMAX, InputSpec
from cxr_edge.preprocess import min_side_px, to_grey
from cxr_edge.radiograph import read_radiograph

from ..config import TrainConfig
from ..data.films import Film, FilmSet, digest_of
from ..data.pixels import Films
from ..data.split import LEFT_OUT, TEST, VALIDATION, Split
from ..learn.checkpoint import Checkpoint
from .answers import Answers, Measured, measure_answers, measure_by_source, reader_of_checkpoint
from .blackout import Blackout, blackout_lines, measure_blackout
from .metrics import Interval, confusion
from .plots import (
    plot_confusion,
    plot_films,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_scores,
)

TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro auroc": "macro AUROC",
    "brier": "Brier score",
    "ece": "ECE",
}
# What a line about one source has room for.
SOURCE_FIGURES = ("auroc", "sensitivity", "specificity", "accuracy")
N_WORST = 16


@dataclass(frozen=True)
class Evaluation:
    """Answers with everything that was measured on them. by_source: empty where there is one."""

    answers: Answers
    measured: Measured
    by_source: Mapping[str, Measured]
    blackout: Blackout | None


def evaluate_answers(answers: Answers, blackout: Blackout | None = None) -> Evaluation:
    return Evaluation(answers, measure_answers(answers), measure_by_source(answers), blackout)


def title_of(figure: str) -> str:
    return TITLES.get(figure, figure)


def lines_of(evaluation: Evaluation) -> list[str]:
    """The figures as text: per finding, over all labels, per source, without lungs."""
    measured = evaluation.measured
    lines = [f"{measured.n_films} films of {measured.n_patients} patients"]
    if evaluation.answers.unanswered:
        lines.append(
            f"{len(evaluation.answers.unanswered)} more could not be read or were refused; the "
            "figures are without them"
        )
    for finding, figures in measured.findings.items():
        n = measured.n_present[finding]
        lines.append(f"{finding}: present in {n}, absent in {measured.n_films - n}")
        lines += _figure_lines(figures)
    if measured.overall:
        lines.append("all labels:")
        lines += _figure_lines(measured.overall)
    lines += _confusion_lines(measured)
    for source, of_source in evaluation.by_source.items():
        lines.append(f"source {source}: {of_source.n_films} films")
        for finding, figures in of_source.findings.items():
            shown = ", ".join(f"{title_of(name)} {figures[name]}" for name in SOURCE_FIGURES)
            lines.append(f"  {finding} in {of_source.n_present[finding]}: {shown}")
        if of_source.overall:
            shown = ", ".join(
                f"{title_of(name)} {of_source.overall[name]}"
                for name in ("accuracy", "balanced accuracy")
            )
            lines.append(f"  all labels: {shown}")
    if evaluation.blackout:
        lines.append("lungs blacked out:")
        lines += [f"  {line}" for line in blackout_lines(evaluation.blackout, measured)]
    return lines


def _figure_lines(figures: Mapping[str, Interval]) -> list[str]:
    return [f"  {title_of(name):17} {interval}" for name, interval in figures.items()]


def _confusion_lines(measured: Measured) -> list[str]:
    width = max(len(label) for label in measured.labels)
    rows = [("labelled / decided", measured.labels)]
    rows += [
        (label, tuple(str(count) for count in row))
        for label, row in zip(measured.labels, measured.confusion, strict=True)
    ]
    first = max(len(name) for name, _ in rows)
    return [f"{name:{first}} " + " ".join(f"{c:>{width}}" for c in cells) for name, cells in rows]


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All figures as plain values; a figure that the films do not determine is null."""
    data = _measured_json(evaluation.measured)
    data["sources"] = {name: _measured_json(part) for name, part in evaluation.by_source.items()}
    data["unanswered"] = [
        {"file": fault.film.path.name, "reason": reason_of(fault.reason, fault.film)}
        for fault in evaluation.answers.unanswered
    ]
    if blackout := evaluation.blackout:
        data["blackout"] = {
            "figures": _measured_json(blackout.measured),
            "sources": list(blackout.sources),
            "chance": blackout.chance,
            "source_from_films": _interval_json(blackout.from_films),
            "source_from_answers": _interval_json(blackout.from_answers),
        }
    return data


def _measured_json(measured: Measured) -> dict[str, Any]:
    return {
        "n_films": measured.n_films,
        "n_patients": measured.n_patients,
        "findings": {
            finding: {"n_present": measured.n_present[finding], **_figures_json(figures)}
            for finding, figures in measured.findings.items()
        },
        "overall": _figures_json(measured.overall),
        "confusion": {"labels": list(measured.labels), "counts": measured.confusion.tolist()},
    }


def _figures_json(figures: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: _interval_json(interval) for name, interval in figures.items()}


def _interval_json(interval: Interval | None) -> dict[str, float | None] | None:
    # NaN is no JSON.
    if interval is None:
        return None
    return {k: None if np.isnan(v) else v for k, v in asdict(interval).items()}


def reason_of(reason: str, film: Film) -> str:
    """Why a film has no answer, without the folders of this machine."""
    return reason.replace(str(film.path), film.path.name)


def data_json(films: Sequence[Film]) -> dict[str, Any]:
    """What films were measured on, so that others can tell whether theirs are the same."""
    return {
        "n_films": len(films),
        "n_patients": len({film.group for film in films}),
        "digest": digest_of(films),
        "labels": _counted(label for film in films for label in film.labels),
        "sources": _counted(film.source for film in films),
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def draw_pictures(answers: Answers, out: Path) -> dict[str, Path]:
    """Write the pictures that show no patient; their files by what they are called."""
    curves = {name: (*answers.of(name), answers.patients) for name in answers.judged}
    pictures = {
        "Confusion matrix": out / "confusion.png",
        "ROC": out / "roc.png",
        "Precision and recall": out / "precision-recall.png",
    }
    counts = confusion(answers.true, answers.decided, answers.labels)
    plot_confusion(counts, answers.labels, pictures["Confusion matrix"])
    plot_roc(curves, pictures["ROC"])
    plot_precision_recall(curves, pictures["Precision and recall"])
    for name, (present, probability, _) in curves.items():
        path = pictures[f"Reliability: {name}"] = out / f"reliability-{slug(name)}.png"
        plot_reliability(present, probability, name, path)
        path = pictures[f"Probabilities: {name}"] = out / f"scores-{slug(name)}.png"
        plot_scores(present, probability, answers.thresholds.get(name), name, path)
    if answers.activation == SOFTMAX:
        path = pictures["Reliability: the decided label"] = out / "reliability-decided.png"
        place = [answers.labels.index(label) for label in answers.decided]
        right = np.array(answers.true) == np.array(answers.decided)
        plot_reliability(
            right, answers.by_label[np.arange(len(place)), place], "the decided label", path
        )
    return pictures


def draw_worst(answers: Answers, spec: InputSpec, path: Path) -> bool:
    """Draw the films that were wrongly judged with the least probability for their true label.

    Patients' films: for the folder of the one who measures, and for nowhere else. Whether there
    were any.
    """
    true, decided, place = answers.true, answers.decided, answers.labels.index
    given = answers.by_label
    wrong = [i for i, label in enumerate(true) if decided[i] not in label.split("|")]
    worst = sorted(wrong, key=lambda i: given[i, place(true[i])])[:N_WORST]
    films, captions = [], []
    for i in worst:
        film = answers.films[i]
        try:
            films.append(to_grey(read_radiograph(film.path, min_side_px(spec)), spec))
        except RadiographError:  # it was there a moment ago
            continue
        captions.append(
            f"{film.path.name[:32]}\nlabelled {film.label} ({given[i, place(true[i])]:.2f})\n"
            f"decided {decided[i]} ({given[i, place(decided[i])]:.2f})"
        )
    if films:
        plot_films(films, captions, path)
    return bool(films)


def slug(name: str) -> str:
    """A finding as a part of a file's name."""
    return re.sub(r"\W+", "-", name).strip("-").lower()


def write_report(
    checkpoint: Checkpoint,
    config: TrainConfig,
    split: Split,
    films: Mapping[str, Films],
    film_set: FilmSet,
    out: Path,
) -> None:
    """Measure validation, test and left-out films, print, write metrics.json and draw.

    films: those of `split`, by the name of the part. A finding is positive from 0.5 on, or where it
    is the most probable label; operating points are export's matter. No picture shows a patient, so
    that a run folder can be shown around.
    """
    reader = reader_of_checkpoint(checkpoint, config)
    names = [name for name in (VALIDATION, TEST, LEFT_OUT) if name in films]
    logits = {name: reader.logits(films[name]) for name in names}
    parts = {name: (split[name], logits[name]) for name in (VALIDATION, TEST)}
    if LEFT_OUT in films:
        # Films of a left-out source may all have one label; the test films' other label
        # completes it.
        both = np.concatenate([logits[LEFT_OUT], logits[TEST]])
        parts["left out, and test"] = ((*split[LEFT_OUT], *split[TEST]), both)
    figures = {}
    for name, (part, z) in parts.items():
        answers = reader.judge(part, z)
        blackout = None
        if name == VALIDATION:
            blackout = measure_blackout(reader, split[VALIDATION], films[VALIDATION])
        evaluation = evaluate_answers(answers, blackout)
        figures[name] = as_json(evaluation)
        click.echo("\n  ".join([f"{name}:", *lines_of(evaluation)]))
        if name == TEST:
            draw_pictures(answers, out)
    record = {
        "figures": figures,
        "data": {
            "digest": film_set.digest,
            "n_films": len(film_set.films),
            "exact_duplicates_left_aside": _names(film_set.duplicates),
            "contradicting_duplicates_left_aside": _names(film_set.contradictions),
            "n_near_duplicates": len(film_set.near_duplicates),
            "n_near_duplicates_with_contradicting_labels": len(film_set.contradicting_pairs),
            "n_laterals_left_aside": len(film_set.laterals),
            "n_ignored": len(film_set.ignored),
            "n_groups_on_two_official_sides": len(split.torn),
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (out / "metrics.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    click.echo(
        f"Written to {out}. Next: python -m export {out / 'checkpoint.pt'} OUT.onnx "
        "--data FILMS --card CARD.toml"
    )


def _names(paths: Iterable[Path]) -> list[str]:
    return [path.name for path in paths]
