"""AUGMENT: training films as another machine, another day and another hand would have made them.

Plain tensor code on whole batches: uint8 films in, float films out. Aimed at what differs between
sites and says nothing of the lungs: tone curve, sharpness, framing, markers, noise.

Films may lie on any device. The random numbers are drawn on the CPU and moved there, so that a seed
means the same draw everywhere.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from .randaugment import MOST as MOST_MAGNITUDE
from .randaugment import rand_augment

# The largest value of each setting that still leaves a film; the smallest is 0 everywhere.
_MOST = {
    "tone_transfer": 1.0,
    "gamma": 4.0,
    "contrast": 1.0,
    "brightness": 1.0,
    "rotation_deg": 180.0,
    "zoom": 2.0,
    "stretch": 2.0,
    "shear": 1.0,
    "shift": 1.0,
    "flip": 1.0,
    "sharpness": 4.0,
    "noise": 1.0,
    "erase": 1.0,
    "surround": 1.0,
    "randaugment_n": 10,
    "randaugment_m": MOST_MAGNITUDE,
}


@dataclass(frozen=True)
class Augmentation:
    """Ranges; 0 turns a step off. Lengths are parts of the film's side.

    tone_transfer: probability of taking on another film's grey-value distribution.
    gamma, contrast, brightness: largest change (gamma as a log2 exponent).
    rotation_deg, zoom, stretch, shear, shift: largest change of the geometry (zoom and stretch as
    log2 exponents, shift is the translation either way). flip: probability of mirroring.
    sharpness: largest weight of an unsharp mask, either way (negative blurs).
    noise: largest standard deviation. erase: probability of covering a rectangle, tried twice.
    surround: probability of taking on another film's surroundings of the lungs, whatever its label:
    what is read there must say nothing (see measure.blackout).
    randaugment_n, randaugment_m: RandAugment before all the others, so many operations per film
    at this magnitude of 0 to 30.
    Raises ValueError that names a setting out of its range.
    """

    tone_transfer: float = 0.4
    gamma: float = 0.5
    contrast: float = 0.2
    brightness: float = 0.08
    rotation_deg: float = 12.0
    zoom: float = 0.26
    stretch: float = 0.2
    shear: float = 0.08
    shift: float = 0.06
    flip: float = 0.5
    sharpness: float = 0.8
    noise: float = 0.03
    erase: float = 0.25
    surround: float = field(default=0.0, kw_only=True)
    randaugment_n: int = field(default=0, kw_only=True)
    randaugment_m: float = field(default=9.0, kw_only=True)

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 0 <= value <= most:  # this way round, not-a-number is refused too
                raise ValueError(
                    f"augmentation.{name} is {value}; it must lie between 0 and {most:g}"
                )


NO_AUGMENTATION = Augmentation(*([0.0] * 13), randaugment_n=0)


def augment(films: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """uint8 (N, 1, H, W) to float32 (N, 1, H, W), 0 black to 1 white, on the films' device.

    generator: on the CPU. The films themselves are left as they are.
    """
    if settings.randaugment_n:
        films = rand_augment(films, settings.randaugment_n, settings.randaugment_m, generator)
    x = _tone(films, settings, generator)
    x = _surround(x, settings, generator)
    x = _geometry(x, settings, generator)
    x = _sharpness(x, settings, generator)
    if settings.noise:
        sigma = _uniform(x, generator, 0, settings.noise)
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        x = x + noise * sigma[:, None, None, None]
    x = _erase(x, settings, generator)
    return x.clamp_(0, 1)


def _uniform(films: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """One number for each film, on the films' device."""
    drawn = torch.rand(len(films), generator=generator) * (high - low) + low
    return drawn.to(films.device)


def _tone(films: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """One look-up table per film: another film's histogram, then gamma, contrast, brightness."""
    n = len(films)
    levels = torch.linspace(0, 1, 256, device=films.device).repeat(n, 1)  # (N, 256)
    if settings.tone_transfer:
        # Every fourth pixel either way is enough for a histogram.
        values = films[:, 0, ::4, ::4].flatten(1).float().div(255).sort(dim=1).values
        other = values[torch.randperm(n, generator=generator).to(films.device)]
        rank = torch.searchsorted(values, levels).clamp_(max=values.shape[1] - 1)
        transferred = other.gather(1, rank)
        chosen = torch.rand(n, generator=generator) < settings.tone_transfer
        amount = (torch.rand(n, generator=generator) * chosen).to(films.device)
        levels = torch.lerp(levels, transferred, amount[:, None])
    exponent = 2 ** _uniform(films, generator, -settings.gamma, settings.gamma)
    gain = 1 + _uniform(films, generator, -settings.contrast, settings.contrast)
    offset = _uniform(films, generator, -settings.brightness, settings.brightness)
    levels = levels.clamp(0, 1) ** exponent[:, None]
    levels = (levels - 0.5) * gain[:, None] + 0.5 + offset[:, None]
    return levels.clamp(0, 1).gather(1, films.flatten(1).long()).view(films.shape)


def _surround(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Some films with another film's border, neck and abdomen around their own lungs."""
    if not settings.surround:
        return x
    n, _, height, width = x.shape
    other = x[torch.randperm(n, generator=generator).to(x.device)]
    chosen = torch.rand(n, generator=generator) < settings.surround
    # How far the other film reaches in, from little to all but the lungs.
    left, right, top, bottom = (0.03 + 0.15 * torch.rand(4, n, 1, generator=generator)).unbind()
    columns, rows = ((torch.arange(side) + 0.5) / side for side in (width, height))
    within_columns = (columns > left) & (columns < 1 - right)  # (N, W)
    within_rows = (rows > top) & (rows < 1 - bottom)  # (N, H)
    own = within_rows[:, None, :, None] & within_columns[:, None, None, :]
    return torch.where((own | ~chosen[:, None, None, None]).to(x.device), x, other)


def _geometry(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    n = len(x)
    if not any((settings.rotation_deg, settings.zoom, settings.stretch, settings.shear)) and not (
        settings.shift or settings.flip
    ):
        return x
    angle = _uniform(x, generator, -1, 1) * math.radians(settings.rotation_deg)
    # More often closer than farther: a tighter frame loses what a shortcut would use.
    zoom = 2 ** _uniform(x, generator, -settings.zoom * 1.5, settings.zoom * 0.75)
    stretch = 2 ** _uniform(x, generator, -settings.stretch, settings.stretch)
    shear = _uniform(x, generator, -settings.shear, settings.shear)
    mirror = 1 - 2 * (_uniform(x, generator, 0, 1) < settings.flip).float()
    # Twice, as the film reaches from -1 to 1.
    shift = (torch.rand(n, 2, generator=generator) - 0.5) * 4 * settings.shift
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.zeros(n, 2, 3, device=x.device)
    matrix[:, 0, 0] = zoom * stretch * cos * mirror
    matrix[:, 0, 1] = zoom * (shear - sin)
    matrix[:, 1, 0] = zoom * sin * mirror
    matrix[:, 1, 1] = zoom / stretch * cos
    matrix[:, :, 2] = shift.to(x.device)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)


def _sharpness(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    if not settings.sharpness:
        return x
    weight = _uniform(x, generator, -1, 1) * settings.sharpness
    blurred = F.avg_pool2d(F.avg_pool2d(x, 3, 1, 1), 3, 1, 1)
    return x + (x - blurred) * weight[:, None, None, None]


def _erase(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    if not settings.erase:
        return x
    height, width = x.shape[2:]
    for _ in range(2):
        for i in torch.nonzero(torch.rand(len(x), generator=generator) < settings.erase).flatten():
            h, w, top, left, grey = torch.rand(5, generator=generator).tolist()
            rows = int(height * (0.06 + 0.24 * h))
            columns = int(width * (0.06 + 0.24 * w))
            y, z = int((height - rows) * top), int((width - columns) * left)
            x[i, :, y : y + rows, z : z + columns] = grey
    return x
