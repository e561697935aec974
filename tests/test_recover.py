"""A shipped fp32 model becomes a checkpoint that answers as it does, and learns as it could."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from cxr_edge.model import Model
from cxr_edge.model_file import MODELS_FOLDER
from export.convert import to_onnx
from export.model_writer import write_model
from export.quantize import fold
from tests import small_onnx
from tests.small_gate import FILMS, NETWORKS, card_of, fp32_of, write_run
from tests.small_onnx import answers_of, grown_up, made_films
from train.__main__ import command
from train.config import TrainConfig
from train.errors import TrainError
from train.learn.checkpoint import load_checkpoint
from train.learn.recover import recover
from train.networks import Network, build, layers

INPUTS = torch.from_numpy(FILMS[:, 0])


def logits_of(model: onnx.ModelProto, films=FILMS) -> Tensor:
    return torch.from_numpy(answers_of(model, films)[0])


def recovered(name: str) -> Network:
    torch.manual_seed(1)  # none of the weights are there by chance
    network = NETWORKS[name](1, 1)
    recover(network, fp32_of(name), INPUTS)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recovered_network_answers_as_the_model_does_on_films_it_has_not_seen(name: str) -> None:
    other = made_films(5, seed=3, side_px=112)
    expected = logits_of(fp32_of(name), other)
    with torch.inference_mode():
        given = recovered(name)(torch.from_numpy(other[:, 0]))
    assert (given - expected).abs().max() < 1e-3
    assert expected.std() > 0.01


def test_the_shipped_model_can_be_recovered() -> None:
    model = onnx.load(MODELS_FOLDER / "pneumonia-children.fp32.onnx")
    films = made_films(3, side_px=224)
    network = build("mobilenet_v2", 1, 1)
    recover(network, model, torch.from_numpy(films[:, 0]))
    with torch.inference_mode():
        given = network(torch.from_numpy(films[:, 0]))
    assert (given - logits_of(model, films)).abs().max() < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_each_batch_norm_holds_the_statistics_of_the_films(name: str) -> None:
    """However many batches they make; more films than one."""
    torch.manual_seed(1)
    network = NETWORKS[name](1, 1)
    films = torch.from_numpy(made_films(40, seed=2, side_px=112)[:, 0])
    recover(network, fp32_of(name), films)
    seen: dict[nn.Module, Tensor] = {}
    for _, norm in layers(network):
        norm.register_forward_pre_hook(lambda norm, x: seen.update({norm: x[0]}))
    with torch.inference_mode():
        network(films)
    assert len(seen) == len(layers(network))
    for norm, x in seen.items():
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        torch.testing.assert_close(norm.running_mean, mean, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(norm.running_var, variance, atol=1e-5, rtol=2e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_training_it_begins_with_the_models_answers(name: str) -> None:
    expected = logits_of(fp32_of(name))

    def apart(network: Network) -> float:
        """In training each batch's own statistics are used."""
        with torch.no_grad():
            return float((network.train()(INPUTS) - expected).abs().max() / expected.std())

    network = recovered(name)
    assert apart(network) < 0.1
    for _, norm in layers(network):  # as if nobody had looked at films
        with torch.no_grad():
            norm.bias -= norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.weight /= (norm.running_var + norm.eps).sqrt()
    assert apart(network) > 0.5


def test_a_network_whose_norms_stand_before_their_convolutions_is_named() -> None:
    network = small_onnx.NETWORKS["densenet201"](1, 1, "linear")
    with pytest.raises(TrainError, match="DenseNet has convolutions without a batch norm") as info:
        recover(network, fp32_of("resnet18"), INPUTS)
    assert "MobileNet-V2 or ResNet" in info.value.next_step


# --- The command ---------------------------------------------------------------------------------

RECIPE = """
title = "made films"
network = "resnet18"
input = { width_px = 64, height_px = 64 }
labels = { findings = ["pneumonia"] }
augmentation = { only = true }
optimisation = { epochs = 1, small_epochs = 0, batch_size = 8, learning_rate = 1e-9 }
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "made.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A ResNet-18 in fp32, as export writes it."""
    torch.manual_seed(0)
    network = grown_up(build("resnet18", 1, 1), small_onnx.FILMS)
    card = replace(card_of(), input=small_onnx.SPEC)
    path = tmp_path_factory.mktemp("model") / "made.fp32.onnx"
    return write_model(fold(to_onnx(network, small_onnx.SPEC)), card, path)


def invoke(*arguments: object) -> str:
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if outcome.exception is not None:
        raise outcome.exception
    return outcome.output


def run(path: Path, recipe: Path, data: tuple[Path, Path], out: Path, *options: object) -> str:
    where = ("--data", data[0], "--split", data[1], "--out", out)
    return invoke("recover", path, "--recipe", recipe, *where, *options)


@pytest.fixture(scope="module")
def folder(
    model: Model, recipe: Path, data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "recovered"
    assert f"{out / 'checkpoint.pt'}: logits within " in run(model.path, recipe, data, out)
    return out


def test_the_run_folder_is_one_that_training_goes_on_from(
    folder: Path, model: Model, recipe: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "config.json", "split.csv"}
    checkpoint = load_checkpoint(folder / "checkpoint.pt")
    assert (checkpoint.network, checkpoint.findings, checkpoint.activation) == (
        *("resnet18", ("pneumonia",), "sigmoid"),
    )
    with torch.inference_mode():
        given = checkpoint.build()(torch.from_numpy(small_onnx.FILMS[:, 0]))
    expected = torch.from_numpy(model.infer(small_onnx.FILMS[:, 0]))
    assert (given - expected).abs().max() < 1e-3
    config = TrainConfig.read(folder / "config.json")
    assert (config.init, config.labels.findings) == ("made.fp32.onnx", ("pneumonia",))
    assert (folder / "split.csv").read_bytes() == data[1].read_bytes()

    out = tmp_path / "further"
    invoke(
        *(recipe, "--data", data[0], "--split", data[1], "--out", out),
        *("--init", folder / "checkpoint.pt", "--keep-head"),
    )
    after = load_checkpoint(out / "checkpoint.pt").state
    for name in ("fc.weight", "fc.bias", "conv1.weight"):
        torch.testing.assert_close(after[name], checkpoint.state[name], atol=1e-6, rtol=1e-4)


def test_no_head_can_be_kept_where_there_are_no_weights_to_start_from(
    recipe: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(TrainError, match="--keep-head") as info:
        invoke(recipe, "--data", data[0], "--out", tmp_path / "out", "--keep-head")
    assert "--init" in info.value.next_step
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said", "next_step"),
    [
        (("--set", "network=mobilenet_v2"), "has no tensor features.0.0.weight", "recipe that it"),
        (("--set", "network=resnet34"), "has no tensor layer1.2.conv1.weight", "recipe that it"),
        (("--set", "head=dense128"), "has no tensor fc.1.weight", "recipe that it"),
        (("--set", "input.width_px=96"), "another input or activation", "its own recipe"),
        (("--set", "labels.exclusive=true"), "another input or activation", "its own recipe"),
        (("--variant", "none"), "no variant none", ""),
    ],
)
def test_another_recipe_is_refused_and_leaves_no_folder(
    model: Model,
    recipe: Path,
    data: tuple[Path, Path],
    tmp_path: Path,
    options: tuple[str, ...],
    said: str,
    next_step: str,
) -> None:
    with pytest.raises(TrainError, match=said) as info:
        run(model.path, recipe, data, tmp_path / "out", *options)
    assert next_step in info.value.next_step
    assert not (tmp_path / "out").exists()


def test_an_int8_model_a_folder_that_is_there_and_a_recipe_that_is_not_are_refused(
    model: Model, recipe: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    int8 = tmp_path / "int8.onnx"
    network = onnx.load(model.path)
    write_model(network, replace(model.card, precision="int8"), int8)
    with pytest.raises(TrainError, match=r"int8\.onnx is int8") as info:
        run(int8, recipe, data, tmp_path / "out")
    assert "fp32 twin" in info.value.next_step
    with pytest.raises(TrainError, match="is already there"):
        run(model.path, recipe, data, tmp_path)
    with pytest.raises(TrainError, match="There is no recipe measles"):
        run(model.path, Path("measles"), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_answers_otherwise_is_not_written(
    model: Model, recipe: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    """Weights that fit, and an activation between them that is another."""
    changed = onnx.load(model.path)
    for node in changed.graph.node:
        if node.op_type == "Relu":
            node.op_type = "LeakyRelu"
    other = tmp_path / "other.onnx"
    write_model(changed, model.card, other)
    with pytest.raises(TrainError, match="logits differ from the model's by") as info:
        run(other, recipe, data, tmp_path / "out")
    assert "recipe" in info.value.next_step
    assert not (tmp_path / "out").exists()


def test_the_help_says_how_training_goes_on_from_there() -> None:
    example = invoke("recover", "--help").split("Example:", 1)[1]
    assert "python -m train recover" in example
    assert "--keep-head" in example
