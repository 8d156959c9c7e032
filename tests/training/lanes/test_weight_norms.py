"""torch's weight norm in lanes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from hpsearch.training.lanes.weight_norms import divide_by_norms


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(2, 3, 2)], ids=str)
def test_weights_and_gradients_are_those_of_torch(layer: nn.Module, dim: int | None) -> None:
    one = weight_norm(copy.deepcopy(layer), dim=dim)  # type: ignore[arg-type]
    other = copy.deepcopy(one)
    divide_by_norms(other)
    assert "_Divided" in str(other)
    assert torch.allclose(one.weight, other.weight, atol=1e-6)
    for each in (one, other):
        each.weight.pow(3).sum().backward()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        if mine.grad is not None:
            assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)
