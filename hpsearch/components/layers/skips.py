"""Ways around layers: added to what they give, beside it, or mixed with it by a gate.

Where inputs don't have the shape of outputs a `way` brings them to it. The sum without one is
`Residual`, of modules.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class _Around(nn.Module):
    """Modules in order, `body`, and a `way` around them: by default x as it is."""

    def __init__(self, body: Iterable[nn.Module], way: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.way = nn.Sequential(*body), way or nn.Identity()


class Added(_Around):
    """Modules added to what comes by the way around them (He et al., 2016, equation 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return P(x) + f(x)."""
        total: Tensor = self.way(x) + self.body(x)
        return total


class Concatenated(_Around):
    """Modules whose outputs stand after what comes by the way around them (Huang et al., 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [P(x), f(x)], (rows, features of both, ...)."""
        return torch.cat([self.way(x), self.body(x)], 1)


class Gated(_Around):
    """T(x) f(x) + (1 - T(x)) P(x), with a gate T, a layer whose sigmoid is taken.

    Highway networks (Srivastava et al., 2015, arXiv 1505.00387, equation 3).
    """

    def __init__(
        self, body: Iterable[nn.Module], gate: nn.Module, way: nn.Module | None = None
    ) -> None:
        super().__init__(body, way)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Return what is mixed."""
        passed = self.way(x)
        mixed: Tensor = passed + self.gate(x).sigmoid() * (self.body(x) - passed)
        return mixed


def as_gate(layer: Layer, bias: float = -1.0) -> Layer:
    """Return a layer whose biases begin at a value, to initializers too: below 0, so that at
    first most of x passes."""
    assert layer.bias is not None
    layer.initial_bias = bias  # type: ignore[assignment]
    nn.init.constant_(layer.bias, bias)
    return layer
