"""A checkpoint becomes a quantized ONNX model with its card, or is refused."""
