"""PyTorch to ONNX, fp32, with a dynamic batch."""

import logging
import warnings

import onnx
import torch
from torch import Tensor, nn

from cxr_edge.model_card import InputSpec
from train.networks import Network

from .errors import ExportError

INPUT_NAME, OUTPUT_NAME, HEATMAPS_NAME = "radiographs", "logits", "heatmaps"
OPSET = 18


class _WithHeatmaps(nn.Module):
    """The network with both of its answers, as the exporter wants it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.forward_with_heatmaps(x)


def to_onnx(network: Network, spec: InputSpec) -> onnx.ModelProto:
    """The network as ONNX: radiographs (N, C, H, W) to logits (N, K) and heatmaps (N, K, h, w).

    What the heatmaps are: Network.forward_with_heatmaps.
    """
    example = torch.zeros(2, spec.channels, spec.height_px, spec.width_px)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns about its own deprecations; what matters is compared afterwards.
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _WithHeatmaps(network).eval(),
                (example,),
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME, HEATMAPS_NAME],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as exc:
            raise ExportError(
                f"{type(network).__name__} cannot be written as ONNX ({_cause(exc)}).",
                "Build the network from operators that torch.onnx.export knows.",
            ) from exc
    assert program is not None  # None only where it was told to write a file
    model = program.model_proto
    _forget_origin(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _cause(exc: BaseException) -> str:
    """The first error of a chain, on one line: the exporter wraps it in advice of its own."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return " ".join(str(exc).split())[:200]


def heatmap_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that serve the heatmaps alone: the logits do without them."""
    of_logits = _ways_to(graph, OUTPUT_NAME)
    return [name for name in _ways_to(graph, HEATMAPS_NAME) if name not in of_logits]


def _ways_to(graph: onnx.GraphProto, output: str) -> list[str]:
    """The names of the nodes that an output needs, from the last to the first."""
    wanted, names = {output}, []
    for node in reversed(graph.node):  # a graph is sorted: every node follows what it reads
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            names.append(node.name)
    return names


def _forget_origin(graph: onnx.GraphProto) -> None:
    """Drop what the exporter notes of the Python lines behind each node: it names this machine."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
