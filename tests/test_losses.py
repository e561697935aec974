"""The loss against PyTorch's own and against hand computations; parts of a batch add up to it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from train.config import Balance, Labels, Optimisation, Teaching, TrainConfig
from train.errors import TrainError
from train.learn.losses import Loss, make_loss

PLAIN = TrainConfig(optimisation=Optimisation(label_smoothing=0.0))
# Of eight training films 4, 2 and 1 have the finding.
MANY = torch.tensor(
    [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
).float()
ONE_EACH = torch.eye(3)[torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])]  # 5, 2 and 1 of eight


def config(
    exclusive: bool = False,
    weighted: bool = False,
    gamma: float = 0.0,
    smoothing: float = 0.0,
    teacher: float = 0.0,
) -> TrainConfig:
    return replace(
        PLAIN,
        labels=Labels(exclusive=exclusive),
        balance=Balance(weighted_loss=weighted, focal_gamma=gamma),
        optimisation=Optimisation(label_smoothing=smoothing),
        teaching=Teaching(weight=teacher),
    )


def logits(n: int = 8, seed: int = 0) -> Tensor:
    drawn = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * 2
    return drawn.requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss, of)[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.03])
def test_of_independent_findings_it_is_binary_cross_entropy(
    weighted: bool, smoothing: float
) -> None:
    z = logits()
    loss = make_loss(MANY, config(weighted=weighted, smoothing=smoothing))(z, MANY, 8)
    absent_over_present = torch.tensor([4 / 4, 6 / 2, 7 / 1]) if weighted else None
    smooth = MANY * (1 - smoothing) + 0.5 * smoothing
    theirs = F.binary_cross_entropy_with_logits(z, smooth, pos_weight=absent_over_present)
    assert torch.allclose(loss, theirs)
    assert torch.allclose(gradient(loss, z), gradient(theirs, z), atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_exclusive_labels_it_is_cross_entropy(weighted: bool, smoothing: float) -> None:
    z = logits()
    loss = make_loss(ONE_EACH, config(True, weighted, smoothing=smoothing))(z, ONE_EACH, 8)
    weights = torch.tensor([8 / (3 * 5), 8 / (3 * 2), 8 / (3 * 1)]) if weighted else None
    theirs = F.cross_entropy(z, ONE_EACH, weight=weights, label_smoothing=smoothing)
    assert torch.allclose(loss, theirs)
    assert torch.allclose(gradient(loss, z), gradient(theirs, z), atol=1e-7)


def test_weights_let_each_label_count_the_same_where_the_network_knows_nothing() -> None:
    z = torch.zeros(8, 3)
    for exclusive, labels in ((True, ONE_EACH), (False, MANY)):
        loss = make_loss(labels, config(exclusive, weighted=True))
        of_film = torch.stack(
            [loss(z[i : i + 1], labels[i : i + 1], 8) for i in range(8)]
        )  # each alone
        if exclusive:
            of_label = labels.T @ of_film
            assert torch.allclose(of_label, of_label[:1].expand(3))
        else:
            pull = gradient(loss(z.requires_grad_(), labels, 8), z).sum(0)
            assert torch.allclose(pull, torch.zeros(3), atol=1e-7)  # present as much as absent


def test_focal_loss_of_a_finding_by_hand() -> None:
    # p = 3/4 for a film that has the finding and for one that has not.
    z = torch.full((2, 1), math.log(3))
    labels = torch.tensor([[1.0], [0.0]])
    loss = make_loss(labels, config(gamma=2.0))
    by_hand = [(1 / 4) ** 2 * -math.log(3 / 4), (3 / 4) ** 2 * -math.log(1 / 4)]
    assert loss(z, labels, 2).item() == pytest.approx(sum(by_hand) / 2)
    assert loss(z[:1], labels[:1], 2).item() == pytest.approx(by_hand[0] / 2)


def test_focal_loss_of_exclusive_labels_by_hand() -> None:
    probability = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    labels = torch.eye(3)[torch.tensor([0, 1])]
    loss = make_loss(labels, config(True, gamma=2.0))(probability.log(), labels, 2)
    by_hand = 0.5**2 * -math.log(0.5) + 0.9**2 * -math.log(0.1)
    assert loss.item() == pytest.approx(by_hand / 2, rel=1e-5)


@pytest.mark.parametrize("exclusive", [False, True])
def test_focal_loss_of_an_uncertain_target_is_the_mean_over_what_it_may_be(
    exclusive: bool,
) -> None:
    z = logits(1)
    sides = torch.eye(3)[:2] if exclusive else torch.tensor([[1.0, 0, 0], [0.0, 0, 0]])
    loss = make_loss(sides, config(exclusive, gamma=1.5))
    between = 0.7 * sides[:1] + 0.3 * sides[1:]
    mean = 0.7 * loss(z, sides[:1], 1) + 0.3 * loss(z, sides[1:], 1)
    assert torch.allclose(loss(z, between, 1), mean)


@pytest.mark.parametrize("exclusive", [False, True])
def test_focal_loss_attends_to_films_that_are_still_wrong(exclusive: bool) -> None:
    z = torch.tensor([[4.0, -4.0, -4.0], [-1.0, 1.0, 1.0]])
    labels = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    parts = []
    for gamma in (0.0, 2.0):
        loss = make_loss(labels, config(exclusive, gamma=gamma))
        right, wrong = loss(z[:1], labels[:1], 2), loss(z[1:], labels[1:], 2)
        parts.append((right / wrong).item())
    assert parts[1] < parts[0] / 100


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_loss_and_gradient_stay_finite_where_the_network_is_certain(
    exclusive: bool, gamma: float
) -> None:
    z = torch.tensor([[300.0, -300.0, -300.0], [-300.0, 300.0, 300.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    loss = make_loss(labels, config(exclusive, gamma=gamma))(z, labels, 2)
    assert loss.isfinite()
    assert gradient(loss, z).isfinite().all()


@pytest.mark.parametrize("exclusive", [False, True])
def test_parts_of_a_batch_add_up_to_it(exclusive: bool) -> None:
    labels = ONE_EACH if exclusive else MANY
    z, teacher = logits(), torch.full((8, 3), 1 / 3)
    loss = make_loss(labels, config(exclusive, True, 2.0, 0.05, 0.3))
    whole = loss(z, labels, 8, teacher)
    parts = [loss(z[part], labels[part], 8, teacher[part]) for part in torch.arange(8).split(3)]
    assert torch.allclose(sum(parts), whole)
    summed = sum(gradient(part, z) for part in parts)
    assert torch.allclose(summed, gradient(whole, z), atol=1e-7)


def test_the_teacher_takes_its_part_of_the_target() -> None:
    z = logits()
    teacher = torch.rand(8, 3, generator=torch.Generator().manual_seed(1))
    loss = make_loss(MANY, config(smoothing=0.1, teacher=0.25))
    target = 0.75 * (0.9 * MANY + 0.05) + 0.25 * teacher
    assert torch.allclose(loss(z, MANY, 8, teacher), F.binary_cross_entropy_with_logits(z, target))
    only_teacher = make_loss(ONE_EACH, config(True, teacher=1.0))
    probability = teacher.softmax(1)
    assert torch.allclose(
        only_teacher(z, ONE_EACH, 8, probability), F.cross_entropy(z, probability)
    )


def test_a_taught_loss_without_the_teachers_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher"):
        make_loss(MANY, config(teacher=0.5))(logits(), MANY, 8)


@pytest.mark.parametrize(
    ("labels", "lacking"),
    [
        (Labels(("pneumonia", "effusion", "nodule")), "effusion"),
        (Labels(("nodule", "effusion", "no finding"), exclusive=True), "effusion"),
        (Labels(("effusion", "nodule"), exclusive=True), "effusion"),  # after "no finding"
        (Labels(), "output 2 of 3"),
    ],
)
def test_a_label_without_a_film_is_named_where_it_would_be_weighed(
    labels: Labels, lacking: str
) -> None:
    films = torch.eye(3)[torch.tensor([0, 0, 2])]
    weighted = config(weighted=True)
    with pytest.raises(TrainError, match=f"No training film has {lacking}:"):
        make_loss(films, replace(weighted, labels=labels))
    make_loss(films, replace(PLAIN, labels=labels))  # without weights nothing is divided


def test_half_precision_logits_give_a_loss_in_full() -> None:
    half = logits().detach().half()
    loss = make_loss(MANY, config(weighted=True))
    assert loss(half, MANY, 8).dtype == torch.float32
    assert torch.equal(loss(half, MANY, 8), loss(half.float(), MANY, 8))


def test_the_loss_follows_the_logits_to_their_device() -> None:
    loss = Loss(False, torch.ones(3), 2.0, 0.1)
    assert loss(torch.zeros(4, 3, device="meta"), MANY[:4].to("meta"), 4).device.type == "meta"
