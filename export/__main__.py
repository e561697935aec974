"""`python -m export`: a checkpoint becomes a quantized ONNX model with its card, or is refused."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from torch import Tensor
from tqdm import tqdm

from cxr_edge.evidence import evidence_path
from cxr_edge.model import Model
from cxr_edge.model_card import SOFTMAX, ModelCard
from cxr_edge.model_file import twin_path
from train.commands import CONTEXT, data_option, run_command
from train.data.split import TEST, TRAIN
from train.measure.curves import evidence_of

from .card_figures import measure_on_test_films, with_test_figures
from .card_text import CardText, read_card_text
from .choose_points import shifted_points
from .compare import FP16, FP32, INT8, require
from .convert import to_onnx
from .errors import ExportError
from .first_convolution import over_blocks
from .judge import HEADER, MIN_TIMES_FP32, Judge, Verdict, compare_on_films
from .ladder import Ladder, Rung
from .model_writer import make_card, write_model
from .range_films import read_range_films, require_same_kind
from .run import Run, judged_on, prepared, read_run, spread
from .variants import to_fp16

_N_TRAIN_FILMS = 4096


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  python -m export runs/first/checkpoint.pt pneumonia.onnx --data films/ \\
      --card export/cards/pneumonia-children.toml
  python -m export runs/first/checkpoint.pt pneumonia.onnx --data films/ \\
      --card my-card.toml --every-rung --also fp32 --also fp16

The checkpoint must lie in its run folder, with config.json and split.csv. Nothing is
written where the ONNX model differs from the checkpoint. Beside the model lies
pneumonia.evidence.json, from which its pictures are drawn.
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
    "--for-source",
    "for_sources",
    multiple=True,
    help="A source whose films the model is for: operating point, int8 and figures are judged on "
    "films of these. On those of all where none is named.",
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
    "--range-films",
    "n_range_films",
    type=click.IntRange(32),
    default=256,
    help="How many films the int8 ranges and biases are taken from.",
)
@click.option(
    "--range-data",
    type=click.Path(path_type=Path),
    help="Take them from this folder, which needs no labels, not from the train films.",
)
@click.option(
    "--finetuning-steps",
    type=click.IntRange(0),
    default=0,
    help="Try quantization-aware finetuning too, with so many steps of 16 films, where no cheaper "
    "rung passes (train/EXPERIMENTS.md).",
)
@click.option("--every-rung", is_flag=True, help="Climb on, to see what each rung gives.")
@click.option(
    "--also",
    "variants",
    type=click.Choice(["fp32", "fp16"]),
    multiple=True,
    help="Also write NAME.fp32.onnx, the twin that serves where int8 drifts, or NAME.fp16.onnx.",
)
def command(
    checkpoint: Path,
    out: Path,
    data: tuple[str, ...],
    card_path: Path,
    for_sources: tuple[str, ...],
    shifted_path: Path | None,
    min_sensitivity: float,
    n_range_films: int,
    range_data: Path | None,
    finetuning_steps: int,
    every_rung: bool,
    variants: tuple[str, ...],
) -> None:
    """Write CHECKPOINT as the quantized model OUT, with its model card inside.

    Climbs a ladder of ways to int8 and takes the fastest that says the same as fp32; where none
    does, or none is faster, OUT is fp32.
    """
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise ExportError(f"{out} cannot be written.", "Name a .onnx file in an existing folder.")
    text = read_card_text(card_path)
    run = judged_on(read_run(checkpoint, data), for_sources)
    points = None
    if shifted_path:
        points = shifted_points(run, read_run(shifted_path, data), min_sensitivity)

    network = run.checkpoint.build()
    fp32 = to_onnx(network, run.config.input)
    known = prepared(run, spread(run.split[TRAIN], n_range_films), "range films")
    range_inputs = known
    if range_data is not None:
        range_inputs = read_range_films(range_data, run.config.input, n_range_films)
        require_same_kind(range_inputs, known)
    judge = Judge(run, fp32, points, min_sensitivity)
    with torch.inference_mode():
        logits = np.concatenate([network(torch.from_numpy(x)).numpy() for x in judge.inputs])
    same = judge.against("fp32 ONNX from torch", logits, run.checkpoint.activation)
    click.echo(str(same))
    require(same, FP32)

    reference = judge.judge("fp32", fp32, FP32)
    ladder = Ladder(
        fp32,
        range_inputs,
        lambda: prepared(run, spread(run.split[TRAIN], _N_TRAIN_FILMS), "finetuning films"),
        _to_probability(run.checkpoint.activation, reference.temperature),
        finetuning_steps,
        every_rung,
        click.echo,
        lambda steps: tqdm(steps, "finetuning", leave=False, disable=None),
    )
    click.echo(f"{HEADER}   (int8 against fp32, {len(judge.films)} validation films, one core)")
    click.echo(str(reference))
    passed: list[tuple[Verdict, Rung]] = []
    for rung in ladder.climb():
        verdict = judge.judge(rung.name, over_blocks(rung.model), INT8)
        click.echo(f"{verdict}{_remark(verdict, rung.may_be_chosen)}")
        if verdict.passes and rung.may_be_chosen:
            passed.append((verdict, rung))
            # Nothing that comes later is faster than all convolutions in int8; what correcting the
            # biases gives costs seconds.
            if rung.recipe.corrected and not rung.recipe.fp32_convs and not every_rung:
                break
    if passed:
        chosen, rung = _fastest(passed)
        quantization = rung.recipe.as_text()
        click.echo(f"Chosen: {chosen.name}.")
    else:
        chosen, quantization = reference, {}
        click.echo("Chosen: fp32, since no int8 model is both faster and the same.")
    _write(out, run, text, judge, reference, chosen, quantization, variants)


def _fastest(passed: Sequence[tuple[Verdict, Rung]]) -> tuple[Verdict, Rung]:
    """The fastest; of those that are so to within a tenth, the one nearest to fp32."""
    enough = 0.9 * max(verdict.timing.times_fp32 for verdict, _ in passed)
    fast = [each for each in passed if each[0].timing.times_fp32 >= enough]
    return min(fast, key=lambda each: each[0].comparison.probability_change)


def _write(
    out: Path,
    run: Run,
    text: CardText,
    judge: Judge,
    reference: Verdict,
    chosen: Verdict,
    quantization: dict[str, str],
    variants: tuple[str, ...],
) -> None:
    """Write the chosen model and the variants asked for, each with its evidence, all or none."""

    def written(model: onnx.ModelProto, path: Path, **facts: Any) -> Model:
        # One operating point for all: a twin that stepped in would else decide otherwise.
        card = make_card(run, text, chosen.temperature, chosen.points)
        card = dataclasses.replace(card, **facts)
        test = measure_on_test_films(run, card, write_model(model, card, path))
        final = write_model(model, with_test_figures(card, test), path)  # the same network
        evidence = evidence_of(test.answers, test.measured, final.sha256, test.where)
        evidence_path(path).write_text(evidence.to_json(), encoding="utf-8")
        return final

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.stem}-") as name:
        folder = Path(name)
        facts: dict[str, Any] = {"precision": "fp32"}
        if chosen is not reference:
            on_test = compare_on_films(
                run, run.split[TEST], reference.model, chosen, "int8 against fp32, test films"
            )
            click.echo(str(on_test))
            quantization = quantization | {
                "against fp32": f"{chosen.comparison.figures}; {on_test.figures}",
            }
            facts = {"precision": "int8", "quantization": quantization}
        if "fp32" in variants and chosen is not reference:
            twin = written(reference.model, folder / twin_path(out).name, precision="fp32")
            facts["twin_sha256"] = twin.sha256
        if "fp16" in variants:
            half = judge.judge("fp16", to_fp16(reference.model), FP16)
            click.echo(str(half.comparison))
            require(half.comparison, FP16)
            written(half.model, folder / f"{out.stem}.fp16.onnx", precision="fp16")
        model = written(chosen.model, folder / out.name, **facts)
        # The model last: its twin and what is drawn of it are there by then.
        paths = sorted(folder.iterdir(), key=lambda path: path.name == out.name)
        written_paths = [path.replace(out.with_name(path.name)) for path in paths]
    _say(model.card)
    for path in written_paths:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def _say(card: ModelCard) -> None:
    for point in card.operating_points:
        click.echo(
            f"{point.finding}: positive from {point.threshold:.3f}, temperature "
            f"{card.temperature:.2f} ({point.chosen_by})"
        )
    where = ""
    for figure in card.figures:
        if figure.measured_on != where:
            where = figure.measured_on
            click.echo(f"{figure.n_films} films, {where}:")
        click.echo(f"  {figure.name:37} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")


def _remark(verdict: Verdict, may_be_chosen: bool) -> str:
    """Why a rung is not taken."""
    why = list(verdict.faults)
    if not may_be_chosen:
        why.append("saturates on CPUs without VNNI")
    if verdict.timing.times_fp32 < MIN_TIMES_FP32:
        why.append("not faster than fp32")
    return f"   {'; '.join(why)}" if why else ""


def _to_probability(activation: str, temperature: float) -> Callable[[Tensor], Tensor]:
    """interpret.to_probability, for tensors."""
    if activation == SOFTMAX:
        return lambda logits: (logits / temperature).softmax(1)
    return lambda logits: (logits / temperature).sigmoid()


if __name__ == "__main__":
    run_command(command, "python -m export")
