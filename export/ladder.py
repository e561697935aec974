"""The ways to int8, from the cheapest to the most thorough, as the rungs of a ladder.

Each rung is a whole candidate; who climbs compares it with fp32 and stops when satisfied.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from torch import Tensor

from .equalise import equalise
from .errors import ExportError
from .finetune import Bar, correct_biases, finetune
from .qdq_network import QdqNetwork
from .quantize import convolutions, fold, has_depthwise, logits_of, quantize
from .ranges import ENTROPY, MIN_MAX, MSE, PERCENTILE, Activations, observe

_Floats = NDArray[np.float32]

_N_HISTOGRAM_FILMS = 64
_N_CORRECTION_FILMS = 128
_N_SEARCH_FILMS = 32
_FP32_CONVS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Recipe:
    """How a rung is made; the defaults are the first rung that may be shipped."""

    per_channel: bool = True
    reduce_range: bool = True
    depthwise_8_bits: bool = False
    ranges: str = MIN_MAX
    corrected: bool = False
    equalised: bool = False
    finetuned_steps: int = 0
    fp32_convs: tuple[str, ...] = ()

    def as_text(self) -> dict[str, str]:
        """For the model card."""
        bits = "7 bits (reduce_range)" if self.reduce_range else "8 bits"
        if self.depthwise_8_bits:
            bits += ", depthwise 8 bits"
        text = {
            "format": "QDQ",
            "activations": "uint8",
            "weights": f"int8 {'per channel' if self.per_channel else 'per tensor'}, {bits}",
            "ranges": f"{self.ranges} over the range films",
            "fp32": ", ".join(("the head", *self.fp32_convs)),
            "onnxruntime": onnxruntime.__version__,
        }
        if self.equalised:
            text["equalised"] = "across layers (arXiv:1906.04721)"
        if self.corrected:
            text["biases"] = "corrected layer by layer on range films (arXiv:1906.04721)"
        if self.finetuned_steps:
            text["finetuned"] = f"{self.finetuned_steps} steps, towards the fp32 model's logits"
        return text


@dataclass(frozen=True)
class Rung:
    """A candidate. may_be_chosen: false for what is known to go wrong on some CPUs."""

    name: str
    recipe: Recipe
    model: onnx.ModelProto
    may_be_chosen: bool = True


@dataclass
class Ladder:
    """The rungs for one fp32 model (as to_onnx gives it).

    range_inputs: prepared films (N, 1, C, H, W) of the train split, for ranges and biases.
    train_inputs: gives those for finetuning, when it comes to that. to_probability: the card's, for
    tensors (N, K). finetuning_steps: 0 leaves that rung out. say: where the search tells what it
    finds. every_rung: also those that only show what the others are good for.
    """

    fp32: onnx.ModelProto
    range_inputs: _Floats
    train_inputs: Callable[[], _Floats]
    to_probability: Callable[[Tensor], Tensor]
    finetuning_steps: int
    every_rung: bool
    say: Callable[[str], None]
    bar: Bar
    _made: list[tuple[float, Rung]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._folded = {False: fold(self.fp32)}
        self._seen: dict[bool, Activations] = {}
        self._wanted = logits_of(self._folded[False], self.range_inputs)

    def climb(self) -> Iterator[Rung]:
        """Rung after rung; what was best so far goes on."""
        plain = Recipe()
        if self.every_rung:
            loose = replace(plain, reduce_range=False)
            yield self._make("per tensor, 8 bits", replace(loose, per_channel=False), False)
            yield self._make("per channel, 8 bits", loose, False)
        yield self._make("per channel, 7 bits", plain)
        if has_depthwise(self.fp32):
            yield self._make("depthwise 8 bits", replace(plain, depthwise_8_bits=True))
            # Better once its biases are corrected, even where it looks worse before.
            plain = replace(plain, depthwise_8_bits=True)
        known = self._known_to_torch()
        if known:
            plain = replace(plain, corrected=True)
            yield self._make("biases corrected", plain)
        for method in (MSE, PERCENTILE, ENTROPY):
            yield self._make(f"{method} ranges", replace(plain, ranges=method))
        yield self._make("equalised", replace(self._best().recipe, equalised=True))
        best = self._best().recipe
        if self.finetuning_steps and known:
            yield self._finetuned()
        worst = self._worst_convolutions(best)
        for n in _FP32_CONVS:
            if n < len(worst):
                yield self._make(f"{n} worst in fp32", replace(best, fp32_convs=tuple(worst[:n])))

    def _known_to_torch(self) -> bool:
        """Whether qdq_network can hold the network; says so where it cannot."""
        try:
            QdqNetwork(self._folded[False], self._folded[False])
        except ExportError as exc:
            self.say(f"biases neither corrected nor finetuned: {exc}")
            return False
        return True

    def _make(self, name: str, recipe: Recipe, may_be_chosen: bool = True) -> Rung:
        model = self._quantized(recipe)
        if recipe.corrected:
            model = correct_biases(model, self._folded_as(recipe), self._some(_N_CORRECTION_FILMS))
        return self._kept(Rung(name, recipe, model, may_be_chosen))

    def _finetuned(self) -> Rung:
        best = self._best()
        steps = self.finetuning_steps
        folded = self._folded_as(best.recipe)
        model = finetune(
            best.model, folded, self.train_inputs(), steps, self.to_probability, self.bar
        )
        # What the last steps left on average is cheaper to take out than to train out.
        model = correct_biases(model, folded, self._some(_N_CORRECTION_FILMS))
        return self._kept(Rung("finetuned", replace(best.recipe, finetuned_steps=steps), model))

    def _kept(self, rung: Rung) -> Rung:
        difference = logits_of(rung.model, self.range_inputs) - self._wanted
        self._made.append((float(np.square(difference).mean()), rung))
        return rung

    def _best(self) -> Rung:
        """The one whose logits are nearest to fp32 on the range films."""
        able = [(error, rung) for error, rung in self._made if rung.may_be_chosen]
        return min(able, key=lambda made: made[0])[1]

    def _quantized(self, recipe: Recipe) -> onnx.ModelProto:
        seen = self._seen.get(recipe.equalised)
        if seen is None:
            films = self._some(_N_HISTOGRAM_FILMS)
            seen = observe(self._folded_as(recipe), films)
            self._seen[recipe.equalised] = seen
        return quantize(
            self._folded_as(recipe),
            seen.ranges(recipe.ranges),
            recipe.fp32_convs,
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            depthwise_8_bits=recipe.depthwise_8_bits,
        )

    def _some(self, n: int) -> _Floats:
        """About n of the range films."""
        return self.range_inputs[:: max(1, len(self.range_inputs) // n)]

    def _folded_as(self, recipe: Recipe) -> onnx.ModelProto:
        if recipe.equalised and True not in self._folded:
            self._folded[True] = equalise(self._folded[False])
        return self._folded[recipe.equalised]

    def _worst_convolutions(self, recipe: Recipe) -> list[str]:
        """The convolutions by what each alone, in int8, changes in the logits; the worst first."""
        films = self._some(_N_SEARCH_FILMS)
        wanted = logits_of(self._folded_as(recipe), films)
        names = convolutions(self._folded_as(recipe))
        errors = {}
        for name in names:
            alone = replace(recipe, fp32_convs=tuple(other for other in names if other != name))
            difference = logits_of(self._quantized(alone), films) - wanted
            errors[name] = float(np.sqrt(np.square(difference).mean()))
        worst = sorted(names, key=lambda name: errors[name], reverse=True)
        shown = ", ".join(f"{name} {errors[name]:.3f}" for name in worst[:5])
        self.say(f"logit error of each convolution alone in int8, the worst: {shown}")
        return worst
