"""Which weights learn, in which epoch, and how fast."""

import pytest
import torch
from torch import nn

from train.config import Tuning
from train.networks import NETWORKS, Network, build, layers, stages
from train.networks.tuning import freeze, rates


def network_of(name: str, head: str = "linear") -> Network:
    with torch.device("meta"):  # no memory, no time
        return build(name, 2, 1, head)


def learning(network: Network) -> set[str]:
    """The modules that hold a weight which learns."""
    return {
        name.rpartition(".")[0] for name, value in network.named_parameters() if value.requires_grad
    }


def learning_with(name: str, tuning: Tuning, epoch: int = 1) -> set[str]:
    network = network_of(name)
    freeze(network, tuning, epoch)
    return learning(network)


RESNET = {"stem": {"conv1", "bn1"}} | {
    f"layer{i}": {
        *(
            f"layer{i}.{block}.{kind}{k}"
            for block in (0, 1)
            for kind in ("conv", "bn")
            for k in (1, 2)
        ),
        *(() if i == 1 else (f"layer{i}.0.downsample.0", f"layer{i}.0.downsample.1")),
    }
    for i in (1, 2, 3, 4)
}
STAGES = list(RESNET)


def from_stage(first: int) -> set[str]:
    """ResNet-18's modules from this stage on, with the head."""
    return set().union(*(RESNET[stage] for stage in STAGES[first:])) | {"fc"}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_without_a_rule_all_learn(name: str) -> None:
    network = network_of(name)
    assert freeze(network, Tuning(), 1) == []
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("n_stages", [0, 1, 2, 5])
def test_frozen_stages_are_the_first(n_stages: int) -> None:
    tuning = Tuning(frozen_stages=n_stages)
    assert learning_with("resnet18", tuning) == from_stage(n_stages)
    assert learning_with("resnet18", tuning, epoch=99) == from_stage(n_stages)


@pytest.mark.parametrize(
    ("name", "last_layers", "expected"),
    [
        ("mobilenet_v2", 0, set()),
        ("mobilenet_v2", 1, {"features.18.0", "features.18.1"}),
        (
            "mobilenet_v2",
            2,
            {"features.18.0", "features.18.1", "features.17.conv.2", "features.17.conv.3"},
        ),
        ("resnet18", 2, {f"layer4.1.{part}" for part in ("conv1", "bn1", "conv2", "bn2")}),
        ("vgg16", 3, {"features.24", "features.26", "features.28"}),
        ("vgg19", 1, {"features.34"}),
        ("densenet201", 1, {"features.denseblock4.denselayer32.conv2", "features.norm5"}),
        (
            "densenet201",
            2,
            {f"features.denseblock4.denselayer32.{part}" for part in ("conv1", "norm2", "conv2")}
            | {"features.norm5"},
        ),
        ("small_cnn", 2, {f"features.{i}.{k}" for i in (3, 4) for k in (0, 1)}),
    ],
)
def test_the_last_layers_learn_and_the_head(
    name: str, last_layers: int, expected: set[str]
) -> None:
    found = learning_with(name, Tuning(last_layers=last_layers))
    heads = {module for module in found if module.startswith(("classifier", "fc"))}
    assert found - heads == expected
    assert heads == {
        "resnet18": {"fc"},
        "densenet201": {"classifier"},
        "vgg16": {"classifier.0", "classifier.3", "classifier.6"},
        "vgg19": {"classifier.0", "classifier.3", "classifier.6"},
    }.get(name, {"classifier.1"})


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_more_last_layers_than_there_are_is_all(name: str) -> None:
    network = network_of(name)
    n_layers = len(layers(network))
    assert freeze(network, Tuning(last_layers=n_layers), 1) == []
    assert freeze(network, Tuning(last_layers=n_layers + 1), 1) == []
    assert freeze(network, Tuning(last_layers=n_layers - 1), 1) == layers(network)[0]


def test_the_dense_head_is_a_head_as_a_whole() -> None:
    network = network_of("resnet18", "dense128")
    freeze(network, Tuning(last_layers=0), 1)
    assert learning(network) == {"fc.1", "fc.4"}


def test_stages_join_from_the_top() -> None:
    tuning = Tuning(unfreeze_epochs=2)
    first_stage = {1: 5, 2: 5, 3: 4, 4: 4, 5: 3, 6: 3, 7: 2, 9: 1, 10: 1, 11: 0, 12: 0, 99: 0}
    for epoch, first in first_stage.items():
        assert learning_with("resnet18", tuning, epoch) == from_stage(first), epoch


def test_what_another_rule_keeps_does_not_join() -> None:
    tuning = Tuning(unfreeze_epochs=1, frozen_stages=3)
    assert learning_with("resnet18", tuning, 1) == {"fc"}
    assert learning_with("resnet18", tuning, 2) == from_stage(4)
    assert learning_with("resnet18", tuning, 99) == from_stage(3)
    last = {"layer4.1.conv2", "layer4.1.bn2", "fc"}
    tuning = Tuning(unfreeze_epochs=1, last_layers=1)
    assert learning_with("resnet18", tuning, 1) == {"fc"}
    assert learning_with("resnet18", tuning, 99) == last


def test_an_epoch_does_not_depend_on_the_ones_before_it() -> None:
    """A resumed run begins in the middle."""
    network = network_of("resnet18")
    tuning = Tuning(unfreeze_epochs=1)
    for epoch in (9, 2, 1, 3):
        freeze(network, tuning, epoch)
        assert learning(network) == learning_with("resnet18", tuning, epoch)


@pytest.mark.parametrize(
    "tuning", [Tuning(frozen_stages=2), Tuning(last_layers=3), Tuning(unfreeze_epochs=1)]
)
@pytest.mark.parametrize("name", ["mobilenet_v2", "small_cnn"])
def test_frozen_batch_norms_keep_their_statistics(name: str, tuning: Tuning) -> None:
    network = build(name, 2, 1)
    kept = freeze(network, tuning, 2)
    network.train()
    for module in kept:
        module.eval()
    network(torch.randn(4, 1, 64, 64))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    learns = [norm.weight.requires_grad for norm in norms]
    assert {True, False} == set(learns)
    assert [int(norm.num_batches_tracked) for norm in norms] == [int(one) for one in learns]
    assert [bool(norm.running_mean.any()) for norm in norms] == learns


def test_a_stage_learns_slower_than_the_one_above_it() -> None:
    rate_of = rates(network_of("resnet18"), Tuning(rate_decay=0.5))
    for name, rate in rate_of.items():
        module = name.rpartition(".")[0]
        (above,) = (
            i for i, stage in enumerate([{"fc"}, *reversed(RESNET.values())]) if module in stage
        )
        assert rate == 0.5**above, name


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_parameter_has_its_rate(name: str) -> None:
    network = network_of(name)
    rate_of = rates(network, Tuning(rate_decay=0.9))
    assert list(rate_of) == [name for name, _ in network.named_parameters()]
    assert len(set(rate_of.values())) == len(stages(network)) + 1
    assert set(rates(network, Tuning()).values()) == {1.0}
