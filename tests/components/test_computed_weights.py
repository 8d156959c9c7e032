"""Penalties and projections of weights that are computed, as weight norm computes g v / |v|."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal, weight_norm

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.components.weights import weights_of
from tests.support.penalties import PENALTIES, STRENGTHS, build
from tests.support.trainers import goes_on_bit_for_bit, make

UNIT_ROWS = {"name": "weight", "learn_g": False}


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 5))


def normed(model: nn.Module, norm: Any = "weight") -> nn.Sequential:
    """The same function, its first two layers normed."""
    layers = list(copy.deepcopy(model).children())
    for i in (0, 2):
        kind: Any = make_norm(norm, 3, 0)
        layers[i] = kind(layers[i])
    return nn.Sequential(*layers)


def values(model: nn.Module) -> list[Tensor]:
    return [weight.value.detach().flatten(1) for weight in weights_of(model)]


# skip_neuron has no weights; test_rare_models.py sees what it does
@pytest.mark.parametrize("name", sorted({*registry.names("regularizer")} - {"skip_neuron"}))
class TestPenalties:
    @pytest.mark.parametrize("norm", ["weight", UNIT_ROWS])
    def test_are_those_of_the_weights(self, name: str, norm: Any) -> None:
        model = normed(plain(), norm)
        penalty = build("regularizer", name, model, **STRENGTHS.get(name, {"strength": 0.5}))
        layers = (model[0], model[2], model[3])
        formula: Callable[[Tensor], Tensor] = PENALTIES[name]
        rows = [layer.weight.flatten(1) for layer in layers]
        if name == "orthogonality":  # of the shorter side
            rows = [each if len(each) <= each.shape[1] else each.T for each in rows]
        expected = torch.stack([formula(each) for each in rows]).sum()
        assert penalty().item() == pytest.approx(expected.item(), rel=1e-5)
        found = torch.autograd.grad(penalty(), list(model.parameters()), allow_unused=True)
        wanted = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
        for one, other in zip(found, wanted, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def test_are_those_of_the_same_function_without_the_norm(self, name: str) -> None:
        model = plain()
        one, other = (build("regularizer", name, each) for each in (model, normed(model)))
        assert one().item() == pytest.approx(other().item(), rel=1e-5)


@pytest.mark.parametrize("name", registry.names("constraint"))
class TestConstraints:
    def test_project_the_weights(self, name: str) -> None:
        model = plain()
        with torch.no_grad():
            for layer in (model[0], model[2]):
                layer.weight.mul_(8).add_(1)
        other = normed(model)
        for each in (model, other):
            build("constraint", name, each)()
        for one, two in zip(values(model), values(other), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)

    def test_leave_frozen_weights_alone(self, name: str) -> None:
        model = normed(plain())
        with torch.no_grad():
            model[0].weight = -8 * model[0].weight
        model[0].requires_grad_(False)
        before = model[0].weight.clone()
        build("constraint", name, model)()
        assert torch.equal(model[0].weight, before)

    def test_go_on_bit_for_bit(self, wine: Data, name: str) -> None:
        section = {"name": "mlp", "hidden_sizes": [8], "norm": "weight"}
        trainers = [make(wine, model=section, weight_constraints=[name]) for _ in range(3)]
        *_, last = goes_on_bit_for_bit(*trainers)
        assert last["val_loss"] < 2


def test_a_unit_of_negative_weights_alone_becomes_0() -> None:
    layer = weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        layer.weight = torch.tensor([[-1.0, -2.0, -3.0], [1.0, -1.0, 2.0]])
    build("constraint", "non_neg", layer)()
    expected = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    torch.testing.assert_close(layer.weight.detach(), expected)
    layer(torch.randn(4, 3)).sum().backward()
    assert all(param.grad.isfinite().all() for param in layer.parameters())


class TestWhatCounts:
    def test_computed_weights_once_and_not_their_parts(self) -> None:
        model = normed(plain())
        shapes = [tuple(weight.value.shape) for weight in weights_of(model)]
        assert shapes == [(3, 2, 3, 3), (4, 12), (5, 4)]
        assert len(weights_of(orthogonal(nn.Linear(3, 3)))) == 1

    def test_shared_weights_once(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        assert len(weights_of(model)) == 1

    def test_norms_over_several_axes_not(self) -> None:
        assert weights_of(nn.LayerNorm([2, 3])) == [] == weights_of(nn.RMSNorm([2, 3]))
