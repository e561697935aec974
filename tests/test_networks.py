"""The networks are torchvision's, tensor for tensor, so that its published weights fit."""

import pytest
import torch
from torch import nn

from tests.conftest import SHARED_WEIGHTS
from train.errors import TrainError
from train.networks import NETWORKS, Network, build, layers, stages

IMAGENET = SHARED_WEIGHTS / "mobilenet_v2_imagenet_from_tf2_ptq.pth"


def shape_of(
    name: str, n_outputs: int = 1000, n_channels: int = 3, head: str = "linear"
) -> Network:
    """The network without its weights: no memory, no time."""
    with torch.device("meta"):
        return build(name, n_outputs, n_channels, head)


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in shape_of(name).state_dict().items()}


def quick(name: str) -> Network:
    """The network with weights; VGG's own head is 120 million of them."""
    torch.manual_seed(0)
    return build(name, 2, 1, "dense128" if name.startswith("vgg") else "linear").eval()


ARCHITECTURES = ["mobilenet_v2", "resnet18", "resnet50", "vgg16", "densenet201", "small_cnn"]


# Parameters and state-dict entries of torchvision.models with 1000 outputs.
@pytest.mark.parametrize(
    ("name", "n_parameters", "n_tensors"),
    [
        ("mobilenet_v2", 3_504_872, 314),
        ("resnet18", 11_689_512, 122),
        ("resnet34", 21_797_672, 218),
        ("resnet50", 25_557_032, 320),
        ("resnet101", 44_549_160, 626),
        ("vgg16", 138_357_544, 32),
        ("vgg19", 143_667_240, 38),
        ("densenet201", 20_013_928, 1207),
    ],
)
def test_it_has_as_many_parameters_as_torchvisions(
    name: str, n_parameters: int, n_tensors: int
) -> None:
    network = shape_of(name)
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
    block = shape_of("resnet50").get_submodule("layer2.0")
    assert block.get_submodule("conv1").stride == (1, 1)
    assert block.get_submodule("conv2").stride == (2, 2)


@pytest.mark.parametrize(("name", "n_features"), [("vgg16", 29), ("vgg19", 35)])
def test_vggs_have_torchvisions_keys(name: str, n_features: int) -> None:
    shapes = shapes_of(name)
    assert next(iter(shapes)) == "features.0.weight"
    spots = {
        "features.0.weight": (64, 3, 3, 3),
        "features.0.bias": (64,),
        "features.2.weight": (64, 64, 3, 3),
        "features.5.weight": (128, 64, 3, 3),  # 4 is the pooling
        "features.28.weight": (512, 512, 3, 3),
        f"features.{n_features - 1}.bias": (512,),
        "classifier.0.weight": (4096, 512 * 7 * 7),
        "classifier.3.weight": (4096, 4096),
        "classifier.6.bias": (1000,),
    }
    assert {key: shapes.get(key) for key in spots} == spots
    assert f"features.{n_features + 1}.weight" not in shapes


def test_densenet201_has_torchvisions_keys() -> None:
    shapes = shapes_of("densenet201")
    assert next(iter(shapes)) == "features.conv0.weight"
    assert list(shapes)[-2:] == ["classifier.weight", "classifier.bias"]
    spots = {
        "features.conv0.weight": (64, 3, 7, 7),
        "features.norm0.running_mean": (64,),
        "features.denseblock1.denselayer1.norm1.weight": (64,),
        "features.denseblock1.denselayer6.conv1.weight": (128, 64 + 5 * 32, 1, 1),
        "features.transition1.norm.bias": (256,),
        "features.transition1.conv.weight": (128, 256, 1, 1),
        "features.denseblock2.denselayer12.norm2.running_var": (128,),
        "features.denseblock3.denselayer48.conv1.weight": (128, 256 + 47 * 32, 1, 1),
        "features.transition3.conv.weight": (896, 1792, 1, 1),
        "features.denseblock4.denselayer32.conv2.weight": (32, 128, 3, 3),
        "features.norm5.num_batches_tracked": (),
        "features.norm5.weight": (1920,),
        "classifier.weight": (1000, 1920),
    }
    assert {key: shapes.get(key) for key in spots} == spots
    assert "features.denseblock3.denselayer49.conv1.weight" not in shapes
    assert "features.transition4.conv.weight" not in shapes


@pytest.mark.parametrize(("n_channels", "head"), [(1, "linear"), (3, "linear"), (1, "dense128")])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_films_give_one_logit_per_finding(name: str, n_channels: int, head: str) -> None:
    network = shape_of(name, 4, n_channels, head).eval()
    assert network(torch.empty(2, n_channels, 64, 48, device="meta")).shape == (2, 4)
    # Export looks for it there, and keeps it in fp32.
    last = list(network.modules())[-1]
    assert isinstance(last, nn.Linear)
    assert last.out_features == 4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_fresh_network_lets_the_film_through(name: str) -> None:
    """Its features neither fade nor explode on the way down, however deep it is."""
    network = quick(name).train()
    with torch.inference_mode():
        features = network.feature_map(torch.randn(2, 1, 64, 64))
    assert 0.01 < features.std() < 30
    assert (features[0] - features[1]).abs().max() > 0.01


def test_a_network_without_batch_norm_starts_with_no_bias() -> None:
    network = quick("vgg16")
    biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
    assert all((bias == 0).all() for bias in biases[:13])  # the head's are drawn


@pytest.mark.parametrize(("side", "map_side"), [(64, 2), (128, 4), (256, 8)])
def test_the_small_cnn_takes_small_films(side: int, map_side: int) -> None:
    network = shape_of("small_cnn", 3, 1)
    features = network.feature_map(torch.empty(2, 1, side, side, device="meta"))
    assert features.shape == (2, 256, map_side, map_side)


def test_the_small_cnn_is_small() -> None:
    weights = 9 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    norms = 2 * (16 + 32 + 64 + 128 + 256)
    network = shape_of("small_cnn", 2, 1)
    assert sum(p.numel() for p in network.parameters()) == weights + norms + 2 * (256 + 1)


@pytest.mark.parametrize(
    ("name", "head_name", "n_features"),
    [
        ("mobilenet_v2", "classifier", 1280),
        ("resnet50", "fc", 2048),
        ("vgg16", "classifier", 512),
        ("densenet201", "classifier", 1920),
        ("small_cnn", "classifier", 256),
    ],
)
def test_the_dense_head_is_the_same_behind_every_trunk(
    name: str, head_name: str, n_features: int
) -> None:
    head = shape_of(name, 3, 1, "dense128").get_submodule(head_name)
    kinds = [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(module) for module in head.children()] == kinds
    assert [module.p for module in head.children() if isinstance(module, nn.Dropout)] == [0.25] * 2
    shapes = [tuple(parameter.shape) for parameter in head.parameters()]
    assert shapes == [(128, n_features), (128,), (3, 128), (3,)]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vgg16", "small_cnn"])
def test_the_dense_head_reads_the_average_over_the_film(name: str) -> None:
    network = build(name, 2, 1, "dense128").eval()
    head = network.get_submodule("fc" if name.startswith("resnet") else "classifier")
    films = torch.randn(2, 1, 64, 96)
    with torch.inference_mode():
        expected = head(network.feature_map(films).mean((2, 3)))
        assert torch.allclose(network(films), expected, atol=1e-6)


def test_vggs_own_head_reads_a_map_of_7_by_7_whatever_the_films_size() -> None:
    network = shape_of("vgg16", 2, 1)
    for side in (64, 224, 256):
        assert network(torch.empty(1, 1, side, side, device="meta")).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "n_stages"),
    [
        ("mobilenet_v2", 19),
        ("resnet18", 5),
        ("resnet50", 5),
        ("vgg16", 5),
        ("densenet201", 5),
        ("small_cnn", 5),
    ],
)
def test_the_stages_in_a_row_are_the_trunk(name: str, n_stages: int) -> None:
    network = quick(name)
    assert len(stages(network)) == n_stages
    films = x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        for stage in stages(network):
            x = stage(x)
        assert torch.equal(x, network.feature_map(films))


# The number in a network's name counts the head too, but no shortcut's projection.
@pytest.mark.parametrize(
    ("name", "n_layers"),
    [
        ("mobilenet_v2", 52),
        ("resnet18", 17 + 3),
        ("resnet34", 33 + 3),
        ("resnet50", 49 + 4),
        ("resnet101", 100 + 4),
        ("vgg16", 13),
        ("vgg19", 16),
        ("densenet201", 200),
        ("small_cnn", 5),
    ],
)
def test_the_layers_hold_all_of_the_trunk_once(name: str, n_layers: int) -> None:
    network = shape_of(name)
    own = layers(network)
    assert len(own) == n_layers
    found = [id(p) for layer in own for module in layer for p in module.parameters()]
    trunk = [
        id(p) for key, p in network.named_parameters() if not key.startswith(("classifier.", "fc."))
    ]
    assert len(found) == len(set(found))
    assert set(found) == set(trunk)
    assert all(isinstance(layer[0], nn.Conv2d) for layer in own)


@pytest.mark.parametrize("name", [name for name in sorted(NETWORKS) if name != "densenet201"])
def test_a_layers_norm_is_that_of_its_convolution(name: str) -> None:
    n_norms = 0 if name.startswith("vgg") else 1
    for conv, *norms in layers(shape_of(name)):
        assert [norm.num_features for norm in norms] == [conv.out_channels] * n_norms


def test_densenets_norms_stand_behind_the_convolution_whose_answer_they_read() -> None:
    network = shape_of("densenet201")
    names = {module: name for name, module in network.named_modules()}
    own = [
        [names[module].removeprefix("features.") for module in layer] for layer in layers(network)
    ]
    first, last = "denseblock1.denselayer1", "denseblock4.denselayer32"
    assert own[0] == ["conv0", "norm0", f"{first}.norm1"]
    assert own[1] == [f"{first}.conv1", f"{first}.norm2"]
    assert own[-2:] == [[f"{last}.conv1", f"{last}.norm2"], [f"{last}.conv2", "norm5"]]


@pytest.mark.parametrize(
    ("name", "head", "message"),
    [
        ("densenet121", "linear", "no network densenet121"),
        ("resnet18", "dense64", "no head dense64"),
    ],
)
def test_an_unknown_name_is_refused(name: str, head: str, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        build(name, 2, 1, head)


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
