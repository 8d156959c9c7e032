"""Every technique that Keras has too follows Keras's definition, or differs as its docs say.

Keras isn't needed for it: its definitions are formulas in `tests/support/keras_formulas.py`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.layers.activations import make_activation
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.layers.dropouts import RecurrentDropout
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.components.optimizers import build_optimizer
from hpsearch.registry import ComponentOf
from tests.support import keras_formulas as keras
from tests.support.keras_formulas import normal, of
from tests.support.keras_optimizers import OPTIMIZERS


def channels_first(array: Any) -> Tensor:
    return of(np.moveaxis(array, -1, 1))


def channels_last(tensor: Tensor) -> Any:
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


class TestActivations:
    @pytest.mark.parametrize("name", keras.ACTIVATIONS)
    def test_values(self, name: str) -> None:
        x = 3 * normal(4, 6)
        keywords = {"leaky_relu": {"negative_slope": 0.3}, "prelu": {"init": 0.1}}
        section = {"name": name, **keywords.get(name, {})}
        ours = make_activation(section).double()(of(x)).detach().numpy()
        expected = keras.ACTIVATIONS[name](x, *keywords.get(name, {}).values())
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize(
        ("name", "keywords"),
        [
            ("elu", {"alpha": 0.3}),
            ("celu", {"alpha": 0.3}),
            ("gelu", {"approximate": True}),
        ],
    )
    def test_keywords(self, name: str, keywords: dict[str, Any]) -> None:
        x = 3 * normal(4, 6)
        ours_keywords = {"approximate": "tanh"} if name == "gelu" else keywords
        ours = make_activation({"name": name, **ours_keywords}).double()(of(x)).numpy()
        np.testing.assert_allclose(ours, keras.ACTIVATIONS[name](x, **keywords), rtol=1e-6)


class TestNorms:
    def norm(self, section: Any, num_features: int, num_dims: int) -> Any:
        made: Any = make_norm(section, num_features, num_dims)
        return made.double()

    def test_batch(self) -> None:
        """Its running variance is of a sample; Keras's that of the batch itself."""
        norm = self.norm({"name": "batch", "momentum": 0.2, "eps": 1e-3}, 5, 2)
        state = {"mean": np.zeros(5), "variance": np.ones(5)}
        corrected = {"mean": np.zeros(5), "variance": np.ones(5)}
        for seed in range(3):
            x = 2 * normal(4, 3, 3, 5, seed=seed) + 1
            expected = keras.batch_normalization(x, state, 0.8, 1e-3, training=True)
            np.testing.assert_allclose(channels_last(norm(channels_first(x))), expected)
            corrected["variance"] = 0.8 * corrected["variance"] + 0.2 * x.var((0, 1, 2), ddof=1)
        corrected["mean"] = state["mean"]
        ours = channels_last(norm.eval()(channels_first(x)))
        expected = keras.batch_normalization(x, corrected, 0.8, 1e-3, training=False)
        np.testing.assert_allclose(ours, expected)

    def test_layer(self) -> None:
        x = normal(4, 6)
        ours = self.norm({"name": "layer", "eps": 1e-3}, 6, 0)(of(x))
        expected = keras.normalized(x, -1, 1e-3)
        np.testing.assert_allclose(ours.detach().numpy(), expected)

    def test_rms(self) -> None:
        x = normal(4, 6)
        ours = self.norm("rms", 6, 0)(of(x))
        np.testing.assert_allclose(ours.detach().numpy(), keras.rms_normalization(x, 1e-6))

    @pytest.mark.parametrize(
        ("section", "groups"), [({"name": "group", "groups": 2}, 2), ("instance", 6)]
    )
    def test_groups(self, section: Any, groups: int) -> None:
        x = normal(4, 3, 3, 6)
        ours = self.norm(section, 6, 2)(channels_first(x))
        expected = keras.group_normalization(x, groups, 1e-5)
        np.testing.assert_allclose(channels_last(ours), expected)


class TestDropouts:
    """What is kept, and what stands in place of the rest."""

    def test_standard(self) -> None:
        assert self.values("standard", 0.2) == pytest.approx([0, 1 / 0.8])

    def test_spatial(self) -> None:
        assert self.values("spatial", 0.2) == pytest.approx([0, 1 / 0.8])

    def test_alpha(self) -> None:
        alpha = -keras.SELU_ALPHA * keras.SELU_SCALE
        a = (0.8 * (1 + 0.2 * alpha**2)) ** -0.5
        b = -a * alpha * 0.2
        assert self.values("alpha", 0.2) == pytest.approx([a * alpha + b, a + b])

    def values(self, name: str, rate: float) -> list[float]:
        torch.manual_seed(0)
        dropout = ComponentOf("dropout").build({"name": name, "rate": rate}).train()
        values: list[float] = dropout(torch.ones(40, 30, 3, 3)).unique().tolist()
        return values

    def test_variational(self) -> None:
        """Keras's `dropout` and `recurrent_dropout`: one mask for all time steps and gates."""
        torch.manual_seed(0)
        section = {"name": "variational_rnn", "p_in": 0.4, "p_rec": 0.4}
        dropout = ComponentOf("dropout").build(section).train()
        (mask,) = dropout.input_masks(torch.ones(5, 7, 4), num_gates=4)
        assert mask.shape == (5, 1, 4)
        assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6])
        (first,) = dropout.state_masks(torch.ones(5, 6), 4, None)
        (second,) = dropout.state_masks(torch.ones(5, 6), 4, [first])
        assert torch.equal(first, second)


class TestInitializers:
    @pytest.mark.parametrize("name", keras.VARIANCE_SCALING)
    @pytest.mark.parametrize("shape", [(300, 200), (3, 3, 32, 64)], ids=["dense", "conv"])
    def test_variance_scaling(self, name: str, shape: tuple[int, ...]) -> None:
        scale, mode, distribution = keras.VARIANCE_SCALING[name]
        variance = keras.variance_scaling(shape, scale, mode)
        tensor = torch.empty(shape[-1], shape[-2], *shape[:-2])  # units first
        torch.manual_seed(0)
        is_truncated = distribution == "truncated_normal"
        keywords = {"truncated": True} if is_truncated else {}
        ComponentOf("initializer").build({"name": name, **keywords}, tensor=tensor)
        std = math.sqrt(variance)
        limit = 2 * std / keras.TRUNCATED if is_truncated else math.sqrt(3) * std
        assert tensor.std().item() == pytest.approx(std, rel=0.02)
        assert 0.99 * limit < tensor.abs().max().item() <= limit * (1 + 1e-6)

    @pytest.mark.parametrize("shape", [(20, 30), (30, 20), (3, 3, 4, 8)])
    def test_orthogonal(self, shape: tuple[int, ...]) -> None:
        """A kernel flat to (inputs, units) has orthonormal rows or columns, the fewer."""
        tensor = torch.empty(shape[-1], shape[-2], *shape[:-2], dtype=torch.float64)
        ComponentOf("initializer").build({"name": "orthogonal", "gain": 1.5}, tensor=tensor)
        kernel = tensor.flatten(1).T.numpy()
        few = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
        np.testing.assert_allclose(few, 1.5**2 * np.eye(len(few)), atol=1e-9)

    @pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
    def test_keras_default_of_recurrent_layers(self, cell: str) -> None:
        """GlorotUniform and Orthogonal draw the kernels of all gates as one."""
        torch.manual_seed(0)
        weights = self.drawn(make_cell(cell, 10, 20))
        kernel, recurrent = weights["weight_ih_l0"], weights["weight_hh_l0"]
        limit = math.sqrt(3 * keras.variance_scaling(kernel.T.shape, 1.0, "fan_avg"))
        assert 0.95 * limit < kernel.abs().max().item() <= limit
        product = recurrent.T @ recurrent
        np.testing.assert_allclose(product.numpy(), np.eye(20), atol=1e-5)
        biases = weights["bias_ih_l0"] + weights["bias_hh_l0"]
        expected = torch.zeros_like(biases)
        if cell == "lstm":
            expected[20:40] = 1  # unit_forget_bias
        assert torch.equal(biases, expected)

    def drawn(self, cell: Any) -> dict[str, Tensor]:
        initialize(cell, {"name": "keras_default"}, Path())
        return {name: each.detach() for name, each in cell.weights.named_parameters()}

    def test_keras_default_of_other_layers(self) -> None:
        net: Any = nn.Sequential(nn.Linear(300, 200), nn.Conv2d(16, 32, 3))
        initialize(net, {"name": "keras_default"}, Path())
        for layer in net:
            shape = (*layer.weight.shape[2:], *layer.weight.shape[1::-1])
            limit = math.sqrt(3 * keras.variance_scaling(shape, 1.0, "fan_avg"))
            assert 0.99 * limit < layer.weight.abs().max().item() <= limit * (1 + 1e-6)
            assert not layer.bias.any()

    def test_constants(self) -> None:
        tensor = torch.ones(30, 40)
        ComponentOf("initializer").build("uniform", tensor=tensor)
        assert 0.049 < tensor.abs().max().item() <= 0.05  # RandomUniform
        ComponentOf("initializer").build({"name": "normal", "std": 0.05}, tensor=tensor)
        assert tensor.std().item() == pytest.approx(0.05, rel=0.05)  # RandomNormal
        ComponentOf("initializer").build("zeros", tensor=tensor)
        assert not tensor.any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer(name: str) -> None:
    update, keywords = OPTIMIZERS[name]
    start = [normal(5, 4), normal(5)]
    params = [nn.Parameter(of(each.copy())) for each in start]
    optimizer = build_optimizer({"name": name, **keywords}, [{"params": params}], Path())
    states: list[dict[str, Any]] = [{}, {}]
    for t in range(1, 11):
        for i, param in enumerate(params):
            gradient = normal(*param.shape, seed=10 * t + i)
            param.grad = of(gradient)
            start[i] = update(start[i], gradient, states[i], t)
        optimizer.step()
        for param, expected in zip(params, start, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), expected, 1e-6)


class TestCells:
    """Unrolled by torch, and step by step; Keras's kernels are the transposes of ours."""

    @pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
    @pytest.mark.parametrize("unrolled", [False, True])
    def test_outputs(self, name: str, unrolled: bool) -> None:
        torch.manual_seed(0)
        cell, x = make_cell(name, 4, 3).double().train(), normal(5, 6, 4)
        dropout = [RecurrentDropout(weights=1e-12).double()] if unrolled else []  # drops nothing
        ours = cell(of(x), *dropout).detach().numpy()
        np.testing.assert_allclose(ours, np.stack([*self.steps(name, cell, x)], 1), rtol=1e-6)

    def steps(self, name: str, cell: Any, x: Any) -> Any:
        weights = {key: each.detach().numpy() for key, each in cell.weights.named_parameters()}
        kernels = weights["weight_ih_l0"].T, weights["weight_hh_l0"].T
        biases = weights["bias_ih_l0"], weights["bias_hh_l0"]
        if name == "lstm":
            return keras.lstm(x, *kernels, sum(biases))
        if name == "rnn":
            return keras.simple_rnn(x, *kernels, sum(biases), "tanh")
        ordered = [self.update_first(each) for each in (*kernels, *biases)]
        return keras.gru(x, ordered[0], ordered[1], (ordered[2], ordered[3]))

    def update_first(self, gates: Any) -> Any:
        """Torch has the reset gate first, Keras the update gate."""
        reset, update, candidate = np.split(gates, 3, axis=-1)
        return np.concatenate([update, reset, candidate], -1)
