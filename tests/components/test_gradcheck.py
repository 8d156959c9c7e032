"""The gradients of what is written by hand, against differences: every component that has one.

In float64, at points without kinks, by inputs and parameters alike. What is registered later is
tested by being there. Losses have targets, so theirs are in test_losses.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.layers.activations import make_activation
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.layers.dropouts import RecurrentDropout
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.registry import ComponentOf

#: activations whose gradient is no derivative on purpose
STRAIGHT_THROUGH = {"step"}
#: statistics that are held, or powers with kinks, are no function of the input alone
KEYWORDS: dict[tuple[str, str], dict[str, Any]] = {
    ("norm", "streaming"): {"p": 2.0, "long_weight": 0.0},
    ("cell", "bn_lstm"): {"h0_noise": 0.0},
}


def section(family: str, name: str) -> dict[str, Any]:
    return {"name": name, **KEYWORDS.get((family, name), {})}


def normal(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64)


def check(module: nn.Module, *inputs: Tensor) -> None:
    """Compare the gradients of a module's outputs by its inputs and by all its parameters.

    Draws, and statistics that forward passes leave behind, are the same each time.
    """
    module.double()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    names = [name for name, param in module.named_parameters() if param.requires_grad]

    def function(*values: Tensor) -> Tensor:
        torch.manual_seed(1)
        state = {name: value.clone() for name, value in before.items()}
        state |= dict(zip(names, values[len(inputs) :], strict=True))
        outputs: Tensor = torch.func.functional_call(module, state, values[: len(inputs)])
        return outputs

    values = [*inputs, *(module.get_parameter(name).detach().clone() for name in names)]
    assert torch.autograd.gradcheck(function, [value.requires_grad_() for value in values])


@pytest.mark.parametrize("name", sorted(set(registry.names("activation")) - STRAIGHT_THROUGH))
def test_activations(name: str) -> None:
    check(make_activation(section("activation", name)), normal(3, 4))


@pytest.mark.parametrize("name", registry.names("norm"))
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_normalizations(name: str, training: bool) -> None:
    norm = make_norm(section("norm", name), 4, num_dims=2)
    layer: Any = nn.Conv2d(2, 4, 1)
    if isinstance(norm, nn.Module):
        layer = nn.Sequential(layer, norm)
    elif norm is not None:
        layer = norm(layer)
    check(layer.train(training), normal(4, 2, 2, 2))


@pytest.mark.parametrize("name", registry.names("cell"))
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_cells(name: str, training: bool) -> None:
    of = section("cell", name) | ({"periods": (1, 2)} if name == "clockwork" else {})
    check(make_cell(of, 2, 2).train(training), normal(3, 2, 2))


class Dropped(nn.Module):
    """A recurrent cell whose dropout is given."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.cell, self.dropout = make_cell("lstm", 2, 2), dropout

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.cell(x, self.dropout)
        return outputs


@pytest.mark.parametrize("name", registry.names("dropout"))
def test_dropouts(name: str) -> None:
    dropout = ComponentOf("dropout").build(section("dropout", name))
    module = Dropped(dropout) if isinstance(dropout, RecurrentDropout) else dropout
    check(module.train(), normal(3, 2, 2))


class Holder(nn.Module):
    """Has a tensor in a parameter's place."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def named_parameters(self, *args: Any, **keywords: Any) -> Iterator[tuple[str, Any]]:
        yield "weight", self.weight


# skip_neuron has no weights; test_rare_models.py sees what it does
@pytest.mark.parametrize("name", sorted({*registry.names("regularizer")} - {"skip_neuron"}))
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (3, 2, 2, 2)])
def test_regularizers(name: str, shape: tuple[int, ...]) -> None:
    def penalty(weight: Tensor) -> Tensor:
        value: Tensor = ComponentOf("regularizer").build({"name": name}, model=Holder(weight))()
        return value * 1e4  # gradcheck's tolerance is absolute

    assert torch.autograd.gradcheck(penalty, normal(*shape).requires_grad_())
