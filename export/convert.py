"""PyTorch to ONNX, fp32, with a dynamic batch."""

import logging
import warnings

import onnx
import torch
from torch import nn

from cxr_edge.model_card import InputSpec

INPUT_NAME, OUTPUT_NAME = "radiographs", "logits"
OPSET = 18


def to_onnx(network: nn.Module, spec: InputSpec) -> onnx.ModelProto:
    """The network as ONNX: radiographs (N, C, H, W) to logits (N, K)."""
    example = torch.zeros(2, spec.channels, spec.height_px, spec.width_px)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns about its own deprecations; what matters is compared afterwards.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only where it was told to write a file
    model = program.model_proto
    _forget_origin(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _forget_origin(graph: onnx.GraphProto) -> None:
    """Drop what the exporter notes of the Python lines behind each node: it names this machine."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
