"""Constraints: what weights are after a projection, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hpsearch import registry
from tests.support.penalties import build, net, rows_of


@pytest.mark.parametrize("name", registry.names("constraint"))
class TestEveryConstraint:
    def test_a_projection_done_twice_is_done_once(self, name: str) -> None:
        model = net()
        project = build("constraint", name, model)
        project()
        once = [rows.clone() for rows in rows_of(model)]
        project()
        for first, second in zip(once, rows_of(model), strict=True):
            assert torch.allclose(first, second, atol=1e-6)

    def test_leaves_biases_norms_and_frozen_layers_alone(self, name: str) -> None:
        model = net()
        with torch.no_grad():
            for param in model.parameters():
                param.add_(3.0).mul_(-1.0)
        model[3].requires_grad_(False)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        build("constraint", name, model)()
        after = model.state_dict()
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed == {"0.weight"}


def scaled(*norms: float) -> nn.Linear:
    """A layer whose units' weights have these norms."""
    layer = nn.Linear(4, len(norms))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[norm / 2] * 4 for norm in norms]))
    return layer


def test_max_norm_scales_long_rows_down_and_leaves_the_others() -> None:
    layer = scaled(1.0, 3.0, 6.0)
    before = layer.weight.detach().clone()
    build("constraint", "max_norm", layer, c=3.0)()
    assert layer.weight.norm(dim=1).tolist() == pytest.approx([1.0, 3.0, 3.0], rel=1e-5)
    assert torch.equal(layer.weight[0], before[0])
    assert torch.allclose(layer.weight[2], before[2] / 2, rtol=1e-5)


def test_unit_norm_takes_a_filter_whole() -> None:
    conv = nn.Conv2d(3, 5, 3)
    build("constraint", "unit_norm", conv)()
    assert conv.weight.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 5)


def test_non_neg_keeps_what_is_not_negative() -> None:
    layer = scaled(2.0, -2.0)
    build("constraint", "non_neg", layer)()
    assert layer.weight.tolist() == [[1.0] * 4, [0.0] * 4]
