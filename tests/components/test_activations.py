"""Activations: values, slopes, and models that are built with each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch import registry
from hpsearch.components.layers.activations import ACTIVATION, make_activation, widening
from hpsearch.components.models.building import build_model
from tests.support.trainers import make

SMOOTH = [
    *("celu", "elu", "gelu", "glu", "identity", "mish", "sigmoid", "silu", "softplus", "softsign"),
    *("swish", "tanh"),
]
NAMES = registry.names("activation")
SELU_SCALE = 1.0507009873554805


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def at(name: Any, *points: float) -> list[float]:
    module = make_activation(name)
    values = torch.tensor([points], dtype=torch.float64)
    return module.double()(values)[0].tolist()


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("identity", [-2.0, 0.5]),
        ("step", [0.0, 1.0]),
        ("sigmoid", [1 / (1 + math.e**2), 1 / (1 + math.exp(-0.5))]),
        ("relu", [0.0, 0.5]),
        ({"name": "leaky_relu", "negative_slope": 0.1}, [-0.2, 0.5]),
        ({"name": "prelu", "init": 0.5}, [-1.0, 0.5]),
        ({"name": "elu", "alpha": 2.0}, [2 * (math.exp(-2) - 1), 0.5]),
        ({"name": "celu", "alpha": 2.0}, [2 * (math.exp(-1) - 1), 0.5]),
        ("selu", [SELU_SCALE * 1.6732632423543772 * (math.exp(-2) - 1), SELU_SCALE / 2]),
        ({"name": "softplus", "beta": 2.0}, [softplus(-4) / 2, softplus(1) / 2]),
        ("softsign", [-2 / 3, 1 / 3]),
        ("silu", [-2 / (1 + math.e**2), 0.5 / (1 + math.exp(-0.5))]),
        ({"name": "swish", "beta": 2.0}, [-2 / (1 + math.e**4), 0.5 / (1 + math.exp(-1))]),
        ("hardswish", [-2 * 1 / 6, 0.5 * 3.5 / 6]),
        ("mish", [-2 * math.tanh(softplus(-2)), 0.5 * math.tanh(softplus(0.5))]),
        ("gelu", [-2 * 0.022750131948, 0.5 * 0.691462461274]),
        ("glu", [-2 / (1 + math.exp(-0.5))]),
        ("tanh", [math.tanh(-2), math.tanh(0.5)]),
    ],
)  # fmt: skip
def test_values(section: Any, expected: list[float]) -> None:
    assert at(section, -2.0, 0.5) == pytest.approx(expected)


def test_the_other_form_of_gelu() -> None:
    inner = math.sqrt(2 / math.pi) * (0.5 + 0.044715 * 0.125)
    expected = 0.25 * (1 + math.tanh(inner))
    assert at({"name": "gelu", "approximate": "tanh"}, 0.5) == pytest.approx([expected])


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_right(name: str) -> None:
    module = make_activation(name).double()
    x = torch.linspace(-3, 3, 8, dtype=torch.float64).view(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(module, (x,))


def slope(name: str) -> Tensor:
    x = torch.linspace(-4, 4, 801, dtype=torch.float64).view(-1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(make_activation(name).double()(x).sum(), x)
    return gradient


def test_the_greatest_slopes() -> None:
    assert slope("sigmoid").max().item() == pytest.approx(0.25)
    assert slope("tanh").max().item() == pytest.approx(1.0)


def test_a_chain_of_ten_sigmoids_passes_a_millionth() -> None:
    """0.25^10, where each is at its steepest."""
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    outputs = x
    for _ in range(10):
        outputs = make_activation("sigmoid")(outputs - outputs.detach())
    outputs.backward()
    assert x.grad is not None and x.grad.item() == pytest.approx(9.54e-7, rel=1e-3)


def test_the_gradient_passes_the_step() -> None:
    gradient = slope("step").flatten()
    assert gradient[400].item() == 1.0
    assert gradient[:299].abs().max() == 0 and gradient[502:].abs().max() == 0


def test_selu_keeps_mean_and_square() -> None:
    torch.manual_seed(0)
    out = make_activation("selu")(torch.randn(2_000_000))
    assert out.mean().item() == pytest.approx(0, abs=3e-3)
    assert out.square().mean().item() == pytest.approx(1, abs=5e-3)


def test_selu_has_its_fixed_point_at_mean_0_and_variance_1() -> None:
    """Under the normal distribution, by Gauss's quadrature of each side of the kink."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = torch.from_numpy(np.concatenate([6 * nodes - 6, 6 * nodes + 6]))  # -12 to 0 to 12
    density = (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
    shares = 6 * density * torch.from_numpy(np.tile(weights, 2))
    out = make_activation("selu").double()(x)
    assert (shares * out).sum().item() == pytest.approx(0, abs=1e-12)
    assert (shares * out.square()).sum().item() == pytest.approx(1, abs=1e-12)


def test_swish_learns_its_beta_if_it_may() -> None:
    learned, fixed = (
        ACTIVATION.build("swish"),
        ACTIVATION.build({"name": "swish", "learnable": False}),
    )
    assert [p.requires_grad for p in (learned.beta, fixed.beta)] == [True, False]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("model", "shape"), [("mlp", (6,)), ("cnn", (1, 8, 8))])
def test_models_are_built_with_each(model: str, shape: tuple[int, ...], name: str) -> None:
    net = build_model({"name": model, "activation": name}, shape, 3, Path())
    out = net(torch.randn(4, *shape))
    assert out.shape == (4, 3)
    out.sum().backward()
    assert widening(make_activation(name)) == (2 if name == "glu" else 1)


@pytest.mark.parametrize("name", ["glu", "prelu", "step", "swish"])
def test_a_model_learns_with_each(wine: Any, name: str) -> None:
    trainer = make(wine, model={"name": "mlp", "hidden_sizes": [32], "activation": name})
    for _ in range(4):
        metrics = trainer.train_epoch()
    assert metrics is not None and metrics["val_accuracy"] > 0.85


def test_a_choice_of_activations_has_keywords_of_its_own() -> None:
    from hpsearch.space import SearchSpace
    from hpsearch.spec import draft_spec
    from hpsearch.validation import check
    from tests.support.specs import changed

    choices = ["relu", {"name": "leaky_relu", "negative_slope": "auto"}]
    spec = check(draft_spec(changed(model={"name": "mlp", "activation": {"choices": choices}})))
    parameters = {each.name: each for each in SearchSpace.of(spec).parameters}
    slope = parameters["model.activation.leaky_relu.negative_slope"]
    assert slope.condition == (("model.activation", "leaky_relu"),)
    assert (slope.distribution.low, slope.distribution.high) == (0.001, 0.3)  # type: ignore[attr-defined]
