"""What cannot be written as ONNX is named."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from export.convert import to_onnx
from export.errors import ExportError
from train.config import default_input_spec
from train.networks import build


class _Bessel(nn.Module):
    """torch has it, ONNX has not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def test_a_network_with_an_operator_that_onnx_lacks_is_named() -> None:
    network = build("resnet18", 1, 1)
    network.relu = _Bessel()
    with pytest.raises(ExportError, match=r"ResNet cannot be written as ONNX .*bessel_j0"):
        to_onnx(network, replace(default_input_spec(), width_px=32, height_px=32))
