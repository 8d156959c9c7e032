"""Clipping of gradients, and noise on them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import get_total_norm

import hpsearch.components  # noqa: F401  # registers them
from hpsearch import registry
from hpsearch.registry import ComponentOf


def clipped(name: str, gradient: list[float], **keywords: float) -> list[float]:
    param = nn.Parameter(torch.zeros(len(gradient)))
    param.grad = torch.tensor(gradient)
    ComponentOf("gradient_clip").build({"name": name, **keywords})(
        [param], get_total_norm([param.grad])
    )
    values: list[float] = param.grad.tolist()
    return values


@pytest.mark.parametrize("name", registry.names("gradient_clip"))
def test_a_small_gradient_is_not_clipped(name: str) -> None:
    assert clipped(name, [0.01, -0.02]) == pytest.approx([0.01, -0.02])


def test_clipping() -> None:
    assert clipped("norm", [3.0, 4.0], max_norm=1.0) == pytest.approx([0.6, 0.8], rel=1e-5)
    assert clipped("value", [3.0, -4.0, 0.1], max_value=0.5) == pytest.approx([0.5, -0.5, 0.1])


def test_noise_decays_by_the_square_root_of_its_variance() -> None:
    """Neelakantan et al.: variance eta / (1 + t)^gamma."""
    noise = ComponentOf("gradient_noise").build({"name": "gaussian", "std": 0.3, "decay": 0.55})
    for step in (0, 9, 999):
        assert noise(step) == pytest.approx(math.sqrt(0.09 / (1 + step) ** 0.55))
    constant = ComponentOf("gradient_noise").build({"name": "gaussian", "std": 0.3})
    assert constant(0) == constant(1000) == 0.3
