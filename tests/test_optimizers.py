"""Optimizers: each does the steps that its equations say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.optimizers import build_optimizer
from hpsearch.errors import UserCodeError


def steps(name: str, num_steps: int, **keywords: Any) -> Tensor:
    """Minimise x²/2 + y²·2 from (1, -1); returns the last point."""
    point = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = build_optimizer({"name": name, **keywords}, [point], Path())
    for _ in range(num_steps):
        optimizer.zero_grad()
        torch.autograd.backward(point[0] ** 2 / 2 + 2 * point[1] ** 2)
        optimizer.step()
    return point.detach()


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_finds_the_minimum(name: str) -> None:
    assert steps(name, 500, lr=0.05).norm() < 0.05


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


@pytest.mark.parametrize(
    ("name", "keyword", "bad"),
    [
        ("sgd", "lr", 0.0),
        ("sgd", "momentum", 1.0),
        ("nesterov", "momentum", 0.0),
        ("adam", "beta2", 1.0),
        ("adamw", "weight_decay", -0.1),
        ("rmsprop", "alpha", -0.5),
    ],
)
def test_keywords_are_bounded(name: str, keyword: str, bad: float) -> None:
    annotation: Any = registry.get("optimizer", name).keywords[keyword].annotation
    adapter = TypeAdapter(annotation)
    adapter.validate_python(0.5)
    with pytest.raises(ValidationError):
        adapter.validate_python(bad)


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_every_number_is_fusible(name: str) -> None:
    component = registry.get("optimizer", name)
    assert component.fusible == component.keywords.keys()


def test_a_users_optimizer(tmp_path: Path) -> None:
    (tmp_path / "user_optimizers.py").write_text(
        "import torch\n"
        "def adagrad(params, lr):\n    return torch.optim.Adagrad(params, lr=lr)\n"
        "def wrong(params):\n    return None\n"
    )
    params = [nn.Parameter(torch.ones(2))]
    section = {"name": "user_optimizers.py:adagrad", "lr": 0.1}
    assert isinstance(build_optimizer(section, params, tmp_path), torch.optim.Adagrad)
    with pytest.raises(UserCodeError, match="wrong must return a torch.optim.Optimizer, got None"):
        build_optimizer({"name": "user_optimizers.py:wrong"}, params, tmp_path)
