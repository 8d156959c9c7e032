"""Ways around layers: beside what they give, or mixed with it by a gate.

The sum is `Residual`, of modules.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Concatenated(nn.Sequential):
    """Modules in order, whose outputs stand after their inputs (Huang et al., 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [x, f(x)], (rows, features of both)."""
        result = x
        for module in self:
            result = module(result)
        return torch.cat([x, result], 1)


class Gated(nn.Module):
    """T(x) f(x) + (1 - T(x)) x of vectors (rows, width), with a sigmoid layer T.

    Highway networks (Srivastava et al., 2015, arXiv 1505.00387, equation 3). At first most of x
    passes: the gate's biases begin at `gate_bias`.
    """

    def __init__(self, body: Iterable[nn.Module], width: int, gate_bias: float = -1.0) -> None:
        super().__init__()
        self.body, self.gate = nn.Sequential(*body), GateLinear(width, width)
        self.gate.initial_bias = gate_bias
        nn.init.constant_(self.gate.bias, gate_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, width)."""
        mixed: Tensor = x + self.gate(x).sigmoid() * (self.body(x) - x)
        return mixed


class GateLinear(nn.Linear):
    """A linear layer whose biases begin at `initial_bias`, to initializers too."""

    initial_bias = 0.0
