"""Penalties of a model's weights, and nets for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.components.weights import weights_of
from hpsearch.registry import ComponentOf

#: the penalty of a weight, written out
PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda w: 0.5 * w.abs().sum(),
    "l2": lambda w: 0.5 * w.square().sum(),
    "elastic_net": lambda w: 0.5 * w.abs().sum() + 0.25 * w.square().sum(),
    "orthogonality": lambda w: 0.5 * (w @ w.T - torch.eye(len(w))).square().sum(),
}
STRENGTHS: dict[str, dict[str, float]] = {
    "elastic_net": {"l1_strength": 0.5, "l2_strength": 0.25},
}


def net() -> nn.Sequential:
    """A filter of 9 values, then 2 units of 8 inputs; and what carries no penalty."""
    torch.manual_seed(0)
    head = nn.Linear(8, 2)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), head)


def build(family: str, name: str, model: nn.Module, **keywords: Any) -> Any:
    return ComponentOf(family).build({"name": name, **keywords}, model=model)


def rows_of(model: nn.Module) -> list[Tensor]:
    return [weight.value.detach().flatten(1) for weight in weights_of(model)]
