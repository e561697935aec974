"""Correcting biases and finetuning bring int8 nearer to fp32, and the heatmaps stay its own."""

import numpy as np
import onnx
import pytest
import torch

from export.convert import HEATMAPS_NAME, heatmap_nodes
from export.finetune import correct_biases, finetune
from export.quantize import head
from tests.small_onnx import FILMS, answers_of, folded_of, int8_of, made_films, rms

N_STEPS = 60


def logits(model: onnx.ModelProto, films: np.ndarray = FILMS) -> np.ndarray:
    return answers_of(model, films)[0]


@pytest.fixture(scope="module", params=["linear", "dense128"])
def head_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def finetuned(head_kind: str) -> onnx.ModelProto:
    steps = []
    model = finetune(
        int8_of("small_cnn", head_kind),
        folded_of("small_cnn", head_kind),
        FILMS,
        N_STEPS,
        torch.sigmoid,
        lambda numbers: (steps.append(i) or i for i in numbers),
    )
    assert steps == list(range(N_STEPS))
    return model


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "mobilenet_v2"])
def test_corrected_biases_bring_the_mean_logits_and_the_logits_nearer(name: str) -> None:
    fp32, int8 = folded_of(name), int8_of(name)
    corrected = correct_biases(int8, fp32, FILMS)
    before, after = (logits(model) - logits(fp32) for model in (int8, corrected))
    assert rms(after.mean(0)) < rms(before.mean(0))
    assert rms(after) < 0.9 * rms(before)


def test_corrected_biases_help_films_that_were_not_seen() -> None:
    fp32, int8 = folded_of("small_cnn"), int8_of("small_cnn")
    unseen = made_films(16, seed=1)
    corrected = correct_biases(int8, fp32, FILMS)
    before, after = (logits(model, unseen) - logits(fp32, unseen) for model in (int8, corrected))
    assert np.abs(after.mean(0)).max() < np.abs(before.mean(0)).max()


def test_correcting_changes_biases_alone() -> None:
    int8 = int8_of("small_cnn")
    corrected = correct_biases(int8, folded_of("small_cnn"), FILMS)
    changed = [
        before.name
        for before, after in zip(int8.graph.initializer, corrected.graph.initializer, strict=True)
        if before.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.INT32)
        and before.raw_data != after.raw_data
    ]
    assert changed
    assert all("bias" in name for name in changed)


def test_finetuning_brings_the_logits_nearer_on_the_films_it_saw(
    finetuned: onnx.ModelProto, head_kind: str
) -> None:
    wanted = logits(folded_of("small_cnn", head_kind))
    before = rms(logits(int8_of("small_cnn", head_kind)) - wanted)
    assert rms(logits(finetuned) - wanted) < 0.7 * before


def test_no_step_changes_nothing_but_how_ties_are_rounded() -> None:
    int8 = int8_of("small_cnn")
    same = finetune(int8, folded_of("small_cnn"), FILMS, 0, torch.sigmoid, lambda steps: steps)
    np.testing.assert_allclose(logits(same), logits(int8), atol=0.01)


def test_the_heatmaps_read_the_weights_that_the_logits_do(
    finetuned: onnx.ModelProto, head_kind: str
) -> None:
    alone = set(heatmap_nodes(finetuned.graph))
    read = {name for node in finetuned.graph.node if node.name in alone for name in node.input}
    # A dense head's hidden layer is in int8, and the heatmaps read what comes back of it.
    layers = [node for node in finetuned.graph.node if node.op_type == "Gemm"]
    assert len(layers) == (1 if head_kind == "linear" else 2)
    assert all(layer.input[1] in read for layer in layers)


def test_behind_a_linear_head_a_finetuned_heatmaps_mean_and_the_bias_are_the_logit() -> None:
    fp32 = folded_of("small_cnn")
    model = finetune(int8_of("small_cnn"), fp32, FILMS, 5, torch.sigmoid, lambda steps: steps)
    before, after = (
        next(t for t in graph.initializer if t.name == head(graph).input[1])
        for graph in (fp32.graph, model.graph)
    )
    assert before.raw_data != after.raw_data  # the head has learned
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    found, heatmaps = answers_of(model)
    means = heatmaps.mean((2, 3)) + tensors[head(model.graph).input[2]]
    np.testing.assert_allclose(means, found, atol=1e-4)


def test_what_correcting_gained_is_not_lost_in_finetuning_and_the_other_way_round() -> None:
    fp32 = folded_of("small_cnn")
    corrected = correct_biases(int8_of("small_cnn"), fp32, FILMS)
    same = finetune(corrected, fp32, FILMS, 0, torch.sigmoid, lambda steps: steps)
    np.testing.assert_allclose(logits(same), logits(corrected), atol=1e-3)

    def weights(model: onnx.ModelProto) -> dict[str, bytes]:
        return {
            t.name: t.raw_data
            for t in model.graph.initializer
            if t.data_type == onnx.TensorProto.INT8
        }

    some = finetune(corrected, fp32, FILMS, 5, torch.sigmoid, lambda steps: steps)
    assert weights(some) != weights(corrected)
    assert weights(correct_biases(some, fp32, FILMS)) == weights(some)


def test_the_heatmaps_stay_near_those_of_fp32(finetuned: onnx.ModelProto, head_kind: str) -> None:
    assert finetuned.graph.output[1].name == HEATMAPS_NAME
    exact = answers_of(folded_of("small_cnn", head_kind))[1]
    assert rms(answers_of(finetuned)[1] - exact) < 0.3 * exact.std()
