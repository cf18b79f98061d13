"""Linear layers of a model that only encodes, by oneDNN: on many processors twice as fast as what torch calls."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_DIFFERENCE = 1e-4
_SMALLEST_ROWS = 8  # with fewer rows, laying out the weights anew costs more than the product
_TRIED = (16, 64, 32)  # rows, inputs and outputs of the product that is tried


def use_onednn(model: nn.Module) -> None:
    """Let the plain linear layers of a model take oneDNN's product where it applies; nothing changes elsewhere."""
    if not _works():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _OneDnnLinear


class _OneDnnLinear(nn.Linear):
    """float32 on the CPU without gradients goes to oneDNN; everything else, tracing for export too, stays torch's."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        rows = input.numel() // self.in_features
        plain = input.device.type == "cpu" and input.dtype == self.weight.dtype == torch.float32
        others = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.onnx.is_in_onnx_export()
        if others or not plain or rows < _SMALLEST_ROWS:
            return super().forward(input)
        return _product(input, self.weight, self.bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The operator that torch's own compiler emits for a linear layer; it is not part of the public interface.

    It reads its inputs as if they were contiguous, whatever their strides say.
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight.contiguous(), bias, "none", [], "")
    return product


@cache
def _works() -> bool:
    """Whether this torch has the operator, and it multiplies as torch does."""
    rows, inputs, outputs = _TRIED
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, inputs, generator=generator) for size in (rows, outputs))
    try:
        with torch.inference_mode():
            difference = (_product(x, weight, None) - functional.linear(x, weight)).abs().max().item()
    except (AttributeError, RuntimeError, TypeError):  # no such operator, or one of another form
        return False
    return difference <= LARGEST_DIFFERENCE
