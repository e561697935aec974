"""The same network in other precisions, beside the model that is shipped."""

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_fp16(fp32: onnx.ModelProto) -> onnx.ModelProto:
    """Half precision inside, for CUDA; inputs and outputs stay float32."""
    model = onnx.ModelProto()
    model.CopyFrom(fp32)
    half = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
    half.topological_sort()  # the cast of the input comes last
    sorted_half: onnx.ModelProto = half.model
    return sorted_half
