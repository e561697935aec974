"""A contact sheet: films as they are and as the augmentation shows them to the network."""

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import TrainError
from .augment import Augmentation, augment


def draw_sheet(
    pixels: Tensor,
    titles: Sequence[str],
    augmentation: Augmentation,
    seed: int,
    path: Path,
    n_draws: int = 6,
) -> None:
    """Write a PNG: a row for each film, first as it is, then under `n_draws` draws.

    pixels: uint8 (N, 1, H, W) as prepared, at least one film; titles: N. Grey values are taken over
    from the other films of the sheet. The sheet shows films: it belongs where they may lie.
    Raises TrainError: the file cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = {"as it is": pixels.float() / 255}
    for draw in range(1, n_draws + 1):
        columns[f"draw {draw}"] = augment(pixels, augmentation, generator)
    height, width = pixels.shape[2:]
    side = 1.6  # inches
    figure = Figure(
        (side * (len(columns) + 1), side * height / width * len(pixels) + 1),
        layout="constrained",
    )
    panels = figure.subplots(len(pixels), len(columns), squeeze=False)
    for column, (heading, films) in enumerate(columns.items()):
        panels[0, column].set_title(heading, fontsize=8)
        for row, film in enumerate(films.cpu()):
            panel = panels[row, column]
            panel.imshow(film[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
    for panel, title in zip(panels[:, 0], titles, strict=True):
        panel.set_ylabel(textwrap.fill(title, 16), fontsize=8, parse_math=False)
    figure.supxlabel(textwrap.fill(_recipe(augmentation), 22 * len(columns)), fontsize=7)
    try:
        # A JPEG is a tenth of the size; anything else is written as PNG.
        is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
        figure.savefig(path, format="jpeg" if is_jpeg else "png", dpi=150)
    except OSError as exc:
        raise TrainError(
            f"{path} cannot be written ({exc.strerror}).",
            "Name a .png or .jpg file in a folder that exists and can be written to.",
        ) from exc


def _recipe(augmentation: Augmentation) -> str:
    """The steps that are on, in words and figures."""
    steps = [
        f"{name} {value:g}" for name, value in dataclasses.asdict(augmentation).items() if value
    ]
    if not augmentation.randaugment_n:
        steps = [step for step in steps if not step.startswith("randaugment_m")]
    return ", ".join(steps) or "no augmentation"
