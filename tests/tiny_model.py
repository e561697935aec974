"""A tiny real ONNX model: its logits are 10 times the mean of the prepared film, less 5.

Its heatmaps, of 4 x 4 cells, are 10 times each cell's own mean. One with a gate takes a film for
the condition in GATED whose quadrants are like its own, and its features are how far the film's
mean lies from a half.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cxr_edge.golden import GOLDEN_KEY, GoldenVector, from_text, to_text
from cxr_edge.model_card import (
    METADATA_KEY,
    READABLE,
    SCHEMA_VERSION,
    Figure,
    Gate,
    InputSpec,
    ModelCard,
    OperatingPoint,
    TrainingData,
)

SIDE_PX = 32
# Which quadrants of a film are bright: upper left, upper right, lower left, lower right.
GATED = {
    READABLE: (1, 0, 1, 0),
    "not_a_chest_film": (0, 1, 0, 1),
    "lateral": (1, 1, 0, 0),
    "inverted": (0, 0, 1, 1),
    "overexposed": (1, 0, 0, 1),
    "underexposed": (0, 1, 1, 0),
    "rotated_90": (1, 0, 0, 0),
    "rotated_180": (0, 1, 0, 0),
    "rotated_270": (0, 0, 1, 0),
    "lungs_cut_off": (0, 0, 0, 1),
    "photographed": (0, 1, 1, 1),
}


def tiny_card(findings: tuple[str, ...] = ("pneumonia",)) -> ModelCard:
    return ModelCard(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        version="1",
        findings=findings,
        activation="sigmoid",
        temperature=1.0,
        input=InputSpec(
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            channels=1,
            resize="squash",
            black_percentile=1.0,
            white_percentile=99.0,
            mean=(0.0,),
            std=(1.0,),
        ),
        operating_points=tuple(
            OperatingPoint(name, 0.5, 0.9, 0.8, "made films", "by hand") for name in findings
        ),
        training_data=TrainingData("made films", "0" * 64, 2, 2, "none", "none"),
        recipe={},
        quantization={},
        precision="fp32",
        twin_sha256="",
        figures=(),
        intended_use="tests",
        age_range_years=(0.0, 120.0),
        views=("PA", "AP"),
        licence="Apache-2.0",
        gate=None,
        unsure=(),
        reference=None,
    )


def golden_text(n_outputs: int = 1, off_by: float = 0.0) -> str:
    """A golden vector of the tiny model; off_by: what its logits differ from what it gives."""
    grey = np.tile(np.linspace(0, 250, SIDE_PX).astype(np.uint8), (SIDE_PX, 1))
    logit = 10 * float(grey.mean()) / 255 - 5 + off_by
    return to_text([GoldenVector(grey, (logit,) * n_outputs)])


def write_tiny_model(
    path: Path,
    card: str | None = "",
    n_outputs: int = 1,
    findings: tuple[str, ...] = ("pneumonia",),
    golden: str | None = "",
    bias: float = -5,
) -> Path:
    """Write the model; card, golden: their JSON, "" for the right one, None for none at all."""
    weight = numpy_helper.from_array(np.full((1, n_outputs), 10, np.float32), "weight")
    bias = numpy_helper.from_array(np.full(n_outputs, bias, np.float32), "bias")
    cells = numpy_helper.from_array(np.full((n_outputs, 1, 8, 8), 10 / 64, np.float32), "cells")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["radiographs"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"]),
            helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
            helper.make_node("Conv", ["radiographs", "cells"], ["heatmaps"], strides=[8, 8]),
        ],
        "tiny",
        [helper.make_tensor_value_info("radiographs", TensorProto.FLOAT, ["n", 1, 32, 32])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", n_outputs]),
            helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["n", n_outputs, 4, 4]),
        ],
        [weight, bias, cells],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if card is not None:
        text = card or tiny_card(findings).to_json()
        model.metadata_props.add(key=METADATA_KEY, value=text)
    if golden is not None:
        model.metadata_props.add(key=GOLDEN_KEY, value=golden or golden_text(n_outputs))
    path.write_bytes(model.SerializeToString())
    return path


def write_drifting_model(
    path: Path, twin_off_by: float | None = None, version: str = "1", n_right: int = 0
) -> Path:
    """An "int8" model that gives other logits here than where it was made.

    twin_off_by: what its fp32 twin's golden vector is off by; None for no twin. n_right: so many
    golden vectors that hold come first.
    """
    twin_sha256 = ""
    if twin_off_by is not None:
        twin = write_tiny_model(
            path.with_name(path.stem + ".fp32.onnx"),
            replace(tiny_card(), version=version).to_json(),
            golden=golden_text(off_by=twin_off_by),
        )
        twin_sha256 = hashlib.sha256(twin.read_bytes()).hexdigest()
    card = replace(tiny_card(), version=version, precision="int8", twin_sha256=twin_sha256)
    vectors = from_text(golden_text()) * n_right + from_text(golden_text(off_by=1.0))
    return write_tiny_model(path, card.to_json(), golden=to_text(vectors))


def gated_card() -> ModelCard:
    gate = Gate(
        conditions=tuple(GATED),
        min_readable=0.5,
        centres=((0.0, 0.0), (-50.0, 50.0)),
        max_distance=1.5,
        fitted_on="made films",
        figures=(Figure("refused: lateral", 0.99, 0.95, 1.0, 200, "made films of other kinds"),),
    )
    return replace(tiny_card(), gate=gate)


def write_gated_model(path: Path, card: ModelCard | None = None) -> Path:
    """Write the tiny model with a gate; card: None for gated_card()."""
    write_tiny_model(path, (card or gated_card()).to_json())
    model = onnx.load(path)
    bright = np.array(list(GATED.values()), np.float32)  # (G, 4)
    constants = {
        # Together they give -10 times how many quadrants are another's.
        "condition_weight": 10 * (2 * bright.T - 1),
        "condition_bias": -10 * bright.sum(1),
        "feature_weight": np.full((4, 2), 2.5, np.float32),  # 10 times the mean
        "feature_bias": np.full(2, -5, np.float32),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    )
    model.graph.node.extend(
        [
            helper.make_node(
                "AveragePool", ["radiographs"], ["pools"], kernel_shape=[16, 16], strides=[16, 16]
            ),
            helper.make_node("Flatten", ["pools"], ["quadrants"]),
            *(
                helper.make_node(
                    "Gemm", ["quadrants", f"{name}_weight", f"{name}_bias"], [f"{name}s"]
                )
                for name in ("condition", "feature")
            ),
        ]
    )
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("conditions", len(GATED)), ("features", 2))
    )
    path.write_bytes(model.SerializeToString())
    return path


def gated_film(condition: str, side_px: int = 64) -> NDArray[np.uint8]:
    """What the model with a gate takes for that condition; "unlike_training" is readable, and yet
    brighter than any film that it knows."""
    dark = 115 if condition == "unlike_training" else 0
    quadrants = np.reshape(GATED.get(condition, GATED[READABLE]), (2, 2))
    grey = np.where(quadrants, 255, dark).repeat(side_px // 2, 0).repeat(side_px // 2, 1)
    grey[-side_px // 32 :, side_px // 2 :] = 0  # black is where the stretch of grey values begins
    return np.asarray(grey, np.uint8)
