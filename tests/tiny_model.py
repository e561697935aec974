"""A tiny real ONNX model: its logit is 10 times the mean of the prepared film, less 5."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cxr_edge.model_card import (
    METADATA_KEY,
    SCHEMA_VERSION,
    InputSpec,
    ModelCard,
    OperatingPoint,
    TrainingData,
)

SIDE_PX = 32


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
        figures=(),
        intended_use="tests",
        age_range_years=(0.0, 120.0),
        licence="Apache-2.0",
    )


def write_tiny_model(
    path: Path,
    card: str | None = "",
    n_outputs: int = 1,
    findings: tuple[str, ...] = ("pneumonia",),
) -> Path:
    """Write the model; card: its JSON, "" for the right one, None for none at all."""
    weight = numpy_helper.from_array(np.full((1, n_outputs), 10, np.float32), "weight")
    bias = numpy_helper.from_array(np.full(n_outputs, -5, np.float32), "bias")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["radiographs"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"]),
            helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("radiographs", TensorProto.FLOAT, ["n", 1, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", n_outputs])],
        [weight, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if card is not None:
        text = card or tiny_card(findings).to_json()
        model.metadata_props.add(key=METADATA_KEY, value=text)
    path.write_bytes(model.SerializeToString())
    return path
