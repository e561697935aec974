"""`python -m export`: a checkpoint becomes a quantized ONNX model with its card, or is refused."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cxr_edge.interpret import to_probability
from cxr_edge.model import Model, load_model
from cxr_edge.model_card import (
    METADATA_KEY,
    NO_FINDING,
    SCHEMA_VERSION,
    SOFTMAX,
    Figure,
    ModelCard,
    OperatingPoint,
    TrainingData,
)
from cxr_edge.preprocess import prepare
from cxr_edge.radiograph import read_radiograph
from train.commands import CONTEXT, data_option, film_bar, run_command
from train.data.films import Film, digest_of
from train.data.split import LEFT_OUT, TEST, TRAIN, VALIDATION
from train.learn.checkpoint import Checkpoint
from train.measure.answers import Measured, answers_of_model, measure_answers, measure_by_source
from train.measure.report import SOURCE_FIGURES

from .card_text import CardText, read_card_text
from .compare import FP32, INT8, compare, faults, require
from .convert import to_onnx
from .errors import ExportError
from .operating_point import fit_shared_threshold, fit_temperature, fit_threshold
from .quantize import quantize, recipe
from .run import Run, read_run

_Floats = NDArray[np.float32]
# Convolutions kept in fp32, tried in this order. MobileNet-V2's first depthwise convolution has a
# few channels of large weights once batch norm is folded in, and rounding them shifts every logit;
# findings that look alike, and exclude each other, change with less.
FP32_CONVS = (0, 3, 9, 24)


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m export runs/first/checkpoint.pt pneumonia.onnx --data films/ \\
      --card export/cards/pneumonia-children.toml

The checkpoint must lie in its run folder, with config.json and split.csv. Nothing is
written where the ONNX or int8 model differs too much from the checkpoint.
""",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--card",
    "card_path",
    required=True,
    type=click.Path(path_type=Path),
    help="TOML file with intended use, age range and licences.",
)
@click.option(
    "--shifted-run",
    "shifted_path",
    type=click.Path(path_type=Path),
    help="Checkpoint of a sister run made with --leave-out: the operating point is then chosen on "
    "films of a source that it never saw, not on the easier ones of the known source.",
)
@click.option(
    "--min-sensitivity",
    type=click.FloatRange(0, 1),
    default=0.97,
    help="Of the operating points. Findings that exclude each other share the one threshold that "
    "names most films rightly, and this plays no part.",
)
@click.option(
    "--range-films", "n_range_films", type=click.IntRange(8), default=256, help="For int8 ranges."
)
def command(
    checkpoint: Path,
    out: Path,
    data: tuple[str, ...],
    card_path: Path,
    shifted_path: Path | None,
    min_sensitivity: float,
    n_range_films: int,
) -> None:
    """Write CHECKPOINT as the quantized model OUT, with its model card inside."""
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise ExportError(f"{out} cannot be written.", "Name a .onnx file in an existing folder.")
    text = read_card_text(card_path)
    run = read_run(checkpoint, data)
    shifted = read_run(shifted_path, data) if shifted_path else None
    shifted_points = _shifted_points(run, shifted, min_sensitivity) if shifted else None

    findings, activation = run.checkpoint.findings, run.checkpoint.activation
    fp32 = to_onnx(run.checkpoint.build(), run.config.input)
    range_inputs = _inputs(run, _spread(run.split[TRAIN], n_range_films), "range films")
    validation = run.split[VALIDATION]
    inputs = _inputs(run, validation, "validation films")
    present = _present(validation, findings)
    paths = [film.path for film in validation]
    with torch.inference_mode():
        network = run.checkpoint.build()
        logits_torch = np.concatenate([network(torch.from_numpy(x)).numpy() for x in inputs])
    logits_fp32 = _logits(fp32, run, text, inputs)
    same = compare(
        "fp32 ONNX from torch",
        to_probability(logits_torch, activation, 1.0),
        to_probability(logits_fp32, activation, 1.0),
        present,
        [0.5] * len(findings),
        paths,
    )
    click.echo(str(same))
    require(same, FP32)

    for n_fp32_convs in FP32_CONVS:
        int8 = quantize(fp32, range_inputs, n_fp32_convs)
        logits_int8 = _logits(int8, run, text, inputs)
        temperature = fit_temperature(logits_int8, present, activation)
        p_fp32, p_int8 = (
            to_probability(logits, activation, temperature) for logits in (logits_fp32, logits_int8)
        )
        points = shifted_points or _points(
            run.checkpoint, present, p_int8, min_sensitivity, "validation films"
        )
        own = {point.finding: point.threshold for point in points}
        thresholds = [own.get(name, np.inf) for name in findings]
        name = f"int8, {n_fp32_convs} convs in fp32"
        quantized = compare(name, p_fp32, p_int8, present, thresholds, paths)
        click.echo(str(quantized))
        if not faults(quantized, INT8):
            break
    require(quantized, INT8)

    card = _card(run, text, temperature, points, recipe(n_fp32_convs))
    partial = out.with_name(out.name + ".partial")
    try:
        model = _written(int8, card, partial)
        card = _with_test_figures(run, card, model)
        _written(int8, card, partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    for point in card.operating_points:
        click.echo(
            f"{point.finding}: positive from {point.threshold:.3f}, temperature {temperature:.2f} "
            f"({point.chosen_by})"
        )
    where = ""
    for figure in card.figures:
        if figure.measured_on != where:
            where = figure.measured_on
            click.echo(f"{figure.n_films} films, {where}:")
        click.echo(f"  {figure.name:37} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _shifted_points(run: Run, sister: Run, min_sensitivity: float) -> list[OperatingPoint]:
    """Operating points chosen on films of a source that the sister run left out."""
    if sister.checkpoint.findings != run.checkpoint.findings:
        raise ExportError(
            "The sister run has other findings.", "Train it on the same data as the run."
        )
    if not sister.split[LEFT_OUT]:
        raise ExportError("The sister run left nothing out.", "Train it with --leave-out.")
    used = (film.group for name in (TRAIN, VALIDATION, LEFT_OUT) for film in sister.split[name])
    if seen := {film.group for film in run.split[TEST]}.intersection(used):
        raise ExportError(
            f"The sister run saw {len(seen)} of the run's test patients, so that the operating "
            "point would be chosen with films it is to be measured on.",
            "Train the sister with --leave-out and --split of the run.",
        )
    own = sister.split[VALIDATION]
    films = (*own, *sister.split[LEFT_OUT])
    network = sister.checkpoint.build()
    with torch.inference_mode():
        logits = np.concatenate(
            [network(torch.from_numpy(x)).numpy() for x in _inputs(sister, films, "left-out films")]
        )
    present = _present(films, run.checkpoint.findings)
    activation = sister.checkpoint.activation
    temperature = fit_temperature(logits[: len(own)], present[: len(own)], activation)
    return _points(
        sister.checkpoint,
        present,
        to_probability(logits, activation, temperature),
        min_sensitivity,
        "a source left out of a sister run's training, with that run's validation films",
    )


def _points(
    checkpoint: Checkpoint,
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    min_sensitivity: float,
    where: str,
) -> list[OperatingPoint]:
    findings = checkpoint.findings
    if checkpoint.activation == SOFTMAX:
        shared = fit_shared_threshold(present, probability, findings)
        rule = f"one threshold for all findings, with the highest accuracy, on {where}"
        return [_point(name, shared, rule) for name in findings if name != NO_FINDING]
    rule = f"highest specificity with sensitivity of at least {min_sensitivity:g}, on {where}"
    return [
        _point(name, fit_threshold(present[:, k], probability[:, k], min_sensitivity), rule)
        for k, name in enumerate(findings)
    ]


def _with_test_figures(run: Run, card: ModelCard, model: Model) -> ModelCard:
    """The card with what the int8 model gives on the test films, in all and by source."""
    answers = answers_of_model(model, run.split[TEST], film_bar)
    if answers.unanswered:
        worst = answers.unanswered[0]
        raise ExportError(
            f"The model refuses {len(answers.unanswered)} of its own test films, the first is "
            f"{worst.film.path} ({worst.reason}).",
            "Move films that cannot be judged out of the data.",
        )
    where = (
        f"test films of {card.training_data.name}, patients unseen in training and in choosing "
        "the operating point"
    )
    measured = measure_answers(answers)
    figures = _figures(measured, where)
    for source, of_source in measure_by_source(answers).items():
        figures += _figures(of_source, f"those of {source} among the test films", SOURCE_FIGURES)
    points = [
        dataclasses.replace(
            point,
            sensitivity=measured.findings[point.finding]["sensitivity"].value,
            specificity=measured.findings[point.finding]["specificity"].value,
            measured_on=where,
        )
        for point in card.operating_points
    ]
    return dataclasses.replace(card, figures=tuple(figures), operating_points=tuple(points))


def _figures(measured: Measured, where: str, kinds: Sequence[str] = ()) -> list[Figure]:
    """Those that the films determine, of these kinds or of all; named by finding and kind."""
    named = {
        f"{of} {kind}": interval
        for of, figures in (*measured.findings.items(), ("all labels", measured.overall))
        for kind, interval in figures.items()
        if not kinds or kind in kinds
    }
    return [
        Figure(name, i.value, i.low, i.high, measured.n_films, where)
        for name, i in named.items()
        if not np.isnan([i.value, i.low, i.high]).any()
    ]


def _card(
    run: Run,
    text: CardText,
    temperature: float,
    points: Sequence[OperatingPoint],
    quantization: dict[str, str],
) -> ModelCard:
    trained_on = run.split[TRAIN]
    return ModelCard(
        schema_version=SCHEMA_VERSION,
        name=text.name,
        version=text.version,
        findings=run.checkpoint.findings,
        activation=run.checkpoint.activation,
        temperature=temperature,
        input=run.config.input,
        operating_points=tuple(points),
        training_data=TrainingData(
            name=text.training_data.name,
            digest=digest_of(trained_on),
            n_films=len(trained_on),
            n_patients=len({film.group for film in trained_on}),
            licence=text.training_data.licence,
            attribution=text.training_data.attribution,
        ),
        recipe=run.recipe,
        quantization=quantization,
        figures=(),
        intended_use=text.intended_use,
        age_range_years=text.age_range_years,
        licence=text.licence,
    )


def _point(finding: str, threshold: float, chosen_by: str = "draft") -> OperatingPoint:
    return OperatingPoint(finding, threshold, 0.0, 0.0, "not measured yet", chosen_by)


def _written(model: onnx.ModelProto, card: ModelCard, path: Path) -> Model:
    """Write the model with its card and load it as a user would."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    path.write_bytes(model.SerializeToString(deterministic=True))
    return load_model(path, "cpu")


def _inputs(run: Run, films: Sequence[Film], title: str) -> _Floats:
    """Prepared films, float32 (N, 1, C, H, W): one batch each, as the runtime feeds them."""
    bar = tqdm(films, title, leave=False, disable=None)
    return np.stack([prepare(read_radiograph(film.path), run.config.input) for film in bar])


def _logits(model: onnx.ModelProto, run: Run, text: CardText, inputs: _Floats) -> _Floats:
    """What the runtime makes of the model, with a draft of its card."""
    points = [_point(name, 0.5) for name in run.checkpoint.findings if name != NO_FINDING]
    card = _card(run, text, 1.0, points, {})
    with tempfile.TemporaryDirectory() as folder:
        loaded = _written(model, card, Path(folder) / "draft.onnx")
        return np.concatenate([loaded.infer(x) for x in inputs])


def _present(films: Sequence[Film], findings: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[name in film.labels for name in findings] for film in films])


def _spread(films: Sequence[Film], n: int) -> list[Film]:
    """About n films, spread evenly over the list, which is sorted by label folder."""
    at = np.unique(np.linspace(0, len(films) - 1, min(n, len(films))).round().astype(int))
    return [films[i] for i in at]


if __name__ == "__main__":
    run_command(command, "python -m export")
