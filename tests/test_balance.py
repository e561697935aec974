"""Each way of balancing takes the films it says, as often as it says, drawn by the generator."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from train.config import SAMPLINGS, Balance
from train.learn.balance import epoch_order, label_of_each

# Two findings, not exclusive: 7 films without, 4 with the first, 2 with both, 1 with the second.
LABELS = torch.tensor([[0, 0]] * 7 + [[1, 0]] * 4 + [[1, 1]] * 2 + [[0, 1]]).float()
COUNTS = {(0, 0): 7, (1, 0): 4, (1, 1): 2, (0, 1): 1}


def order(sampling: str, seed: int = 0, labels: Tensor = LABELS) -> Tensor:
    return epoch_order(labels, Balance(sampling), torch.Generator().manual_seed(seed))


def label_counts(films: Tensor) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row) for row in LABELS[films].int().tolist())


def film_counts(films: Tensor) -> list[int]:
    return films.bincount(minlength=len(LABELS)).tolist()


def test_findings_together_are_a_label_of_their_own_and_so_is_none() -> None:
    numbers = label_of_each(LABELS)
    assert sorted(numbers.bincount().tolist()) == [1, 2, 4, 7]
    assert [len(numbers[s].unique()) for s in (slice(7), slice(7, 11), slice(11, 13))] == [1, 1, 1]


def test_an_exclusive_films_label_is_its_output() -> None:
    outputs = torch.tensor([2, 0, 1, 1, 0])
    numbers = label_of_each(torch.eye(3)[outputs])
    assert torch.equal(numbers[:, None] == numbers, outputs[:, None] == outputs)


def test_all_takes_each_film_once_in_the_order_that_the_generator_shuffles() -> None:
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(order("all", 5), torch.randperm(len(LABELS), generator=generator))


def test_weighted_draws_as_many_films_and_each_label_as_often() -> None:
    drawn = [order("weighted", seed) for seed in range(400)]
    assert {len(films) for films in drawn} == {len(LABELS)}
    counts = label_counts(torch.cat(drawn))
    for label in COUNTS:  # 5600 draws of probability 1/4: 1400, standard deviation 32
        assert abs(counts[label] - 1400) < 5 * 32
    of_most = film_counts(torch.cat(drawn))[:7]  # 200 each, standard deviation 14
    assert min(of_most) > 200 - 5 * 14 and max(of_most) < 200 + 5 * 14


def test_oversample_brings_every_label_to_the_most_frequent_ones_number() -> None:
    films = order("oversample")
    assert label_counts(films) == dict.fromkeys(COUNTS, 7)
    times = film_counts(films)
    assert times[:7] == [1] * 7
    assert sorted(times[7:11]) == [1, 2, 2, 2]  # four films make seven: one whole round and three
    assert sorted(times[11:13]) == [3, 4]
    assert times[13] == 7


def test_undersample_takes_of_each_label_as_many_as_the_rarest_has() -> None:
    labels = LABELS[torch.tensor([i for i in range(14) if i != 10])]  # 7, 3, 2, 1
    labels = torch.cat([labels, labels[-1:]])  # 7, 3, 2, 2
    films = order("undersample", labels=labels)
    assert Counter(label_of_each(labels)[films].tolist()) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert films.unique().numel() == 8  # none twice


def test_undersample_comes_to_all_films_over_the_epochs() -> None:
    generator = torch.Generator().manual_seed(0)
    epochs = [epoch_order(LABELS, Balance("undersample"), generator) for _ in range(60)]
    assert torch.cat(epochs).unique().numel() == len(LABELS)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_generator_alone_decides_the_draw(sampling: str) -> None:
    torch.manual_seed(1)
    first = order(sampling, 3)
    torch.manual_seed(2)
    assert torch.equal(first, order(sampling, 3))
    assert not torch.equal(first, order(sampling, 4))


@pytest.mark.parametrize(
    ("sampling", "n"), [("all", 14), ("weighted", 14), ("oversample", 28), ("undersample", 4)]
)
def test_every_epoch_is_as_long_as_the_others(sampling: str, n: int) -> None:
    assert {len(order(sampling, seed)) for seed in range(5)} == {n}


@pytest.mark.parametrize("sampling", ["oversample", "undersample"])
def test_the_labels_are_shuffled_among_each_other(sampling: str) -> None:
    labels = torch.eye(2)[torch.tensor([0] * 40 + [1] * 40)]
    of_order = label_of_each(labels)[order(sampling, labels=labels)]
    changes = int((of_order.diff() != 0).sum())
    assert 20 < changes < 60  # 40 are expected of a shuffle, 1 without


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_films_of_one_label_are_all_taken(sampling: str) -> None:
    films = order(sampling, labels=torch.ones(5, 1))
    assert len(films) == 5
    assert films.min() >= 0 and films.max() < 5
