"""How a model holds when films get worse: one thing at a time, by degrees.

What is changed is the prepared film, at the network's own size and with its grey values stretched
already: what preparing would put right again, such as a film's overall contrast, is not counted in
the model's favour here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_edge.errors import RefusedError
from cxr_edge.gate import check_outputs
from cxr_edge.model import Model, Outputs
from cxr_edge.model_card import Gate
from cxr_edge.preprocess import normalise
from cxr_edge.refusals import Refusals

from ...commands import film_bar
from ...config import Subset
from ...data.films import Film
from ...data.pixels import Films
from ...data.split import subset
from ..answers import Measured, Reader, measure_answers
from ..metrics import Interval, measure_part
from ..stress import brightened, disturbed, framed, noisy, turned


@dataclass(frozen=True)
class Disturbance:
    """One way in which films get worse.

    scale, unit: what a level says. untouched: the level that leaves films as they are. levels:
    rising, `untouched` among them. disturb: grey films (N, 1, H, W) from 0 to 1, by level.
    """

    name: str
    scale: str
    unit: str
    untouched: float
    levels: tuple[float, ...]
    disturb: Callable[[Tensor, float], Tensor]

    def told(self, level: float) -> str:
        return f"{level:g}{self.unit}"


def blurred(films: Tensor, sigma_px: float) -> Tensor:
    """By a Gaussian; the edge is repeated beyond the film."""
    if not sigma_px:
        return films
    reach = math.ceil(3 * sigma_px)
    at = torch.arange(-reach, reach + 1, dtype=films.dtype)
    kernel = torch.exp(-((at / sigma_px) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    wide = F.pad(films, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel.unsqueeze(2)), kernel.unsqueeze(3))


def contrasted(films: Tensor, factor: float) -> Tensor:
    """Grey values nearer to the middle grey, or above 1 farther from it."""
    return 0.5 + factor * (films - 0.5)


def saved_as_jpeg(films: Tensor, quality: float) -> Tensor:
    """Written as a JPEG of this quality and read again; at 100 not written at all."""
    if quality >= 100:
        return films
    pixels = films.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    again = np.empty_like(pixels)
    for i, film in enumerate(pixels):
        again[i] = cv2.imdecode(cv2.imencode(".jpg", film[0], options)[1], cv2.IMREAD_GRAYSCALE)
    return torch.from_numpy(again).float() / 255


def coarsened(films: Tensor, percent: float) -> Tensor:
    """Reduced to so many per cent of the side, and enlarged again."""
    size = films.shape[2:]
    small = [max(1, round(side * percent / 100)) for side in size]
    scale = partial(F.interpolate, mode="bilinear", antialias=True, align_corners=False)
    return scale(scale(films, size=small), size=size)


DISTURBANCES = (
    Disturbance(
        "noise",
        "standard deviation, part of the grey range",
        " %",
        0,
        (0, 2, 4, 8, 12, 16),
        lambda films, percent: noisy(films, percent / 100),
    ),
    Disturbance("blur", "sigma of a Gaussian", " px", 0, (0, 0.5, 1, 1.5, 2, 3), blurred),
    Disturbance(
        "contrast", "factor about the middle grey", "", 1, (0.25, 0.4, 0.6, 0.8, 1, 1.4), contrasted
    ),
    Disturbance("JPEG quality", "100: not saved", "", 100, (5, 10, 20, 40, 70, 100), saved_as_jpeg),
    Disturbance("rotation", "counter-clockwise", "°", 0, (-20, -10, -5, 0, 5, 10, 20), turned),
    Disturbance(
        "resolution",
        "part of the side that is kept",
        " %",
        100,
        (15, 25, 35, 50, 70, 100),
        coarsened,
    ),
    Disturbance(
        "brightness", "exponent of the grey value", "", 1, (0.5, 0.7, 1, 1.4, 2), brightened
    ),
    Disturbance(
        "framing",
        "part of width and height in the frame",
        " %",
        100,
        (70, 80, 90, 100, 110, 120),
        lambda films, percent: framed(films, percent / 100, percent / 100),
    ),
)


@dataclass(frozen=True)
class Level:
    """The model on films that were disturbed so much.

    measured: as if nothing were refused. refused: the part of the films that the model's gate would
    refuse; None where it has none.
    """

    level: float
    measured: Measured
    refused: Interval | None


@dataclass(frozen=True)
class RobustnessCurve:
    disturbance: Disturbance
    levels: tuple[Level, ...]

    @property
    def untouched(self) -> Level:
        return next(one for one in self.levels if one.level == self.disturbance.untouched)


def some_films(films: Sequence[Film], cached: Films, n: int) -> tuple[tuple[Film, ...], Films]:
    """About n of the films, whole patients, each source and label in the same part; all where there
    are no more. The same films give the same ones.
    """
    if n >= len(films):
        return tuple(films), cached
    chosen = set(subset(films, Subset(part=n / len(films)), seed=0))
    at = [i for i, film in enumerate(films) if film in chosen]
    return tuple(films[i] for i in at), Films(
        cached.pixels[at],
        cached.labels[at],
        tuple(cached.patients[i] for i in at),
        tuple(cached.sources[i] for i in at),
    )


def measure_robustness(
    model: Model, reader: Reader, films: Sequence[Film], cached: Films
) -> tuple[RobustnessCurve, ...]:
    """The model on N films under each of DISTURBANCES. reader: that of the model. cached: the same
    films, prepared."""
    untouched = _look(model, reader, films, cached)
    steps = [
        (disturbance, level)
        for disturbance in DISTURBANCES
        for level in disturbance.levels
        if level != disturbance.untouched
    ]
    seen = {}
    for disturbance, level in film_bar(steps, "disturbing films"):
        worse = disturbed(cached, partial(_at, disturbance, level))
        seen[disturbance.name, level] = _look(model, reader, films, worse)
    return tuple(
        RobustnessCurve(
            one,
            tuple(Level(level, *seen.get((one.name, level), untouched)) for level in one.levels),
        )
        for one in DISTURBANCES
    )


def _at(disturbance: Disturbance, level: float, films: Tensor) -> Tensor:
    return disturbance.disturb(films, level)


def _look(
    model: Model, reader: Reader, films: Sequence[Film], cached: Films
) -> tuple[Measured, Interval | None]:
    grey = cached.pixels[:, 0].numpy().astype(np.float32) / 255
    outputs = [model.answer(normalise(one[np.newaxis], model.card.input)) for one in grey]
    logits = np.concatenate([one.logits for one in outputs])
    measured = measure_answers(reader.judge(films, logits))
    gate = model.card.gate
    if gate is None:
        return measured, None
    refused = np.array([_refuses(gate, one) for one in outputs])
    return measured, measure_part(refused, cached.patients)


def _refuses(gate: Gate, outputs: Outputs) -> bool:
    """Of one film (N = 1)."""
    if outputs.conditions is None or outputs.features is None:
        return False
    try:
        check_outputs(outputs.conditions[0], outputs.features[0], gate, Refusals())
    except RefusedError:
        return True
    return False


def worst(curves: Sequence[RobustnessCurve], finding: str, figure: str) -> tuple[str, Interval]:
    """Where a figure falls lowest: what was done, in words, and the figure there. NaN where the
    films determine none."""
    found = [
        (f"{curve.disturbance.name} at {curve.disturbance.told(one.level)}", interval)
        for curve in curves
        for one in curve.levels
        if not np.isnan((interval := one.measured.findings[finding][figure]).value)
    ]
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    return min(found, key=lambda pair: pair[1].value, default=("", nothing))
