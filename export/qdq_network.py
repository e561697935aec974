"""A QDQ model as a torch module: what onnxruntime will run is what is corrected and trained.

Each quantized layer keeps float weights, which are rounded on the way forward and get their
gradient as if they were not (Jacob et al. 2018, arXiv:1712.05877); its scales per channel can be
learned too (Esser et al. 2020, arXiv:1902.08153). The activations keep their ranges.
"""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from .convert import INPUT_NAME, OUTPUT_NAME, heatmap_nodes
from .errors import ExportError

AfterConv = Callable[[onnx.NodeProto, Tensor], Tensor]

_PIECE = 1 << 16
_U8_MAX = 255
_LAYERS = ("Conv", "Gemm")
# A hair less than half, so that a weight rounds to what it was rounded to.
_SAME_STEP = 0.49


class QdqNetwork(nn.Module):
    """Radiographs (N, C, H, W) to logits (N, K), by the graph of a QDQ model or of a plain one.

    model: as quantize.quantize gives it, or the fp32 one. fp32: the one that it was made from,
    which has the weights before rounding; of a weight that rounds to something else by now, the
    model's own counts.
    Raises ExportError where the graph holds an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto, fp32: onnx.ModelProto) -> None:
        super().__init__()
        self.model = model
        for_heatmaps = set(heatmap_nodes(model.graph))
        nodes = [node for node in model.graph.node if node.name not in for_heatmaps]
        self._steps = [(node, _step(node)) for node in nodes]
        self._last_use = {name: node.name for node in nodes for name in node.input}
        self._maker = {node.output[0]: node for node in nodes}
        self._constants = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
        before = {tensor.name: _tensor(tensor) for tensor in fp32.graph.initializer}
        # By the names of the fp32 model: weights to be rounded with their scales, and the rest.
        self.weights, self.log_scales = nn.ParameterDict(), nn.ParameterDict()
        self.floats = nn.ParameterDict()
        self._largest: dict[str, int] = {}
        for layer in self._layers():
            for name in layer.input[1:]:
                rounding = self._maker.get(name)
                if rounding is None:
                    self.floats[_key(name)] = nn.Parameter(self._constants[name].clone())
                    continue
                whole, scale = (self._constants[part] for part in rounding.input[:2])
                key = _key(rounding.input[0])
                step = scale.view(-1, *[1] * (whole.dim() - 1))
                held = whole * step
                if whole.dtype == torch.int8:
                    exact = before[_before_rounding(rounding)]
                    # What was corrected or finetuned since it was rounded is no longer fp32's.
                    same = (held - exact).abs() < _SAME_STEP * step
                    self.weights[key] = nn.Parameter(torch.where(same, exact, held))
                    self.log_scales[key] = nn.Parameter(scale.log())
                    # 7 bits or 8: see quantize.py.
                    self._largest[key] = 64 if int(whole.abs().max()) <= 64 else 127
                else:
                    self.floats[key] = nn.Parameter(held)

    def forward(self, x: Tensor, after_conv: AfterConv | None = None) -> Tensor:
        """Logits (N, K). after_conv: may change what a convolution gives."""
        found: dict[str, Tensor] = {INPUT_NAME: x}

        def value(name: str) -> Tensor:
            if name in found:
                return found[name]
            return self.floats[_key(name)] if _key(name) in self.floats else self._constants[name]

        for node, step in self._steps:
            source = node.input[0]
            if node.op_type == "DequantizeLinear" and source not in found:
                key = _key(source)
                out = (
                    self._rounded(key) * self._scale(key)
                    if key in self.weights
                    else self.floats[key]
                )
            else:
                out = step(*(value(name) for name in node.input))
            if node.op_type == "Conv" and after_conv is not None:
                out = after_conv(node, out)
            found[node.output[0]] = out
            for name in node.input:
                if self._last_use[name] == node.name:
                    found.pop(name, None)  # or the films of a correction would not fit in memory
        return found[OUTPUT_NAME]

    def bias_of(self, conv: onnx.NodeProto) -> nn.Parameter | None:
        """A convolution's bias (C,), where it has one."""
        if len(conv.input) < 3:
            return None
        rounding = self._maker.get(conv.input[2])
        bias: nn.Parameter = self.floats[_key(rounding.input[0] if rounding else conv.input[2])]
        return bias

    @torch.no_grad()
    def written(self) -> onnx.ModelProto:
        """The model with the weights, scales and biases as they are now."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}

        def put(name: str, value: Tensor) -> None:
            kind = numpy_helper.to_array(tensors[name]).dtype
            tensors[name].CopyFrom(numpy_helper.from_array(value.numpy().astype(kind), name))

        for layer in self._layers():
            scale = torch.ones(())
            for name in layer.input[1:]:
                rounding = self._maker.get(name)
                if rounding is None:
                    put(name, self.floats[_key(name)])
                    continue
                key = _key(rounding.input[0])
                if key in self.weights:
                    scale = self.log_scales[key].exp()
                    put(rounding.input[0], self._rounded(key))
                    put(rounding.input[1], scale)
                else:  # int32, in steps of the products that it is added to
                    step = scale * self._constants[self._maker[layer.input[0]].input[1]]
                    put(rounding.input[0], (self.floats[key] / step).round())
                    put(rounding.input[1], step)
        return model

    def _layers(self) -> list[onnx.NodeProto]:
        return [node for node, _ in self._steps if node.op_type in _LAYERS]

    def _rounded(self, key: str) -> Tensor:
        largest = self._largest[key]
        exact = (self.weights[key] / self._scale(key)).clamp(-largest, largest)
        # Rounded, with the gradient of what was not.
        return exact + (exact.round() - exact).detach()

    def _scale(self, key: str) -> Tensor:
        return self.log_scales[key].exp().view(-1, *[1] * (self.weights[key].dim() - 1))


def _key(name: str) -> str:
    # A ParameterDict takes no dots.
    return name.replace(".", "/")


def _before_rounding(rounding: onnx.NodeProto) -> str:
    """The fp32 model's name for what a DequantizeLinear brings back (onnxruntime's naming)."""
    return str(rounding.input[0]).removesuffix("_quantized")


def _tensor(tensor: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(tensor).copy())


def _step(node: onnx.NodeProto) -> Callable[..., Tensor]:
    """The torch form of an ONNX node. Raises ExportError where it is not known."""
    a: dict[str, Any] = {x.name: helper.get_attribute_value(x) for x in node.attribute}
    window = {
        "stride": a.get("strides", [1, 1]),
        "padding": _padding(node, a.get("pads", [0, 0, 0, 0])),
    }
    match node.op_type:
        case "QuantizeLinear":
            return lambda x, scale, zero: _FakeQuantize.apply(x, float(scale), int(zero))
        case "DequantizeLinear":
            return lambda x, *_: x
        case "Conv":
            window |= {"dilation": a.get("dilations", [1, 1]), "groups": a.get("group", 1)}
            return lambda x, w, b=None: F.conv2d(x, w, b, **window)
        case "Gemm" if a.get("transB") == 1 and not a.get("transA"):
            return F.linear
        case "Relu":
            return F.relu
        case "Clip":
            return lambda x, low, high: x.clamp(float(low), float(high))
        case "Add":
            return torch.add
        case "Concat":
            return lambda *parts: torch.cat(parts, a["axis"])
        case "MaxPool":
            return lambda x: F.max_pool2d(x, a["kernel_shape"], **window)
        case "AveragePool" if not any(a.get("pads", [])):
            return lambda x: F.avg_pool2d(x, a["kernel_shape"], **window)
        case "GlobalAveragePool":
            return lambda x: x.mean((2, 3), keepdim=True)
        case "ReduceMean":
            return lambda x, axes: x.mean(axes.tolist(), keepdim=bool(a.get("keepdims", 1)))
        case "BatchNormalization":
            eps = a.get("epsilon", 1e-5)
            return lambda x, g, b, mean, var: F.batch_norm(x, mean, var, g, b, eps=eps)
        case "Flatten":
            return lambda x: x.flatten(a.get("axis", 1))
        case "Reshape":
            return lambda x, shape: x.reshape([x.shape[0], *shape.tolist()[1:]])
    raise ExportError(
        f"The network uses {node.op_type} ({node.name}), which cannot be corrected or finetuned.",
        "Add the operator to export/qdq_network.py.",
    )


def _padding(node: onnx.NodeProto, pads: Sequence[int]) -> list[int]:
    if list(pads[:2]) != list(pads[2:]):
        raise ExportError(
            f"{node.name} pads its sides differently ({list(pads)}).",
            "Give the layer the same padding on both sides.",
        )
    return list(pads[:2])


class _FakeQuantize(torch.autograd.Function):
    """To u8 and back, with the gradient of clipping.

    Piece by piece, so that the four steps stay in the cache: torch's own operator takes as long
    here as the convolutions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, zero_point: int) -> Tensor:
        low, high = -zero_point, _U8_MAX - zero_point
        x = x.contiguous(memory_format=_layout(x))
        y = torch.empty_like(x)
        for into, piece in zip(_pieces(y), _pieces(x), strict=True):
            torch.mul(piece, 1 / scale, out=into)
            into.round_().clamp_(low, high).mul_(scale)
        ctx.save_for_backward(y)
        ctx.limits = (low * scale, high * scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], y, *ctx.limits), None, None


def _layout(x: Tensor) -> torch.memory_format:
    channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def _pieces(x: Tensor) -> Sequence[Tensor]:
    """The numbers of a dense tensor in the order of memory, a piece at a time."""
    return x.as_strided((x.numel(),), (1,)).split(_PIECE)
