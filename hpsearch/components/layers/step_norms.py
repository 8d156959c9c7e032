"""Normalisations of what recurrent cells compute at each time step.

They have a scale but, unless asked for, no shift: the cells' biases follow them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GateLayerNorm(nn.Module):
    """Layer norm of parts of these sizes, each by itself; the same at all time steps."""

    def __init__(self, sizes: Sequence[int], eps: float, bias: bool = False) -> None:
        super().__init__()
        self._sizes = list(sizes)
        self.parts = nn.ModuleList(nn.LayerNorm(size, eps, bias=bias) for size in sizes)

    def forward(self, x: Tensor, step: int = 0) -> Tensor:
        """Normalise (..., features)."""
        parts = zip(self.parts, torch.split(x, self._sizes, -1), strict=True)
        return torch.cat([norm(part) for norm, part in parts], -1)


class StepBatchNorm(nn.Module):
    """Batch norm with statistics for each time step; steps from `t_max` on share the last ones."""

    def __init__(
        self, size: int, t_max: int, gamma_init: float, momentum: float, eps: float, bias: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), gamma_init))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.steps = nn.ModuleList(
            nn.BatchNorm1d(size, eps, momentum, affine=False) for _ in range(t_max)
        )

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Normalise (rows, features) of a time step."""
        norm = self.steps[min(step, len(self.steps) - 1)]
        x = norm(x) * self.weight
        return x if self.bias is None else x + self.bias


class EachStep(nn.Module):
    """A norm of time steps over a whole sequence."""

    def __init__(self, norm: StepBatchNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (rows, time, features)."""
        return torch.stack([self.norm(part, step) for step, part in enumerate(x.unbind(1))], 1)


class SequenceBatchNorm(nn.Module):
    """Batch norm over rows and time together."""

    def __init__(self, size: int, gamma_init: float, momentum: float, eps: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(size, eps, momentum)
        nn.init.constant_(self.norm.weight, gamma_init)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (rows, time, features)."""
        normalized: Tensor = self.norm(x.flatten(0, 1))
        return normalized.view_as(x)
