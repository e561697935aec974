"""`python -m train evaluate`: a checkpoint or a model, measured on any labelled films."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from cxr_edge.evidence import EVIDENCE_SUFFIX, evidence_path
from cxr_edge.model import load_model
from cxr_edge.model_card import SOFTMAX, ModelCard

from ..commands import CONTEXT, data_option, film_bar
from ..config import Labels, TrainConfig
from ..data.films import Film
from ..data.pixels import Films
from ..errors import TrainError
from ..learn.checkpoint import load_checkpoint
from ..learn.processes import device_of
from .answers import (
    Answers,
    Reader,
    answers_of_model,
    read_films,
    reader_of_checkpoint,
    reader_of_model,
)
from .blackout import measure_blackout
from .curves import evidence_of
from .markup import NOT_FOR_DIAGNOSIS
from .report import (
    Evaluation,
    as_json,
    data_json,
    draw_pictures,
    draw_worst,
    evaluate_answers,
    lines_of,
)
from .report_page import page
from .selection import ALL, Selection, check_known, n_learned_from, selection_options


@dataclass(frozen=True)
class Subject:
    """What is measured: a model file or a checkpoint with its run folder.

    facts: what a reader of the report should know of it, by name.
    """

    path: Path
    name: str
    labels: Labels
    reader: Reader
    split_path: Path | None
    patient_pattern: str
    facts: Mapping[str, str]

    @property
    def is_model(self) -> bool:
        return self.path.suffix == ".onnx"

    def answer(self, films: Sequence[Film]) -> tuple[Answers, Films | None]:
        """Its answers, and the films' pixels where they were prepared for a checkpoint."""
        if self.is_model:
            return answers_of_model(load_model(self.path, "cpu"), films, film_bar), None
        readable, cached, unanswered = read_films(films, self.reader, film_bar, "reading films")
        return self.reader.judge(readable, self.reader.logits(cached), unanswered), cached


def load_subject(path: Path) -> Subject:
    """Raises TrainError or ModelError where it is neither a model nor a run's checkpoint."""
    if path.suffix == ".onnx":
        model = load_model(path, "cpu")
        card = model.card
        labels = Labels(card.findings, card.activation == SOFTMAX)
        facts = {"file": path.name, "sha256": model.sha256, **_card_facts(card)}
        return Subject(path, card.label, labels, reader_of_model(model), None, "", facts)
    checkpoint = load_checkpoint(path)
    config = TrainConfig.read(path.parent / "config.json")
    labels = dataclasses.replace(config.labels, findings=checkpoint.findings)
    split_path = path.parent / "split.csv"
    facts = {
        "file": f"{path.resolve().parent.name}/{path.name}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "network": checkpoint.network,
        "findings": ", ".join(checkpoint.findings),
        "input": f"{config.input.width_px} x {config.input.height_px} px",
        "initial weights": config.init or "none",
    }
    return Subject(
        path,
        f"checkpoint of {path.resolve().parent.name}",
        labels,
        reader_of_checkpoint(checkpoint, config, device_of("auto")),
        split_path if split_path.is_file() else None,
        config.patient_pattern,
        facts,
    )


def _card_facts(card: ModelCard) -> dict[str, str]:
    data = card.training_data
    low, high = card.age_range_years
    facts = {
        "findings": ", ".join(card.findings),
        "intended use": card.intended_use,
        "age range": f"{low:g} to {high:g} years",
        "input": f"{card.input.width_px} x {card.input.height_px} px",
        "training data": f"{data.name}, {data.n_films} films of {data.n_patients} patients",
        "digest of the training data": data.digest,
        "licence of the training data": data.licence,
        "licence of the model": card.licence,
    }
    for point in card.operating_points:
        facts[f"operating point, {point.finding}"] = (
            f"{point.threshold:.3f} ({point.chosen_by}); the card states sensitivity "
            f"{point.sensitivity:.3f}, specificity {point.specificity:.3f} on {point.measured_on}"
        )
    return facts | {f"quantization, {name}": text for name, text in card.quantization.items()}


@click.command(
    "evaluate",
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  python -m train evaluate model.onnx --data films/ --out report/
  python -m train evaluate runs/first/checkpoint.pt --data films/
  python -m train evaluate pneumonia.onnx --data kermany=chest_xray/ \\
      --rename "bacterial pneumonia=pneumonia" --rename "viral pneumonia=pneumonia"
  python -m train evaluate model.onnx --data films/ --evidence model.evidence.json

A checkpoint is measured on the test films of its own run, with the run's patient pattern;
--part all takes all films of other data. With --out, report.html holds everything,
figures.json the figures. worst.png, which is in the report too, shows patients' films:
keep both where the films may be, or leave it out with --no-worst. What --evidence writes
tells of no single film; cxr-edge finds it beside the model, under the model's name.
""",
)
@click.argument("path", metavar="MODEL_OR_CHECKPOINT", type=click.Path(path_type=Path))
@data_option
@selection_options
@click.option(
    "--blackout/--no-blackout",
    default=True,
    help="Measure once more with the lungs painted over.",
)
@click.option("--worst/--no-worst", default=True, help="Show the worst errors in the report.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report.")
@click.option(
    "--evidence",
    "evidence_file",
    type=click.Path(path_type=Path),
    metavar="NAME.evidence.json",
    help="Also write what the pictures of a model file are drawn from.",
)
@click.option(
    "--measured-on",
    show_default="the part and the sources",
    help="What films these are, as it is to stand beside the pictures.",
)
def command(
    path: Path,
    data: tuple[str, ...],
    split_path: Path | None,
    part: str | None,
    renames: tuple[str, ...],
    ignore: tuple[str, ...],
    patient_pattern: str,
    blackout: bool,
    worst: bool,
    out: Path | None,
    evidence_file: Path | None,
    measured_on: str | None,
) -> None:
    """Measure a model or a checkpoint on labelled films; intervals are 95 %, over patients."""
    subject = load_subject(path)
    if evidence_file:
        _check_evidence(subject, evidence_file)
    selection = Selection(
        data,
        split_path or subject.split_path,
        part,
        renames,
        ignore,
        patient_pattern or subject.patient_pattern,
    )
    part = selection.part
    films, n_aside = selection.films(subject.labels)
    if n_aside:
        click.echo(f"{n_aside} films left aside: lateral, ignored, copies or contradicting.")
    check_known(films, part, subject.reader.findings, path.name)

    answers, cached = subject.answer(films)
    blinded = None
    if blackout:
        if cached is None:
            title = "reading again, for the blackout"
            _, cached, _ = read_films(answers.films, subject.reader, film_bar, title)
        blinded = measure_blackout(subject.reader, answers.films, cached)
    evaluation = evaluate_answers(answers, blinded)
    click.echo(f"{subject.name}, {part} films. {NOT_FOR_DIAGNOSIS}")
    n_seen = n_learned_from(films, subject.split_path) if part == ALL else 0
    if n_seen:
        seen = f"{n_seen} of the films were trained on or chosen with: the figures flatter."
        click.echo(seen)
        subject = dataclasses.replace(subject, facts={**subject.facts, "warning": seen})
    for line in lines_of(evaluation):
        click.echo(line)
    for fault in answers.unanswered:
        click.echo(f"without an answer: {fault.film.path}: {fault.reason}", err=True)
    if out:
        named = [f"--data {text}" for text in selection.named_data()]
        words = ["python -m train evaluate", path.name, *named, *selection.words()]
        _write(out, subject, evaluation, part, " ".join(words), worst)
        click.echo(f"Written to {out}; report.html stands alone.")
    if evidence_file:
        _write_evidence(evidence_file, subject, evaluation, measured_on or _films_of(part, films))


def _check_evidence(subject: Subject, file: Path) -> None:
    """Raises TrainError: no model file, one that does not answer itself, nowhere to write."""
    if not subject.is_model:
        raise TrainError(
            f"{subject.path.name} is a checkpoint, and evidence is bound to a model file.",
            "Export it first: export writes the evidence beside the model.",
        )
    if hashlib.sha256(subject.path.read_bytes()).hexdigest() != subject.facts["sha256"]:
        raise TrainError(
            f"{subject.path.name} drifts on this machine, where its fp32 twin answers in its "
            "place.",
            "Measure it on another one.",
        )
    if not file.name.endswith(EVIDENCE_SUFFIX) or not file.parent.is_dir():
        raise TrainError(
            f"{file} cannot be written.",
            f"Name {evidence_path(subject.path).name} in a folder that exists.",
        )


def _films_of(part: str, films: Sequence[Film]) -> str:
    sources = ", ".join(sorted({film.source for film in films} - {""}))
    return f"{part} films" + (f" of {sources}" if sources else "")


def _write_evidence(file: Path, subject: Subject, evaluation: Evaluation, measured_on: str) -> None:
    answers, measured = evaluation.answers, evaluation.measured
    evidence = evidence_of(answers, measured, subject.facts["sha256"], measured_on)
    file.write_text(evidence.to_json(), encoding="utf-8")
    click.echo(f"{file}: {file.stat().st_size / 1e3:.0f} KB, bound to {subject.path.name}.")
    for name in answers.judged:
        if evidence.of(name) is None:
            click.echo(f"{name} is not in it: these films do not determine its figures.")


def _write(
    out: Path, subject: Subject, evaluation: Evaluation, part: str, again: str, worst: bool
) -> None:
    answers = evaluation.answers
    out.mkdir(parents=True, exist_ok=True)
    films = (*answers.films, *(fault.film for fault in answers.unanswered))
    data, date = data_json(films), datetime.now(UTC).date().isoformat()
    pictures = draw_pictures(answers, out)
    if worst and draw_worst(answers, subject.reader.spec, out / "worst.png"):
        pictures["Worst errors (patients' films: keep them where they may be)"] = out / "worst.png"
    record = {
        "subject": dict(subject.facts),
        "date": date,
        "part": part,
        "data": data,
        "figures": as_json(evaluation),
        "command": again,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (out / "figures.json").write_text(text, encoding="utf-8")
    heading = f"{subject.name}: evaluation on {part} films"
    html = page(heading, date, subject.facts, data, evaluation, pictures, again)
    (out / "report.html").write_text(html, encoding="utf-8")
