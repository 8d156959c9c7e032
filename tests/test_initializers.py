"""Initializers: the variance that each formula promises."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components.initializers import initialize

FAN_IN, FAN_OUT = 400, 200
CONV_FAN_IN, CONV_FAN_OUT = 16 * 9, 64 * 9

#: variance as a function of fan_in and fan_out
VARIANCES: dict[str, Any] = {
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_uniform": lambda fan_in, fan_out: 1 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "torch_default": lambda fan_in, fan_out: 1 / (3 * fan_in),
    "zeros": lambda fan_in, fan_out: 0.0,
}


def layers(name: str, seed: int = 0, **keywords: Any) -> tuple[nn.Linear, nn.Conv2d]:
    torch.manual_seed(seed)
    linear, conv = nn.Linear(FAN_IN, FAN_OUT), nn.Conv2d(16, 64, 3)
    initialize(nn.Sequential(conv, linear), {"name": name, **keywords}, Path())
    return linear, conv


@pytest.mark.parametrize("name", VARIANCES)
def test_variance(name: str) -> None:
    linear, conv = layers(name)
    variance = VARIANCES[name]
    assert linear.weight.var().item() == pytest.approx(variance(FAN_IN, FAN_OUT), rel=0.03)
    expected = variance(CONV_FAN_IN, CONV_FAN_OUT)
    assert conv.weight.var().item() == pytest.approx(expected, rel=0.06)
    assert abs(linear.weight.mean().item()) <= 0.02 * math.sqrt(variance(FAN_IN, FAN_OUT))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("xavier_uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("he_uniform", math.sqrt(6 / FAN_IN)),
        ("lecun_uniform", math.sqrt(3 / FAN_IN)),
    ],
)
def test_uniform_bounds(name: str, bound: float) -> None:
    linear, _ = layers(name)
    assert bound * 0.99 < linear.weight.abs().max().item() <= bound


@pytest.mark.parametrize("name", ["xavier_normal", "he_normal", "lecun_normal"])
def test_normal_tails(name: str) -> None:
    linear, _ = layers(name)
    beyond = (linear.weight.abs() > 2 * linear.weight.std()).float().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.004)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(gain: float) -> None:
    linear, conv = layers("orthogonal", gain=gain)
    assert torch.allclose(linear.weight @ linear.weight.T, gain**2 * torch.eye(FAN_OUT), atol=1e-4)
    rows = conv.weight.flatten(1)
    assert torch.allclose(rows @ rows.T, gain**2 * torch.eye(64), atol=1e-4)


@pytest.mark.parametrize("name", ["xavier_uniform", "xavier_normal"])
def test_gain(name: str) -> None:
    plain, scaled = layers(name)[0].weight, layers(name, gain=3.0)[0].weight
    assert torch.allclose(3 * plain, scaled, rtol=1e-4)


@pytest.mark.parametrize("name", registry.names("initializer"))
def test_biases_and_draws(name: str) -> None:
    linear, conv = layers(name)
    is_default = name == "torch_default"
    assert bool(linear.bias.abs().sum() > 0) == is_default
    assert conv.bias is not None and bool(conv.bias.abs().sum() > 0) == is_default
    assert torch.equal(linear.weight, layers(name)[0].weight)
    if name != "zeros":
        assert not torch.equal(linear.weight, layers(name, seed=1)[0].weight)


def test_the_memory_format_changes_nothing() -> None:
    conv, other = nn.Conv2d(16, 64, 3), nn.Conv2d(16, 64, 3)
    other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in (conv, other):
        torch.manual_seed(0)
        initialize(module, {"name": "orthogonal"}, Path())
    assert torch.equal(conv.weight, other.weight)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_users_initializer(tmp_path: Path) -> None:
    (tmp_path / "user_initializers.py").write_text(
        "def constant(tensor, value):\n    tensor.fill_(value)\n"
    )
    linear = nn.Linear(3, 2)
    section = {"name": "user_initializers.py:constant", "value": 0.5}
    initialize(linear, section, tmp_path)
    assert (linear.weight == 0.5).all() and (linear.bias == 0).all()
