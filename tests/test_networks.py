"""The networks are torchvision's, tensor for tensor, so that its published weights fit."""

import pytest
import torch
from torch import nn

from tests.conftest import SHARED_WEIGHTS
from train.networks import NETWORKS, build

IMAGENET = SHARED_WEIGHTS / "mobilenet_v2_imagenet_from_tf2_ptq.pth"


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # no memory, no time
        network = build(name, 1000, 3)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


# Parameters and state-dict entries of torchvision.models with 1000 outputs.
@pytest.mark.parametrize(
    ("name", "n_parameters", "n_tensors"),
    [
        ("mobilenet_v2", 3_504_872, 314),
        ("resnet18", 11_689_512, 122),
        ("resnet34", 21_797_672, 218),
        ("resnet50", 25_557_032, 320),
        ("resnet101", 44_549_160, 626),
    ],
)
def test_it_has_as_many_parameters_as_torchvisions(
    name: str, n_parameters: int, n_tensors: int
) -> None:
    with torch.device("meta"):
        network = build(name, 1000, 3)
    assert sum(parameter.numel() for parameter in network.parameters()) == n_parameters
    assert len(network.state_dict()) == n_tensors


def test_mobilenet_v2_has_torchvisions_keys() -> None:
    shapes = shapes_of("mobilenet_v2")
    assert next(iter(shapes)) == "features.0.0.weight"
    assert list(shapes)[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    spots = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_var": (32,),
        # The first block does not expand: its depthwise layer comes first.
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.num_batches_tracked": (),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.2.conv.3.bias": (24,),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.18.0.weight": (1280, 320, 1, 1),
        "classifier.1.weight": (1000, 1280),
        "classifier.1.bias": (1000,),
    }
    assert {key: shapes.get(key) for key in spots} == spots


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_resnets_have_torchvisions_keys(name: str) -> None:
    shapes = shapes_of(name)
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer4.1.bn2.weight"] == (512,)
    assert shapes["fc.weight"] == (1000, 512)
    # 64 channels in and out, no stride: the first stage needs no projection.
    assert not any(key.startswith("layer1.0.downsample") for key in shapes)
    assert not any(".conv3." in key for key in shapes)


@pytest.mark.parametrize(("name", "n_third"), [("resnet50", 6), ("resnet101", 23)])
def test_bottleneck_resnets_have_torchvisions_keys(name: str, n_third: int) -> None:
    shapes = shapes_of(name)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer1.0.conv3.weight"] == (256, 64, 1, 1)
    assert shapes["layer4.0.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["fc.weight"] == (1000, 2048)
    assert not any(key.startswith("layer1.1.downsample") for key in shapes)
    assert f"layer3.{n_third - 1}.conv1.weight" in shapes
    assert f"layer3.{n_third}.conv1.weight" not in shapes


def test_a_bottleneck_takes_its_stride_in_the_3x3() -> None:
    """Version 1.5, as torchvision's weights were trained; version 1 strides in the 1x1."""
    with torch.device("meta"):
        block = build("resnet50", 1000, 3).get_submodule("layer2.0")
    assert block.get_submodule("conv1").stride == (1, 1)
    assert block.get_submodule("conv2").stride == (2, 2)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("n_channels", [1, 3])
def test_films_give_one_logit_per_finding(name: str, n_channels: int) -> None:
    network = build(name, 4, n_channels).eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, n_channels, 64, 48))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_the_inputs_size_is_halved_five_times() -> None:
    network = build("mobilenet_v2", 1, 1).eval()
    features = network.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    with torch.inference_mode():
        assert features(torch.rand(1, 1, 64, 96)).shape == (1, 1280, 2, 3)


def test_published_imagenet_weights_load_strictly() -> None:
    if not IMAGENET.exists():
        pytest.skip("no published weights beside this checkout (../shared/weights)")
    state = torch.load(IMAGENET, weights_only=True)
    build("mobilenet_v2", 1000, 3).load_state_dict(state, strict=True)
