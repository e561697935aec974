"""`python -m train blackout`: what is left to read once the lungs are painted over.

A network that is right without seeing the lungs reads the frame: the hospital, the marker, the
patient's age, the way a public set was put together. Maguolo & Nanni 2021 (PMC8086233) told the
source of COVID-19 films so, lungs blacked out, as well as with them; see also DeGrave et al. 2021
(10.1038/s42256-021-00338-7) and Zech et al. 2018 (10.1371/journal.pmed.1002683).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..commands import CONTEXT, data_option, entries_of, film_bar
from ..config import TrainConfig
from ..data.films import Film, load_films
from ..data.pixels import Films
from ..data.split import LEFT_OUT, TEST, TRAIN, VALIDATION, read_split
from ..errors import TrainError
from ..learn.checkpoint import load_checkpoint
from ..learn.processes import device_of
from .answers import (
    Measured,
    Reader,
    measure_answers,
    read_films,
    reader_of_checkpoint,
)
from .metrics import Interval, measure_labels

# Parts of the width and the height: a generous box around both lungs and the heart of a frontal
# film. There are no lung masks at hand; shoulders, neck, abdomen, border and markers remain.
LEFT, RIGHT, TOP, BOTTOM = 0.12, 0.88, 0.12, 0.85
BORDER = 0.05  # the same, of the outer frame: what a scanner, a printer or a cropping hand adds
THUMBNAIL_PX = 16
MIN_PATIENTS = 4  # of a source, for each half to have two


def black_out_lungs(pixels: Tensor) -> Tensor:
    """Films uint8 (N, 1, H, W) with the lung fields painted over, as a copy.

    What a film's grey values were stretched to (InputSpec.black_percentile) was taken with its
    lungs.
    """
    return _painted_over(pixels, LEFT, RIGHT, TOP, BOTTOM)


def only_borders(pixels: Tensor) -> Tensor:
    """Films uint8 (N, 1, H, W) with all but their outer frame painted over, as a copy."""
    return _painted_over(pixels, BORDER, 1 - BORDER, BORDER, 1 - BORDER)


def _painted_over(pixels: Tensor, left: float, right: float, top: float, bottom: float) -> Tensor:
    """The paint is the mean grey of what remains of the film: black would draw the box's outline,
    and the whole film's mean would still tell how dense the lungs are.
    """
    height, width = pixels.shape[2:]
    outside = torch.ones(height, width, dtype=torch.bool)
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    outside[rows, columns] = False
    painted = pixels.clone()
    grey = pixels[:, :, outside].float().mean(2).round().to(torch.uint8)  # (N, 1)
    painted[:, :, rows, columns] = grey[:, :, None, None]
    return painted


@dataclass(frozen=True)
class Blackout:
    """What was made of films of which a part is hidden: their lungs, or more.

    measured: the model's answers to them. sources: those that were to be told apart; with fewer
    than two the rest is None. from_films, from_answers: the balanced accuracy with which a small
    probe tells the source from thumbnails of these films, and from the model's logits on them.
    """

    measured: Measured
    sources: tuple[str, ...]
    from_films: Interval | None
    from_answers: Interval | None

    @property
    def chance(self) -> float:
        """The balanced accuracy of guessing the source."""
        return 1 / max(1, len(self.sources))


def measure_blackout(
    reader: Reader,
    films: Sequence[Film],
    cached: Films,
    hide: Callable[[Tensor], Tensor] = black_out_lungs,
) -> Blackout:
    """Hide a part of N films and measure what the reader, and a probe, still make of them.

    cached: the same films, whole. hide: films uint8 (N, 1, H, W) to what is left of them.
    """
    blind = dataclasses.replace(cached, pixels=hide(cached.pixels))
    logits = reader.logits(blind)
    of_source = _patients_of(films)
    sources = tuple(
        source for source, patients in sorted(of_source.items()) if len(patients) >= MIN_PATIENTS
    )
    chosen = np.array([film.source in sources for film in films])
    known = [film for film, keep in zip(films, chosen, strict=True) if keep]
    from_films = from_answers = None
    if len(sources) > 1:
        thumbnails = F.adaptive_avg_pool2d(blind.pixels.float(), THUMBNAIL_PX).flatten(1).numpy()
        from_films, from_answers = (
            tell_source(features[chosen], known, sources) for features in (thumbnails, logits)
        )
    return Blackout(measure_answers(reader.judge(films, logits)), sources, from_films, from_answers)


def tell_source(
    features: NDArray[np.floating], films: Sequence[Film], sources: Sequence[str]
) -> Interval:
    """The balanced accuracy with which a linear probe tells N films' sources by features (N, F).

    Multinomial logistic regression, each source weighing the same, learned on half of each
    source's patients and measured on the other half, then the other way round.
    """
    source = np.array([sources.index(film.source) for film in films])
    half = _halves(films)
    probability = np.zeros((len(films), len(sources)))
    for tested in (0, 1):
        learned, held = half != tested, half == tested
        probability[held] = _probe(features[learned], source[learned], features[held], len(sources))
    figures = measure_labels(
        source, probability.argmax(1), probability, [film.group for film in films]
    )
    return figures["balanced accuracy"]


def blackout_lines(blackout: Blackout, whole: Measured) -> list[str]:
    """Both readings as text. whole: the figures of the same films as they are."""
    lines = []
    for finding, figures in blackout.measured.findings.items():
        of_whole = whole.findings[finding]["auroc"]
        lines.append(f"{finding}: AUROC {figures['auroc']} without lungs, {of_whole} with them")
    if blackout.measured.overall:
        of_whole = whole.overall["balanced accuracy"]
        without = blackout.measured.overall["balanced accuracy"]
        lines.append(f"all labels: balanced accuracy {without} without lungs, {of_whole} with them")
    if blackout.from_films and blackout.from_answers:
        chance = f"chance is {blackout.chance:.3f}"
        n = len(blackout.sources)
        lines += [
            f"source, one of {n}, told without lungs by thumbnails of {THUMBNAIL_PX} px: balanced "
            f"accuracy {blackout.from_films}; {chance}",
            f"source, one of {n}, told without lungs by the model's logits: balanced accuracy "
            f"{blackout.from_answers}; {chance}",
        ]
    else:
        lines.append("source: the films do not come from several, so that there is none to tell")
    return lines


def _patients_of(films: Sequence[Film]) -> dict[str, set[str]]:
    patients: dict[str, set[str]] = {}
    for film in films:
        patients.setdefault(film.source, set()).add(film.group)
    return patients


def _halves(films: Sequence[Film]) -> NDArray[np.int64]:
    """0 or 1 for each film: half of each source's patients, drawn by lot."""
    rng = np.random.default_rng(0)
    side: dict[str, int] = {}
    for _, patients in sorted(_patients_of(films).items()):
        # A patient with films of two sources stays on the side where the first put it.
        new = sorted(patients - side.keys())
        side |= {new[at]: turn % 2 for turn, at in enumerate(rng.permutation(len(new)))}
    return np.array([side[film.group] for film in films])


def _probe(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    others: NDArray[np.floating],
    n_labels: int,
) -> NDArray[np.float64]:
    """Probabilities (M, S) of `others` (M, F), learned from features (N, F) and labels (N,)."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    x, y = torch.from_numpy((features - mean) / std).double(), torch.from_numpy(labels)
    weight = 1 / torch.bincount(y, minlength=n_labels).clamp(min=1).double()
    layer = torch.zeros(x.shape[1] + 1, n_labels, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([layer], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = x @ layer[1:] + layer[0]
        value = F.cross_entropy(logits, y, weight) + 0.01 * layer[1:].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        logits = torch.from_numpy((others - mean) / std).double() @ layer[1:] + layer[0]
        return logits.softmax(1).numpy()


@click.command(
    "blackout",
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train blackout runs/first/checkpoint.pt --data films/

An AUROC near 0.5 and a source told no better than by chance mean that the rest of the film says
nothing. The lungs are a fixed box: a film taken askew may show some of them.
""",
)
@click.argument("checkpoint_path", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--part",
    type=click.Choice([VALIDATION, LEFT_OUT, TEST, TRAIN]),
    default=VALIDATION,
    help="The part of the run's split; the test films are to be seen once.",
)
def command(checkpoint_path: Path, data: tuple[str, ...], part: str) -> None:
    """Paint the lungs over and see what CHECKPOINT, and a small probe, still tell."""
    checkpoint = load_checkpoint(checkpoint_path)
    folder = checkpoint_path.parent
    config = TrainConfig.read(folder / "config.json")
    labels = dataclasses.replace(config.labels, findings=checkpoint.findings)
    at_hand = load_films(entries_of(data, config.patient_pattern), labels, film_bar).films
    split = read_split(folder / "split.csv", at_hand)
    if not split[part]:
        raise TrainError(f"The run has no {part} films.", "Choose another --part.")
    reader = reader_of_checkpoint(checkpoint, config, device_of("auto"))
    films, cached, unanswered = read_films(split[part], reader, film_bar, f"reading {part}")
    whole = measure_answers(reader.judge(films, reader.logits(cached)))
    click.echo(f"{len(films)} {part} films of {whole.n_patients} patients; not for diagnostic use")
    if unanswered:
        click.echo(f"{len(unanswered)} more could not be read")
    for line in blackout_lines(measure_blackout(reader, films, cached), whole):
        click.echo(f"  {line}")
