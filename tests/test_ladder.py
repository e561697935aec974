"""The rungs between plain int8 and fp32: their order, and what each is made of."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import export.ranges
from export.ladder import Ladder, Recipe, Rung
from export.quantize import convolutions, logits_of
from export.ranges import ENTROPY, MIN_MAX, MSE, PERCENTILE
from tests.small_onnx import FILMS, folded_of, fp32_of, rms

N_STEPS = 2
METHODS = ["MSE ranges", "percentile ranges", "entropy ranges"]


@pytest.fixture(scope="module", autouse=True)
def few_bins() -> Iterator[None]:
    """Entropy's search takes the square of the bins' number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.ranges, "_N_BINS", 256)
        yield


def ladder(
    model: onnx.ModelProto, finetuning_steps: int = 0, every_rung: bool = False
) -> tuple[Ladder, list[str]]:
    """The ladder, and what it says."""
    said: list[str] = []
    made = Ladder(
        model,
        FILMS,
        lambda: FILMS,
        torch.sigmoid,
        finetuning_steps,
        every_rung,
        said.append,
        lambda steps: steps,
    )
    return made, said


@pytest.fixture(scope="module")
def whole() -> list[Rung]:
    return list(ladder(fp32_of("small_cnn"), N_STEPS, every_rung=True)[0].climb())


def error(rung: Rung, fp32: onnx.ModelProto) -> float:
    return rms(logits_of(rung.model, FILMS) - logits_of(fp32, FILMS))


def test_the_rungs_come_from_the_cheapest_to_the_most_thorough(whole: list[Rung]) -> None:
    assert [rung.name for rung in whole] == [
        "per tensor, 8 bits",
        "per channel, 8 bits",
        "per channel, 7 bits",
        "biases corrected",
        *METHODS,
        "equalised",
        "finetuned",
        "1 worst in fp32",
        "2 worst in fp32",
        "4 worst in fp32",
    ]


def test_what_saturates_is_shown_and_never_built_on(whole: list[Rung]) -> None:
    assert [rung.may_be_chosen for rung in whole] == [False] * 2 + [True] * (len(whole) - 2)
    assert all(rung.recipe.reduce_range for rung in whole[2:])
    # Though it is nearer to fp32 than 7 bits.
    fp32 = fp32_of("small_cnn")
    assert error(whole[1], fp32) < error(whole[2], fp32)


def test_without_every_rung_the_first_may_be_shipped_and_nothing_later_is_made() -> None:
    rungs = ladder(fp32_of("small_cnn"))[0].climb()
    first = next(rungs)
    assert first.name == "per channel, 7 bits"
    assert first.may_be_chosen
    assert first.recipe == Recipe()


def test_only_a_network_with_depthwise_convolutions_has_their_rung() -> None:
    rungs = ladder(fp32_of("mobilenet_v2"))[0].climb()
    assert [next(rungs).name for _ in range(3)] == [
        "per channel, 7 bits",
        "depthwise 8 bits",
        "biases corrected",
    ]


def test_each_rung_is_what_its_name_says(whole: list[Rung]) -> None:
    by_name = {rung.name: rung for rung in whole}
    methods = [by_name[name].recipe.ranges for name in ("biases corrected", *METHODS)]
    assert methods == [MIN_MAX, MSE, PERCENTILE, ENTROPY]
    assert by_name["equalised"].recipe.equalised
    assert by_name["finetuned"].recipe.finetuned_steps == N_STEPS
    data = [rung.model.SerializeToString() for rung in whole]
    assert len(set(data)) == len(data)
    for n in (1, 2, 4):
        rung = by_name[f"{n} worst in fp32"]
        assert len(rung.recipe.fp32_convs) == n
        readers = {
            node.name: list(node.input) for node in rung.model.graph.node if node.op_type == "Conv"
        }
        floats = {t.name for t in rung.model.graph.initializer if t.data_type == 1}
        in_fp32 = {name for name, inputs in readers.items() if inputs[1] in floats}
        assert in_fp32 == set(rung.recipe.fp32_convs)


def test_a_card_says_what_was_done() -> None:
    text = Recipe(corrected=True, depthwise_8_bits=True, fp32_convs=("conv_1",)).as_text()
    assert text["weights"] == "int8 per channel, 7 bits (reduce_range), depthwise 8 bits"
    assert text["fp32"] == "the head, conv_1"
    assert "corrected" in text["biases"]
    assert "equalised" not in text
    assert Recipe(finetuned_steps=300).as_text()["finetuned"].startswith("300 steps")


def test_an_operator_that_torch_does_not_know_here_is_said_and_the_ladder_goes_on() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(folded_of("small_cnn"))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Softplus"
    made, said = ladder(model, N_STEPS)
    rungs = list(made.climb())
    names = [rung.name for rung in rungs]
    assert names[:5] == ["per channel, 7 bits", *METHODS, "equalised"]
    assert names[-1] == "4 worst in fp32"
    assert not any(rung.recipe.corrected for rung in rungs)
    assert any("neither corrected nor finetuned" in line and "Softplus" in line for line in said)


def test_the_search_finds_the_convolution_whose_weights_cannot_be_rounded() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(folded_of("small_cnn"))
    before, spoiled = (node for node in model.graph.node if node.op_type == "Conv" and _is(node))
    tensors = {t.name: t for t in model.graph.initializer}

    def change(name: str, value: float, *at: object) -> None:
        array = numpy_helper.to_array(tensors[name]).copy()
        array[at] = value
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))

    # A channel that is always black has weights so large that all others round to nothing.
    change(before.input[1], 0, 0)
    change(before.input[2], -1, 0)
    change(spoiled.input[1], 1000, slice(None), 0)
    assert spoiled.name in convolutions(model)

    made, said = ladder(model)
    rungs = {rung.name: rung for rung in made.climb()}
    best = rungs["1 worst in fp32"]
    assert best.recipe.fp32_convs == (spoiled.name,)
    assert any(f"the worst: {spoiled.name} " in line for line in said)
    assert error(best, model) < 0.3 * error(rungs["per channel, 7 bits"], model)


def _is(conv: onnx.NodeProto) -> bool:
    """The third and the fourth of the small network."""
    return conv.name in convolutions(folded_of("small_cnn"))[2:4]


def test_the_rungs_do_not_change_the_model_given() -> None:
    model = fp32_of("small_cnn")
    data = model.SerializeToString()
    rungs = ladder(model)[0].climb()
    for _ in range(3):
        next(rungs)
    assert model.SerializeToString() == data
    assert np.isfinite(logits_of(model, FILMS[:1])).all()
