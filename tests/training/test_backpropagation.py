"""Gradients of a trainer against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpsearch.components import load_data
from hpsearch.components.models.building import build_model
from hpsearch.components.optimizers import build_optimizer
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

Numbers = NDArray[np.float64]
FIRST, SECOND = [[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]


class TestWorkedExample:
    """A Step by Step Backpropagation Example (Mazur, 2015): biases are constants there."""

    INPUT = torch.tensor([[0.05, 0.10]], dtype=torch.float64)
    TARGET = torch.tensor([[0.01, 0.99]], dtype=torch.float64)

    def test_a_step(self) -> None:
        layers, model, optimizer = self.made()
        assert self.error(model).item() == pytest.approx(0.2983711087600027, rel=1e-12)
        self.step(model, optimizer)
        first = [[0.149780716, 0.19956143], [0.24975114, 0.29950229]]
        second = [[0.35891648, 0.408666186], [0.511301270, 0.561370121]]
        for layer, expected in zip(layers, (first, second), strict=True):
            assert np.allclose(layer.weight.detach(), expected, atol=1e-8)
        assert self.error(model).item() == pytest.approx(0.29102777369359933, rel=1e-12)

    def test_ten_thousand_steps(self) -> None:
        _, model, optimizer = self.made()
        for _ in range(10_000):
            self.step(model, optimizer)
        assert self.error(model).item() == pytest.approx(3.510188e-5, rel=1e-6)
        assert model(self.INPUT)[0].tolist() == pytest.approx([0.0159136, 0.9840643], abs=1e-7)

    @pytest.mark.parametrize(
        ("is_shared", "expected"), [(False, 0.28047144679143), (True, 0.28575088669930)]
    )
    def test_a_step_that_updates_biases_too(self, is_shared: bool, expected: float) -> None:
        """Each unit's own, or one that the units of a layer share: its gradient is their sum."""
        layers, model, optimizer = self.made()
        for layer in layers:
            layer.bias.requires_grad_(True)
        self.step(model, optimizer)
        for layer in layers:
            gradient = layer.bias.grad
            assert gradient is not None
            layer.bias.data -= 0.5 * (gradient.sum() if is_shared else gradient)
        assert self.error(model).item() == pytest.approx(expected, rel=1e-12)

    def made(self) -> tuple[list[nn.Linear], nn.Module, torch.optim.Optimizer]:
        section = {"name": "mlp", "hidden_sizes": [2], "activation": "sigmoid"}
        net = build_model(section, (2,), 2, Path()).double()
        layers = [each for each in net.modules() if isinstance(each, nn.Linear)]
        for layer, weights, bias in zip(layers, (FIRST, SECOND), (0.35, 0.60), strict=True):
            layer.weight.data = torch.tensor(weights, dtype=torch.float64)
            assert layer.bias is not None
            layer.bias.requires_grad_(False).fill_(bias)
        group = {"params": [layer.weight for layer in layers]}
        optimizer = build_optimizer({"name": "sgd", "lr": 0.5}, [group], Path())
        return layers, nn.Sequential(net, nn.Sigmoid()), optimizer

    def error(self, model: nn.Module) -> Tensor:
        return (model(self.INPUT) - self.TARGET).square().sum() / 2

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(self.error(model))
        optimizer.step()


@pytest.mark.parametrize("hidden_sizes", [[5], [6, 4, 3]])
def test_a_step_of_a_trainer_is_that_of_the_chain_rule(hidden_sizes: list[int]) -> None:
    """Weights after a full batch, beside those by backpropagation in NumPy."""
    data = load_data({"name": "wine", "val_rows": 20}, seed=0)
    values = {
        "model": {"name": "mlp", "hidden_sizes": hidden_sizes, "activation": "sigmoid"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch_size": "full",
    }
    trainer = Trainer(TrialConfig(0, 0, 1, values), data)
    layers = [each for each in trainer.model.modules() if isinstance(each, nn.Linear)]
    before = [[p.detach().double().numpy().copy() for p in each.parameters()] for each in layers]
    trainer.train_epoch()
    gradients = backpropagated(before, data.train.x, data.train.y)  # type: ignore[union-attr]
    for layer, old, gradient in zip(layers, before, gradients, strict=True):
        for new, was, slope in zip(layer.parameters(), old, gradient, strict=True):
            assert np.allclose(new.detach(), was - 0.1 * slope, atol=1e-6)


def backpropagated(
    layers: list[list[Numbers]], x: Numbers, classes: NDArray[np.int64]
) -> list[tuple[Numbers, Numbers]]:
    """Return the gradients of the mean cross entropy by (weight, bias) of each layer."""
    seen = [x.astype(float)]
    for number, (weight, bias) in enumerate(layers):
        sums = seen[-1] @ weight.T + bias
        seen.append(sums if number == len(layers) - 1 else 1 / (1 + np.exp(-sums)))
    shares = np.exp(seen[-1]) / np.exp(seen[-1]).sum(1, keepdims=True)
    slope = (shares - np.eye(shares.shape[1])[classes]) / len(x)
    found: list[tuple[Numbers, Numbers]] = []
    for (weight, _), inputs in zip(layers[::-1], seen[-2::-1], strict=True):
        found.append((slope.T @ inputs, slope.sum(0)))
        slope = slope @ weight * inputs * (1 - inputs)
    return found[::-1]
