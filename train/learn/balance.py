"""Which films an epoch takes, and how often, where labels are not equally frequent.

For the ways and what they did see Buda, Maki and Mazurowski 2018 (arXiv:1710.05381). A film counts
by its label as a whole: the set of its present findings, so that "no finding" is a label too, and
two findings together are another one than each alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import Balance


def label_of_each(labels: Tensor) -> Tensor:
    """labels (N, K), 1 where present, to the number of each film's label: int64 (N,), from 0."""
    numbers: Tensor = torch.unique(labels > 0.5, dim=0, return_inverse=True)[1]
    return numbers


def epoch_order(labels: Tensor, balance: Balance, generator: torch.Generator) -> Tensor:
    """The films of one epoch, in the order they are taken: int64 (M,), M the same each time.

    labels: (N, K), 1 where present, on the CPU like the generator, which alone decides the draw.
    """
    if balance.sampling == "all":
        return torch.randperm(len(labels), generator=generator)
    return _ORDERS[balance.sampling](label_of_each(labels), generator)


def _weighted(label: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws as films, with replacement: each label as likely, then each film of it.

    Class-aware sampling (Shen, Lin and Huang 2016, arXiv:1512.05830), with independent draws.
    """
    weight = 1 / label.bincount().double()
    return torch.multinomial(weight[label], len(label), replacement=True, generator=generator)


def _oversample(label: Tensor, generator: torch.Generator) -> Tensor:
    """Every film, those of rarer labels again until each label has as many as the most frequent.

    Of one label, each film comes as often as another or once more.
    """
    most = int(label.bincount().max())
    taken = []
    for films in _by_label(label):
        rounds, rest = divmod(most, len(films))
        taken += [films.repeat(rounds), _some(films, rest, generator)]
    return _shuffled(torch.cat(taken), generator)


def _undersample(label: Tensor, generator: torch.Generator) -> Tensor:
    """Of each label as many films as the rarest has, none twice."""
    fewest = int(label.bincount().min())
    taken = [_some(films, fewest, generator) for films in _by_label(label)]
    return _shuffled(torch.cat(taken), generator)


_ORDERS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "weighted": _weighted,
    "oversample": _oversample,
    "undersample": _undersample,
}


def _by_label(label: Tensor) -> list[Tensor]:
    """The indices of each label's films."""
    return [torch.nonzero(label == number).flatten() for number in range(int(label.max()) + 1)]


def _some(films: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return _shuffled(films, generator)[:n]


def _shuffled(films: Tensor, generator: torch.Generator) -> Tensor:
    return films[torch.randperm(len(films), generator=generator)]
