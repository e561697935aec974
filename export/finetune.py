"""int8 made to say what fp32 says, without labels: its biases corrected, its weights finetuned."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from .qdq_network import QdqNetwork

Bar = Callable[[range], Iterable[int]]

# 3e-5 undoes more than it gains once the biases are corrected (train/EXPERIMENTS.md).
_LEARNING_RATE = 5e-6
# Scales are learned as logarithms, which move by more than weights do.
_SCALES_RATE = 5 * _LEARNING_RATE
_BATCH = 16
# How much a change of a probability weighs beside that of a logit: what is held against int8 in the
# end is the probability of a single film.
_PROBABILITY_WEIGHT = 20.0


@torch.no_grad()
def correct_biases(
    int8: onnx.ModelProto, fp32: onnx.ModelProto, inputs: NDArray[np.float32]
) -> onnx.ModelProto:
    """Take up in each convolution's bias what rounding adds to its channels on average.

    Nagel et al. 2019, arXiv:1906.04721, section 4.2, with films in place of statistics; layer by
    layer from the input on, each with those before it corrected already.
    inputs: prepared films (N, 1, C, H, W).
    """
    films = torch.from_numpy(inputs[:, 0])
    means: dict[str, Tensor] = {}

    def keep(node: onnx.NodeProto, out: Tensor) -> Tensor:
        means[node.name] = out.mean((0, 2, 3))
        return out

    QdqNetwork(fp32, fp32)(films, keep)
    network = QdqNetwork(int8, fp32)

    def correct(node: onnx.NodeProto, out: Tensor) -> Tensor:
        bias = network.bias_of(node)
        if bias is None:
            return out
        missing = means[node.name] - out.mean((0, 2, 3))
        bias.add_(missing)
        return out + missing[:, None, None]

    network(films, correct)
    return network.written()


def finetune(
    int8: onnx.ModelProto,
    fp32: onnx.ModelProto,
    inputs: NDArray[np.float32],
    n_steps: int,
    to_probability: Callable[[Tensor], Tensor],
    bar: Bar,
) -> onnx.ModelProto:
    """Quantization-aware training of the QDQ model, with the fp32 model's logits as its labels.

    inputs: prepared films (N, 1, C, H, W) of the train split; each step takes 16 by chance.
    to_probability: the card's, for tensors (N, K).
    """
    network = QdqNetwork(int8, fp32)
    teacher = QdqNetwork(fp32, fp32)
    rates = [_LEARNING_RATE, _SCALES_RATE]
    weights = [*network.weights.values(), *network.floats.values()]
    optimiser = torch.optim.Adam(
        [
            {"params": group, "lr": rate}
            for group, rate in zip([weights, [*network.log_scales.values()]], rates, strict=True)
        ]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=max(n_steps, 2), pct_start=0.1
    )
    rng = np.random.default_rng(0)
    for _ in bar(range(n_steps)):
        chosen = rng.choice(len(inputs), min(_BATCH, len(inputs)), replace=False)
        x = torch.from_numpy(inputs[np.sort(chosen), 0]).contiguous(
            memory_format=torch.channels_last
        )
        with torch.no_grad():
            wanted = teacher(x)
        logits = network(x)
        loss = (logits - wanted).square().mean()
        change = to_probability(logits) - to_probability(wanted)
        loss = loss + _PROBABILITY_WEIGHT * change.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.written()
