"""`python -m train stress`: what a checkpoint says of films as another hand would have made them.

Films of one hospital flatter a network that reads the frame, the tone or the sharpness rather than
the lungs. Here each of these is changed by itself and by a fixed amount; the threshold stays where
the untouched films put it.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..commands import CONTEXT, data_option, entries_of, film_bar
from ..config import TrainConfig
from ..data.films import load_films
from ..data.pixels import Films, cache_films, infer
from ..data.split import LEFT_OUT, TEST, VALIDATION, read_split
from ..errors import TrainError
from ..learn.checkpoint import load_checkpoint
from .metrics import measure


def framed(films: Tensor, width: float, height: float) -> Tensor:
    """The middle of the films, as parts of width and height; above 1 their edge is repeated."""
    return _warped(films, [[width, 0.0, 0.0], [0.0, height, 0.0]])


def turned(films: Tensor, degrees: float) -> Tensor:
    """Counter-clockwise, about the middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _warped(films, [[cos, -sin, 0.0], [sin, cos, 0.0]])


def _warped(films: Tensor, matrix: list[list[float]]) -> Tensor:
    """matrix: 2 x 3, from the result's place to the film's, both from -1 to 1."""
    theta = torch.tensor(matrix).repeat(len(films), 1, 1)
    grid = F.affine_grid(theta, list(films.shape), align_corners=False)
    return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def sharpened(films: Tensor, weight: float) -> Tensor:
    """Unsharp mask; a negative weight blurs."""
    blurred = F.avg_pool2d(F.pad(films, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return films + weight * (films - blurred)


def noisy(films: Tensor, sigma: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return films + sigma * torch.randn(films.shape, generator=generator)


def brightened(films: Tensor, exponent: float) -> Tensor:
    return films**exponent


# All on grey films (N, 1, H, W) from 0 to 1.
STRESSES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": partial(framed, width=1.0, height=1.0),
    "top and bottom cut by 13 %": partial(framed, width=1.0, height=0.87),
    "top and bottom cut by 23 %": partial(framed, width=1.0, height=0.77),
    "sides cut by 13 %": partial(framed, width=0.87, height=1.0),
    "sides cut by 23 %": partial(framed, width=0.77, height=1.0),
    "farther by 15 %": partial(framed, width=1.15, height=1.15),
    "turned by 8 degrees": partial(turned, degrees=8.0),
    "darker (gamma 1.4)": partial(brightened, exponent=1.4),
    "brighter (gamma 0.7)": partial(brightened, exponent=0.7),
    "softer": partial(sharpened, weight=-0.8),
    "sharper": partial(sharpened, weight=1.0),
    "noise of 4 %": partial(noisy, sigma=0.04),
}


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train stress runs/first/checkpoint.pt --data films/
""",
)
@click.argument("checkpoint_path", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--part",
    type=click.Choice([VALIDATION, LEFT_OUT, TEST]),
    default=VALIDATION,
    help="The part of the run's split. Films left out are joined by the validation films, since "
    "they may all have one label. Choose with these two; the test films are to be seen once.",
)
@click.option(
    "--sensitivity",
    "target",
    type=click.FloatRange(0, 1),
    default=0.96,
    help="Of the untouched films; puts the threshold.",
)
def command(checkpoint_path: Path, data: tuple[str, ...], part: str, target: float) -> None:
    """Disturb films one way at a time and print what CHECKPOINT makes of them."""
    checkpoint = load_checkpoint(checkpoint_path)
    config = TrainConfig.read(checkpoint_path.parent / "config.json")
    films_at_hand = load_films(
        entries_of(data, config.patient_pattern), config.labels, film_bar
    ).films
    split = read_split(checkpoint_path.parent / "split.csv", films_at_hand)
    chosen = split[part]
    if not chosen:
        raise TrainError(f"The run has no {part} films.", "Choose another --part.")
    if part == LEFT_OUT:
        chosen = (*chosen, *split[VALIDATION])
    films = cache_films(chosen, checkpoint.findings, config.input, film_bar, f"reading {part}")
    network = checkpoint.build()
    present = films.labels.numpy() > 0.5
    thresholds: list[float] = []
    for name, stress in STRESSES.items():
        logits = infer(network, disturbed(films, stress), config.input)
        for k, finding in enumerate(checkpoint.findings):
            if name == next(iter(STRESSES)):
                thresholds.append(float(np.quantile(logits[present[:, k], k], 1 - target)))
                n_present = int(present[:, k].sum())
                click.echo(f"{finding}: present in {n_present}, absent in {len(films) - n_present}")
            figures = measure(present[:, k], logits[:, k], thresholds[k], films.patients)
            shown = "  ".join(
                f"{figure} {figures[figure]}" for figure in ("auroc", "sensitivity", "specificity")
            )
            click.echo(f"  {name:28} {shown}")


def disturbed(films: Films, stress: Callable[[Tensor], Tensor]) -> Films:
    """stress: on grey films (N, 1, H, W) from 0 to 1; what leaves that range is cut off."""
    pixels = [
        stress(batch.float() / 255).clamp(0, 1).mul(255).round().to(torch.uint8)
        for batch in films.pixels.split(64)
    ]
    return dataclasses.replace(films, pixels=torch.cat(pixels))
