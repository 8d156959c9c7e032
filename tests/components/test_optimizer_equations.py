"""The steps of optimizers, by their equations in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.optimizers import steps


def reference(update: Callable[..., Tensor], num_steps: int) -> Tensor:
    point = torch.tensor([1.0, -1.0], dtype=torch.float64)
    state: dict[str, Tensor] = {}
    for step in range(1, num_steps + 1):
        gradient = point * torch.tensor([1.0, 4.0], dtype=torch.float64)
        point = update(point, gradient, state, step)
    return point.float()


def heavy_ball(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    gradient = gradient + 0.01 * point
    state["v"] = 0.9 * state["v"] + gradient if step > 1 else gradient
    return point - 0.02 * state["v"]


def nesterov(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    gradient = gradient + 0.01 * point
    state["v"] = 0.9 * state["v"] + gradient if step > 1 else gradient
    return point - 0.02 * (gradient + 0.9 * state["v"])


def adam(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    return _adam(point, gradient + 0.01 * point, state, step)


def adamw(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    return _adam(point * (1 - 0.02 * 0.01), gradient, state, step)


def _adam(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    state["m"] = 0.8 * state.get("m", 0 * point) + 0.2 * gradient
    state["s"] = 0.99 * state.get("s", 0 * point) + 0.01 * gradient**2
    mean, square = state["m"] / (1 - 0.8**step), state["s"] / (1 - 0.99**step)
    return point - 0.02 * mean / (square.sqrt() + 1e-8)


def rmsprop(point: Tensor, gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    gradient = gradient + 0.01 * point
    state["s"] = 0.95 * state.get("s", 0 * point) + 0.05 * gradient**2
    state["v"] = 0.9 * state.get("v", 0 * point) + gradient / (state["s"].sqrt() + 1e-8)
    return point - 0.02 * state["v"]


@pytest.mark.parametrize(
    ("name", "update", "keywords"),
    [
        ("sgd", heavy_ball, {"momentum": 0.9}),
        ("nesterov", nesterov, {"momentum": 0.9}),
        ("adam", adam, {"beta1": 0.8, "beta2": 0.99}),
        ("adamw", adamw, {"beta1": 0.8, "beta2": 0.99}),
        ("rmsprop", rmsprop, {"momentum": 0.9, "alpha": 0.95}),
    ],
)
def test_follows_its_equations(
    name: str, update: Callable[..., Tensor], keywords: dict[str, float]
) -> None:
    ours = steps(name, 25, lr=0.02, weight_decay=0.01, **keywords)
    assert ours.tolist() == pytest.approx(reference(update, 25).tolist(), abs=2e-5)
