"""torch's weight norm by operations that vmap has rules for: it has none for the fused one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm


def divide_by_norms(model: nn.Module) -> None:
    """Let the weight norms of a model be computed by operations of their own."""
    for module in model.modules():
        if type(module) is _WeightNorm:
            module.__class__ = _Divided


class _Divided(_WeightNorm):
    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """Return g v / |v|, with a norm for each place of the axis `dim`; -1: with one norm."""
        axes = [axis for axis in range(weight_v.ndim) if axis != self.dim]
        norms: Tensor = torch.linalg.vector_norm(weight_v, dim=axes, keepdim=True)
        return weight_v * (weight_g / norms)
