"""A checkpoint becomes a quantized ONNX model with its card, or is refused."""

import cxr_edge as cxr_edge  # before onnxruntime, which it keeps from reporting
