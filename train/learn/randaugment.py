"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) for grey films, in plain tensor code.

The paper's operations that another radiograph could show, with its ranges as torchvision has them
(torchvision.transforms.RandAugment). Left out: solarize, whose bright half turned negative is no
radiograph anyone could have taken, and colour, which a grey film does not have. What an operation
moves in from outside the film is black, like the air around a patient, not the paper's grey.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

MOST = 30.0  # the paper's largest magnitude


def rand_augment(films: Tensor, n: int, magnitude: float, generator: torch.Generator) -> Tensor:
    """Each film goes through `n` operations of its own choice; one may come twice.

    films: uint8 (N, 1, H, W), left as they are; the result is of the same kind, on their device.
    magnitude: of every operation, 0 to MOST; which way it goes (left or right, brighter or darker)
    is drawn. generator: on the CPU.
    """
    films = films.clone()
    for _ in range(n):
        operation = torch.randint(len(OPERATIONS), (len(films),), generator=generator)
        sign = torch.randint(2, (len(films),), generator=generator) * 2 - 1
        amount = (sign * (magnitude / MOST)).to(films.device)
        for index, operate in enumerate(OPERATIONS.values()):
            chosen = torch.nonzero(operation == index).flatten().to(films.device)
            if len(chosen):
                films[chosen] = operate(films[chosen], amount[chosen])
    return films


def _autocontrast(films: Tensor, _: Tensor) -> Tensor:
    """The darkest pixel becomes black, the brightest white; a film of one grey stays."""
    darkest, brightest = films.amin((2, 3), keepdim=True), films.amax((2, 3), keepdim=True)
    stretched = (films - darkest) * (255 / (brightest - darkest).clamp(min=1))
    return torch.where(brightest > darkest, _to_uint8(stretched), films)


def _equalize(films: Tensor, _: Tensor) -> Tensor:
    """Each grey becomes the part of the film that is darker; a film of one grey stays."""
    levels = films.flatten(1).long()
    counts = torch.zeros(len(films), 256, dtype=torch.long, device=films.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    darker = counts.cumsum(1) - counts
    most = darker.gather(1, levels.amax(1, keepdim=True))
    table = _to_uint8(darker * (255 / most.clamp(min=1)))
    return torch.where(most[:, :, None, None] > 0, table.gather(1, levels).view_as(films), films)


def _rotate(films: Tensor, amount: Tensor) -> Tensor:
    """By up to 30 degrees."""
    angle = amount * math.radians(30)
    return _moved(films, (angle.cos(), -angle.sin(), 0), (angle.sin(), angle.cos(), 0))


def _shear_x(films: Tensor, amount: Tensor) -> Tensor:
    """Up to 0.3 px to the side for each pixel up or down."""
    return _moved(films, (1, amount * 0.3, 0), (0, 1, 0))


def _shear_y(films: Tensor, amount: Tensor) -> Tensor:
    return _moved(films, (1, 0, 0), (amount * 0.3, 1, 0))


def _translate_x(films: Tensor, amount: Tensor) -> Tensor:
    """By up to 0.45 of the width; a positive amount moves the film to the right."""
    return _moved(films, (1, 0, amount * (-0.45 * films.shape[3])), (0, 1, 0))


def _translate_y(films: Tensor, amount: Tensor) -> Tensor:
    return _moved(films, (1, 0, 0), (0, 1, amount * (-0.45 * films.shape[2])))


def _brightness(films: Tensor, amount: Tensor) -> Tensor:
    """Up to 0.9 brighter or darker, black staying black."""
    return _away_from(torch.zeros_like(films), films, amount)


def _contrast(films: Tensor, amount: Tensor) -> Tensor:
    """Up to 0.9 farther from the film's mean grey, or nearer to it."""
    return _away_from(films.float().mean((2, 3), keepdim=True), films, amount)


def _sharpness(films: Tensor, amount: Tensor) -> Tensor:
    """Up to 0.9 farther from the smoothed film, or nearer to it; the border stays."""
    kernel = torch.ones(1, 1, 3, 3, device=films.device)
    kernel[:, :, 1, 1] = 5
    smooth = films.float()
    smooth[..., 1:-1, 1:-1] = F.conv2d(smooth, kernel / 13)
    return _away_from(smooth, films, amount)


def _posterize(films: Tensor, amount: Tensor) -> Tensor:
    """Up to 4 of the 8 bits of each grey are cut off."""
    step = (2 ** (amount.abs() * 4).round()).to(torch.uint8)[:, None, None, None]
    return films - films % step


# Each takes films, uint8 (N, 1, H, W), and the amounts, (N,) from -1 to 1, and gives films back.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda films, _: films,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear x": _shear_x,
    "shear y": _shear_y,
    "translate x": _translate_x,
    "translate y": _translate_y,
}


def _away_from(other: Tensor, films: Tensor, amount: Tensor) -> Tensor:
    return _to_uint8(films + (films - other.float()) * (amount * 0.9)[:, None, None, None])


_Row = tuple[Tensor | float, Tensor | float, Tensor | float]


def _moved(films: Tensor, to_x: _Row, to_y: _Row) -> Tensor:
    """Each pixel is taken from where the rows send its x, y and 1, in pixels from the centre."""
    height, width = films.shape[2:]
    # affine_grid counts from -1 to 1 across a film, whatever its shape.
    matrix = torch.zeros(len(films), 2, 3, device=films.device)
    for row, (values, side) in enumerate(((to_x, width), (to_y, height))):
        for column, (value, of) in enumerate(zip(values, (width, height, 2), strict=True)):
            matrix[:, row, column] = value * of / side
    grid = F.affine_grid(matrix, list(films.shape), align_corners=False)
    return _to_uint8(F.grid_sample(films.float(), grid, align_corners=False))


def _to_uint8(films: Tensor) -> Tensor:
    return films.round().clamp(0, 255).to(torch.uint8)
