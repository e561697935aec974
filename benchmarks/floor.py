"""From a JPEG to its findings against what the machine cannot do faster.

    python -m benchmarks.floor [FILM ...]

The floor is the sum of two times, measured in the same turns on the same core: libjpeg-turbo's
reduced decode of the film's bytes (through OpenCV, at the factor that leaves the short side at
least twice the network's input), and the network's multiply-adds at the core's peak int8 rate. That
rate is what onnxruntime's own int8 matrix product reaches on a square matrix that fits the cache.
Reading the file, its sha256, resizing and everything between the network's products count for
nothing in the floor.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cxr_edge import load_model, predict
from cxr_edge.model_file import twin_path

from .films import conditions, named_or_made
from .results import record_ratio
from .turns import take_turns, timed, use_cores

N_TURNS = 40
SIDE = 512  # of the matrices: 0.25 MB each, within the second-level cache
_PRODUCTS = {"Conv", "ConvInteger", "QLinearConv", "Gemm", "MatMul", "MatMulInteger"}
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}


def main() -> None:
    use_cores(1)
    model = load_model(device="cpu", threads=1)
    # The network's own: int8 has zeros among its weights (export/first_convolution.py).
    n_products = multiply_adds(onnx.load(twin_path(model.path)))
    product = int8_product()
    with tempfile.TemporaryDirectory() as folder:
        films = named_or_made(sys.argv[1:], Path(folder))
        files = [np.frombuffer(film.read_bytes(), np.uint8) for film in films]
        side = min(model.card.input.height_px, model.card.input.width_px)
        flags = [_REDUCED[reduction(cv2.imdecode(data, 0).shape, side)] for data in files]
        jobs = list(zip(files, flags, strict=True))
        ours_s, decode_s, product_s = take_turns(
            [
                partial(timed, partial(predict, model=model), films, 3),
                partial(timed, lambda job: cv2.imdecode(*job), jobs, 3),
                partial(timed, lambda _: product(), range(4), 3),
            ],
            N_TURNS,
        )
        network_s = n_products * product_s / SIDE**3
        record_ratio(
            "floor",
            "the floor: reduced JPEG decode and the multiply-adds at the peak int8 rate",
            1.6,
            ours_s,
            decode_s + network_s,
            {
                "floor_decode_ms": 1000 * float(np.median(decode_s)),
                "floor_network_ms": 1000 * float(np.median(network_s)),
                "mega_multiply_adds": n_products / 1e6,
                "peak_giga_multiply_adds_per_s": SIDE**3 / float(np.median(product_s)) / 1e9,
                **conditions(films),
            },
            at_least=False,
        )


def reduction(shape: tuple[int, ...], side_px: int) -> int:
    """The largest of libjpeg's 8, 4, 2, 1 that leaves the short side at least twice `side_px`."""
    return next((factor for factor in (8, 4, 2) if min(shape[:2]) // factor >= 2 * side_px), 1)


def multiply_adds(model: onnx.ModelProto, output: str = "logits") -> int:
    """Of one image through the convolutions and matrix products that `output` needs."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return sum(
        _products(node, shapes) for node in _needed(graph, output) if node.op_type in _PRODUCTS
    )


def _products(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    n_results = int(np.prod(shapes[node.output[0]]))
    weight = node.input[3] if node.op_type.startswith("QLinear") else node.input[1]
    if "Conv" in node.op_type:
        # Each result takes one filter: (channels of its group, rows, columns).
        return n_results * int(np.prod(shapes[weight][1:]))
    left = shapes[node.input[0]]
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return n_results * (left[0] if transposed else left[-1])


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    wanted, nodes = {output}, []
    for node in reversed(graph.node):  # a graph's nodes stand in the order of their use
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    return nodes


def int8_product() -> Callable[[], object]:
    """A call that multiplies two int8 matrices (SIDE, SIDE) on one core, uint8 by int8."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    right = rng.integers(-64, 64, (SIDE, SIDE), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, left.shape)],
        [helper.make_tensor_value_info("product", TensorProto.INT32, left.shape)],
        [numpy_helper.from_array(right, "right")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"left": left})


if __name__ == "__main__":
    main()
