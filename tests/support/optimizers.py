"""Optimizers on small functions and nets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.components.optimizers import build_optimizer


def steps(name: str, num_steps: int, **keywords: Any) -> Tensor:
    """Minimise x²/2 + y²·2 from (1, -1); returns the last point."""
    return descend(name, num_steps, lambda p: p[0] ** 2 / 2 + 2 * p[1] ** 2, **keywords)


def descend(
    name: str, num_steps: int, loss: Callable[[Tensor], Tensor], **keywords: Any
) -> Tensor:
    point = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = build_optimizer({"name": name, **keywords}, [{"params": [point]}], Path())
    for _ in range(num_steps):
        step(optimizer, lambda: loss(point))
    return point.detach()


def step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = loss()
            torch.autograd.backward(value)
        return value.detach()

    if getattr(optimizer, "needs_closure", False):
        optimizer.step(closure)  # type: ignore[arg-type]
    else:
        closure()
        optimizer.step()


class Net:
    """A linear layer with a bias, its optimizer, and ten rows to fit."""

    def __init__(self, name: str, options: list[dict[str, float]] | None = None) -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.x, self.y = torch.randn(10, 3), torch.randn(10, 2)
        parts = [[self.layer.weight], [self.layer.bias]]
        groups = (
            [{"params": part, **each} for part, each in zip(parts, options, strict=True)]
            if options
            else [{"params": [*self.layer.parameters()]}]
        )
        self.optimizer = build_optimizer({"name": name}, groups, Path())

    @property
    def weights(self) -> list[Tensor]:
        return [param.detach() for param in self.layer.parameters()]

    def train(self, num_steps: int, start: int = 0) -> None:
        for number in range(start, start + num_steps):
            rows = torch.randperm(10, generator=torch.Generator().manual_seed(number))[:5]
            step(
                self.optimizer,
                lambda rows=rows: (self.layer(self.x[rows]) - self.y[rows]).square().mean(),
            )

    def load(self, other: Net) -> None:
        self.layer.load_state_dict(copy.deepcopy(other.layer.state_dict()))
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
