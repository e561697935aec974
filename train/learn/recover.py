"""`python -m train recover`: a shipped fp32 model becomes a checkpoint again, to be trained on.

Export folds each batch norm into its convolution. Taken apart again, a norm gets the statistics of
what its convolution gives on films, and the factors that undo them: the network answers as it did,
and learns as it could.
"""

import dataclasses
from pathlib import Path

import click
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from tqdm import tqdm

from cxr_edge.model_card import FP32, SOFTMAX
from cxr_edge.model_file import read_model_file

from ..commands import CONTEXT, data_option, entries_of, film_bar, recipe_options
from ..data.films import load_films
from ..data.pixels import cache_films, to_input
from ..data.split import TRAIN, read_split, write_split
from ..errors import TrainError
from ..networks import Network, build, layers
from ..recipe import read_recipe, recipe_path
from .checkpoint import Checkpoint, save_checkpoint

N_FILMS = 512  # enough for batch-norm statistics
_PREFIX = "network."
_MOST_APART = 1e-3
_BATCH = 32


@click.command(
    context_settings=CONTEXT,
    epilog="""\b
Example:
  python -m train recover pneumonia-children.fp32.onnx --recipe pneumonia-children \\
      --data films/ --split split.csv --out runs/recovered
  python -m train pneumonia-children --init runs/recovered/checkpoint.pt --keep-head \\
      --data films/ --split split.csv --out runs/finetuned

The recipe must build the same network. The run folder can be averaged with runs that start from it.
""",
)
@click.argument("path", metavar="MODEL.fp32.onnx", type=click.Path(path_type=Path))
@click.option("--recipe", "recipe_name", required=True, help="The recipe, by its name or file.")
@recipe_options
@data_option
@click.option(
    "--split",
    "split_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The split.csv of a run: its train films give the statistics.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new run folder.")
def command(
    path: Path,
    recipe_name: str,
    variants: tuple[str, ...],
    settings: tuple[str, ...],
    data: tuple[str, ...],
    split_path: Path,
    out: Path,
) -> None:
    """Make a checkpoint of an fp32 MODEL, for its training to go on."""
    if out.exists():
        raise TrainError(f"{out} is already there.", "Name another folder as --out.")
    recipe = recipe_path(recipe_name)
    if recipe is None:
        raise TrainError(f"There is no recipe {recipe_name}.", "`python -m train` lists them.")
    file = read_model_file(path)
    config = read_recipe(recipe, variants, settings).config
    labels = dataclasses.replace(config.labels, findings=file.card.findings)
    config = dataclasses.replace(config, labels=labels, init=path.name)
    if file.card.precision != FP32:
        raise TrainError(f"{path} is {file.card.precision}.", "Name its fp32 twin.")
    if (file.card.input, file.card.activation == SOFTMAX) != (config.input, labels.exclusive):
        raise TrainError(
            f"{path} has another input or activation than {recipe_name}.", "Name its own recipe."
        )
    films = load_films(entries_of(data, config.patient_pattern), labels, film_bar)
    split = read_split(split_path, films.films)
    some = split[TRAIN][:: max(1, len(split[TRAIN]) // N_FILMS)]
    cached = cache_films(some, file.card.findings, config.input, film_bar, "reading films")
    inputs = to_input(cached.pixels.float() / 255, config.input)
    network = build(config.network, len(labels.findings), config.input.channels, config.head)
    model = onnx.load_from_string(file.data)
    recover(network, model, inputs)
    apart = _apart(network, model, inputs[:16])
    if not apart <= _MOST_APART:
        raise TrainError(
            f"The checkpoint's logits differ from the model's by {apart:.2g}.",
            "Name the recipe that the model was trained with.",
        )
    out.mkdir(parents=True)
    write_split(split, out / "split.csv")
    (out / "config.json").write_text(config.to_json(), encoding="utf-8")
    checkpoint = Checkpoint(
        config.network,
        config.head,
        labels.findings,
        config.input.channels,
        labels.activation,
        network.state_dict(),
    )
    save_checkpoint(checkpoint, out / "checkpoint.pt")
    click.echo(f"{out / 'checkpoint.pt'}: logits within {apart:.1g} of {path.name}.")


@torch.no_grad()
def recover(network: Network, model: onnx.ModelProto, inputs: Tensor) -> None:
    """Give the network the weights of a folded ONNX model of it; inputs: (N, C, H, W).

    Raises TrainError where the model is of another network.
    """
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    names = {module: name for name, module in network.named_modules()}

    def tensor(name: str, like: Tensor) -> Tensor:
        found = tensors.get(_PREFIX + name)
        if found is None or found.shape != like.shape:
            raise TrainError(
                f"The model has no tensor {name} of the shape {list(like.shape)}.",
                "Name the recipe that it was trained with, and its fp32 model.",
            )
        return torch.from_numpy(np.array(found))

    # Of each channel that a convolution gives: how many values, their sum, and that of the squares.
    sums: dict[nn.Module, Tensor] = {}

    def add(conv: nn.Module, _: object, output: Tensor) -> None:
        values = output.double().transpose(0, 1).flatten(1)
        n = torch.full_like(values[:, 0], values.shape[1])
        parts = torch.stack([n, values.sum(1), values.square().sum(1)])
        sums[conv] = sums[conv] + parts if conv in sums else parts

    hooks, pairs = [], []
    for conv, *norms in layers(network):
        if len(norms) != 1 or not isinstance(norms[0], nn.BatchNorm2d):
            raise TrainError(
                f"{type(network).__name__} has convolutions without a batch norm of their own.",
                "Recover MobileNet-V2 or ResNet; train others from their checkpoint.",
            )
        name, norm = names[conv], norms[0]
        conv.weight.copy_(tensor(f"{name}.weight", conv.weight))  # type: ignore[operator, arg-type]
        norm.bias.copy_(tensor(f"{name}.weight_bias", norm.bias))
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # with mean 0 and variance 1: the identity
        hooks.append(conv.register_forward_hook(add))
        pairs.append((conv, norm))
    for name, parameter in network.head.named_parameters():
        full = f"{names[network.head]}.{name}"
        parameter.copy_(tensor(full, parameter))
    network.eval()
    for batch in tqdm(inputs.split(_BATCH), "batch norm", leave=False, disable=None):
        network(batch)
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        n, total, squares = sums[conv]
        mean, variance = total / n, (squares - total**2 / n) / (n - 1)
        norm.running_mean, norm.running_var = mean.float(), variance.float()
        norm.bias.add_(mean)
        norm.weight.copy_((variance + norm.eps).sqrt())


@torch.no_grad()
def _apart(network: Network, model: onnx.ModelProto, inputs: Tensor) -> float:
    """The largest difference of any logit."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(["logits"], {session.get_inputs()[0].name: inputs.numpy()})
    return float(np.abs(network(inputs).numpy() - expected).max())
