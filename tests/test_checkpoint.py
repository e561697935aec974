"""Weights to start from answer to grey films as they did to colour; no save loses the last one."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from train.errors import TrainError
from train.learn.checkpoint import (
    Checkpoint,
    initialise,
    load_checkpoint,
    load_file,
    save_checkpoint,
    write_atomically,
)
from train.networks import Network, build, layers

IMAGENET_MEAN = torch.tensor((0.485, 0.456, 0.406))[:, None, None]
IMAGENET_STD = torch.tensor((0.229, 0.224, 0.225))[:, None, None]


def trained(
    name: str, n_outputs: int, n_channels: int, seed: int = 0, head: str = "linear"
) -> Network:
    """A network as training leaves it: no batch norm has its initial statistics or factors."""
    torch.manual_seed(seed)
    network = build(name, n_outputs, n_channels, head).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


def stem_of(network: Network) -> nn.Module:
    """The first convolution and, where there is one, its batch norm."""
    conv, *norms = layers(network)[0]
    return nn.Sequential(conv, *norms[:1])


def saved(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A file as torchvision publishes it: the bare state dict, 3 channels, 1000 outputs."""
    return saved(trained("mobilenet_v2", 1000, 3).state_dict(), tmp_path / "imagenet.pth")


# VGG's first convolution has a bias and no batch norm. The dense head is quicker to draw than its.
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vgg16", "densenet201", "small_cnn"])
@pytest.mark.parametrize(("mean", "std"), [((0.449,), (0.226,)), ((0.0,), (1.0,))])
def test_a_folded_stem_answers_to_grey_as_the_original_to_grey_in_rgb(
    tmp_path: Path, name: str, mean: tuple[float], std: tuple[float]
) -> None:
    colour = trained(name, 1000, 3, head="dense128")
    grey = build(name, 2, 1, "dense128").eval()
    initialise(grey, saved(colour.state_dict(), tmp_path / "c.pth"), mean, std)
    films = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        of_colour = stem_of(colour)((films.repeat(1, 3, 1, 1) - IMAGENET_MEAN) / IMAGENET_STD)
        of_grey = stem_of(grey)((films - mean[0]) / std[0])
    # The border differs: padding with 0 is another grey on each scale.
    inside = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(of_grey[inside], of_colour[inside], atol=1e-4)
    assert of_colour[inside].std() > 0.1


@pytest.mark.parametrize("n_channels", [1, 3])
def test_all_behind_the_stem_is_taken_over_and_the_head_stays_new(
    imagenet: Path, n_channels: int
) -> None:
    network = build("mobilenet_v2", 2, n_channels)
    head = {k: v.clone() for k, v in network.state_dict().items() if k.startswith("classifier")}
    initialise(network, imagenet, (0.449,) * n_channels, (0.226,) * n_channels)
    given, state = torch.load(imagenet), network.state_dict()
    for name, tensor in head.items():
        assert torch.equal(state[name], tensor)
    stem = {"features.0.0.weight", "features.0.1.running_mean"} if n_channels == 1 else set()
    for name in given.keys() - head.keys() - stem:
        assert torch.equal(state[name], given[name]), name


def test_a_head_of_the_same_size_stays_new_too(tmp_path: Path) -> None:
    """It may be of other findings."""
    path = saved(trained("resnet18", 2, 1, seed=1).state_dict(), tmp_path / "c.pth")
    network = build("resnet18", 2, 1)
    before = network.get_parameter("fc.weight").clone()
    initialise(network, path, (0.449,), (0.226,))
    assert torch.equal(network.get_parameter("fc.weight"), before)


def test_a_grey_networks_stem_is_taken_as_it_is(tmp_path: Path) -> None:
    state = trained("resnet18", 1, 1).state_dict()
    network = build("resnet18", 2, 1)
    initialise(network, saved(state, tmp_path / "c.pth"), (0.449,), (0.226,))
    assert torch.equal(network.get_parameter("conv1.weight"), state["conv1.weight"])
    assert torch.equal(network.get_buffer("bn1.running_mean"), state["bn1.running_mean"])


def checkpoint_of(name: str, state: dict[str, Tensor], head: str = "linear") -> Checkpoint:
    return Checkpoint(name, head, ("tuberculosis",), 1, "sigmoid", state)


@pytest.mark.parametrize("head", ["linear", "dense128"])
def test_an_earlier_runs_checkpoint_can_be_started_from(tmp_path: Path, head: str) -> None:
    state = trained("resnet18", 1, 1, head=head).state_dict()
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(checkpoint_of("resnet18", state, head), path)
    network = build("resnet18", 2, 1)
    initialise(network, path, (0.449,), (0.226,))
    weight = "layer4.1.conv2.weight"
    assert torch.equal(network.get_parameter(weight), state[weight])


@pytest.mark.parametrize("head", ["linear", "dense128"])
def test_the_head_is_taken_along_where_its_findings_are_wanted(tmp_path: Path, head: str) -> None:
    state = trained("resnet18", 1, 1, seed=1, head=head).state_dict()
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(checkpoint_of("resnet18", state, head), path)
    network = build("resnet18", 1, 1, head).eval()
    initialise(network, path, (0.449,), (0.226,), head_of=("tuberculosis",))
    for name, tensor in state.items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_a_head_that_is_wanted_and_does_not_fit_is_refused(tmp_path: Path) -> None:
    state = trained("resnet18", 1, 1).state_dict()
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(checkpoint_of("resnet18", state), path)

    def message(network: Network, *head_of: str) -> str:
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with pytest.raises(TrainError) as info:
            initialise(network, path, (0.449,), (0.226,), head_of)
        for name, tensor in network.state_dict().items():
            assert torch.equal(before[name], tensor)
        return str(info.value)

    # As many findings, and others.
    assert "has no head for pneumonia" in message(build("resnet18", 1, 1), "pneumonia")
    two = message(build("resnet18", 2, 1), "pneumonia", "tuberculosis")
    assert "has no head for pneumonia, tuberculosis" in two
    dense = message(build("resnet18", 1, 1, "dense128"), "tuberculosis")
    assert "6 of its tensors do not fit, the first is fc.1.bias" in dense
    saved(state, path)  # bare weights do not say what their head tells
    alone = message(build("resnet18", 1, 1), "tuberculosis")
    assert "has no head for tuberculosis" in alone
    assert "leave --keep-head away" in alone


def test_weights_older_than_batch_norms_counter_are_taken(tmp_path: Path) -> None:
    """torchvision's ResNet files have no num_batches_tracked."""
    state = trained("resnet18", 1000, 3).state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) == 102
    network = build("resnet18", 2, 1)
    initialise(network, saved(old, tmp_path / "resnet18-f37072fd.pth"), (0.449,), (0.226,))
    assert torch.equal(network.get_buffer("bn1.running_var"), state["bn1.running_var"])


def old_spelling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision's DenseNet files are spelt: denselayer1.norm.1, and no counter."""
    old = {}
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            for part in ("norm1", "conv1", "norm2", "conv2"):
                if "denselayer" in name:
                    name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
            old[name] = tensor
    return old


def test_densenet_files_in_the_old_spelling_are_taken(tmp_path: Path) -> None:
    state = trained("densenet201", 1000, 3).state_dict()
    old = old_spelling(state)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert "features.denseblock4.denselayer32.conv.2.weight" in old
    assert "features.transition1.norm.weight" in old
    network = build("densenet201", 2, 3)
    path = saved(old, tmp_path / "densenet201-c1103571.pth")
    initialise(network, path, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for name, tensor in network.state_dict().items():
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, state[name]), name


def refusal(network: str, path: Path) -> str:
    """The error's text; the network must be as it was."""
    own = build(network, 2, 1)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    with pytest.raises(TrainError) as raised:
        initialise(own, path, (0.449,), (0.226,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_another_networks_weights_are_refused(imagenet: Path) -> None:
    message = refusal("resnet18", imagenet)
    assert "a checkpoint of another network" in message
    assert "the first is bn1.bias" in message
    assert "the network that is to be trained" in message


def test_a_deeper_networks_weights_are_refused(tmp_path: Path) -> None:
    path = saved(trained("resnet34", 5, 3).state_dict(), tmp_path / "c.pth")
    assert "the first is layer1.2.bn1.bias" in refusal("resnet18", path)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("vgg16", "vgg19"), ("resnet50", "resnet101"), ("small_cnn", "mobilenet_v2")],
)
def test_no_networks_weights_are_taken_for_anothers(
    tmp_path: Path, given: str, wanted: str
) -> None:
    """Nothing of the weights themselves is looked at: a name or a shape tells."""
    path = tmp_path / "c.pth"
    torch.save(trained(given, 2, 3, head="dense128").state_dict(), path)
    with torch.device("meta"):
        network = build(wanted, 2, 1, "dense128")
    with pytest.raises(TrainError, match="a checkpoint of another network"):
        initialise(network, path, (0.449,), (0.226,))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}, "layer1.0.conv1.weight"),
        ({"layer9.weight": torch.zeros(3)}, "layer9.weight"),
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "conv1.weight"),
        ({"conv1.weight": torch.zeros(64, 4, 7, 7)}, "conv1.weight"),
        ({"conv1.weight": torch.zeros(())}, "conv1.weight"),
        ({"bn1.running_mean": None}, "bn1.running_mean"),
        ({"bn1.running_mean": torch.zeros(63)}, "bn1.running_mean"),
    ],
)
def test_the_tensor_that_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, Tensor | None], named: str
) -> None:
    state = trained("resnet18", 5, 3).state_dict() | change
    path = saved({k: v for k, v in state.items() if v is not None}, tmp_path / "c.pth")
    message = refusal("resnet18", path)
    assert f"1 of its tensors do not fit, the first is {named}." in message


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {1: torch.zeros(2)}, torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    assert "holds no state dict" in refusal("resnet18", saved(content, tmp_path / "c.pth"))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<!DOCTYPE html><html>not found</html>", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(TrainError, match=r"weights\.pth is not a PyTorch checkpoint"):
        load_file(path)


def test_a_checkpoint_cut_short_is_named(imagenet: Path) -> None:
    imagenet.write_bytes(imagenet.read_bytes()[:100_000])
    assert "is not a PyTorch checkpoint" in refusal("mobilenet_v2", imagenet)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "There is no file" in refusal("resnet18", tmp_path / "nowhere.pth")


class Trap:
    """Unpickling this makes a file: what weights from a stranger could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, save: str) -> None:
    path, mark = tmp_path / "c.pth", tmp_path / "was-here"
    if save == "torch":
        torch.save({"weight": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": Trap(mark)}))
    with pytest.raises(TrainError, match="is not a PyTorch checkpoint"):
        load_file(path)
    assert not mark.exists()
    torch.load(path, weights_only=False) if save == "torch" else pickle.loads(path.read_bytes())
    assert mark.exists()  # the trap was a real one


@pytest.mark.parametrize(("head", "activation"), [("linear", "sigmoid"), ("dense128", "softmax")])
def test_a_checkpoint_comes_back_as_it_was_saved(
    tmp_path: Path, head: str, activation: str
) -> None:
    network = trained("mobilenet_v2", 2, 1, head=head)
    path = tmp_path / "checkpoint.pt"
    given = Checkpoint("mobilenet_v2", head, ("a", "b c"), 1, activation, network.state_dict())
    save_checkpoint(given, path)
    loaded = load_checkpoint(path)
    assert replace(loaded, state={}) == replace(given, state={})
    rebuilt = loaded.build()
    assert not rebuilt.training
    films = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(rebuilt(films), network(films))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize(
    "missing", ["network", "head", "findings", "channels", "activation", "state"]
)
def test_no_default_stands_in_for_what_a_checkpoint_lacks(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(checkpoint_of("resnet18", {}), path)
    data = torch.load(path)
    del data[missing]
    with pytest.raises(TrainError, match="is not a checkpoint of a run"):
        load_checkpoint(saved(data, path))


def test_weights_alone_are_not_a_runs_checkpoint(imagenet: Path) -> None:
    with pytest.raises(TrainError, match="is not a checkpoint of a run"):
        load_checkpoint(imagenet)


@pytest.mark.parametrize(
    ("field", "value"), [("network", "densenet121"), ("head", "dense64"), ("activation", "tanh")]
)
def test_a_checkpoint_of_an_unknown_kind_is_refused(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(replace(checkpoint_of("resnet18", {}), **{field: value}), path)
    with pytest.raises(TrainError, match=f"unknown {field}, {value}"):
        load_checkpoint(path)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("zip")])
def test_a_failed_save_leaves_the_last_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    path = tmp_path / "snapshot.pt"
    write_atomically({"epoch": 1}, path)

    def half_save(_: Any, file: Any) -> None:
        file.write(b"half of it")
        raise failure

    monkeypatch.setattr(torch, "save", half_save)
    with pytest.raises(TrainError, match=r"snapshot\.pt could not be saved"):
        write_atomically({"epoch": 2}, path)
    assert load_file(path) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.pt"]


def test_a_save_that_is_killed_leaves_the_last_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "snapshot.pt"
    write_atomically({"epoch": 1}, path)

    def killed(_: Any, file: Any) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomically({"epoch": 2}, path)
    assert load_file(path) == {"epoch": 1}
    write_atomically({"epoch": 2}, path)  # what was left behind is in nobody's way
    assert load_file(path) == {"epoch": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.pt"]


def test_a_folder_that_is_not_there_cannot_be_saved_into(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="could not be saved"):
        write_atomically({}, tmp_path / "gone" / "snapshot.pt")
