"""Models, activations and the layers that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.examples import Scale
from hpsearch.components.layers.modules import Dropout, Standardize, Unstandardize
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError, UserCodeError


def build(name: str, shape: tuple[int, ...], folder: Path = Path(), **keywords: Any) -> nn.Module:
    return build_model({"name": name, **keywords}, shape, 10, folder)


@pytest.mark.parametrize("activation", registry.names("activation"))
@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp", (13,)), ("mlp", (1, 8, 8)), ("cnn", (1, 8, 8)), ("cnn", (1, 28, 28))],
)
def test_outputs_and_gradients(name: str, shape: tuple[int, ...], activation: str) -> None:
    torch.manual_seed(0)
    model = build(name, shape, activation=activation, dropout=0.1, input_dropout=0.1)
    outputs = model(torch.randn(4, *shape))
    assert outputs.shape == (4, 10)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_mlp_layers() -> None:
    model = build("mlp", (1, 28, 28), hidden_sizes=[128, 64])
    sizes = [
        tuple(module.weight.shape) for module in model.children() if isinstance(module, nn.Linear)
    ]
    assert sizes == [(128, 784), (64, 128), (10, 64)]
    linear = build("mlp", (5,), hidden_sizes=[])
    assert sum(p.numel() for p in linear.parameters()) == 5 * 10 + 10


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("size", [9, 28])
def test_cnn_knows_the_size_of_its_image(kernel_size: int, pool: int, size: int) -> None:
    model = build("cnn", (3, size, size), channels=[4, 4], kernel_size=kernel_size, pool=pool)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 10)


def test_cnn_refuses_to_pool_an_image_away() -> None:
    with pytest.raises(
        BadConfigurationError, match=r"8x8 image, but convolution 4 of 5 leaves 0x0"
    ):
        build("cnn", (1, 8, 8), channels=[4] * 5)


def test_cnn_refuses_tables() -> None:
    with pytest.raises(BadConfigurationError, match=r"cnn needs images .* has the shape \(13,\)"):
        build("cnn", (13,))
    with pytest.raises(
        BadConfigurationError, match=r"or sequences of the shape \(time, features\)"
    ):
        build("cnn", (13,))


def test_cnn_without_convolutions_has_no_channels_to_pool() -> None:
    with pytest.raises(BadConfigurationError, match="must have a convolution at least with glob"):
        build("cnn", (1, 8, 8), channels=[], global_pool=True)


@pytest.mark.parametrize(
    ("keyword", "good", "bad"),
    [
        ("hidden_sizes", [64, 64], [64, 0]),
        ("dropout", 0.0, 1.0),
        ("input_dropout", 0.5, -0.1),
        ("channels", [8], [8.5]),
    ],
)
def test_keywords_are_bounded(keyword: str, good: Any, bad: Any) -> None:
    annotation: Any = registry.get("model", "cnn").keywords[keyword].annotation
    adapter = TypeAdapter(annotation)
    adapter.validate_python(good)
    with pytest.raises(ValidationError):
        adapter.validate_python(bad)


def test_a_users_model(tmp_path: Path) -> None:
    (tmp_path / "user_models.py").write_text(
        "from torch import nn\n"
        "def net(input_shape, output_size, width=4):\n"
        "    return nn.Sequential(nn.Linear(*input_shape, width), nn.Linear(width, output_size))\n"
        "def no_net():\n"
        "    return 3\n"
    )
    model = build("user_models.py:net", (6,), tmp_path, width=5)
    assert model(torch.zeros(2, 6)).shape == (2, 10)
    with pytest.raises(
        UserCodeError, match="user_models.py:no_net must return a .*Module, but got 3"
    ):
        build("user_models.py:no_net", (6,), tmp_path)


class TestDropout:
    def test_keeps_the_mean_and_drops_at_the_rate(self) -> None:
        torch.manual_seed(0)
        x = torch.ones(200_000)
        y = Dropout(0.3)(x)
        assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
        assert sorted(set(y.tolist())) == pytest.approx([0, 1 / 0.7])

    def test_does_nothing_in_evaluation_or_at_rate_0(self) -> None:
        x = torch.randn(100)
        assert Dropout(0.9).eval()(x) is x
        state = torch.get_rng_state()
        assert Dropout(0.0)(x) is x
        assert torch.equal(torch.get_rng_state(), state)

    def test_gradients_pass_where_values_do(self) -> None:
        x = torch.randn(1000, requires_grad=True)
        y = Dropout(0.5)(x)
        y.sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad != 0, y != 0)
        assert set(x.grad.tolist()) == {0.0, 2.0}

    def test_lanes_of_one_program_have_rates_of_their_own(self) -> None:
        layer = Dropout(0.5)
        rates = torch.tensor([0.0, 0.2, 0.8])

        def run(rate: Tensor, x: Tensor) -> Tensor:
            buffers = {"keep": 1 - rate, "scale": 1 / (1 - rate)}
            result: Tensor = torch.func.functional_call(layer, buffers, (x,))
            return result

        torch.manual_seed(0)
        x = torch.ones(3, 50_000)
        y = torch.func.vmap(run, randomness="different")(rates, x)
        assert (y == 0).float().mean(1).tolist() == pytest.approx(rates.tolist(), abs=0.01)
        assert y.mean(1).tolist() == pytest.approx([1, 1, 1], abs=0.03)

    def test_the_rate_is_no_part_of_a_checkpoint(self) -> None:
        assert Dropout(0.5).state_dict() == {}


def test_standardize_and_back() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(5, 3, (100, 4)).astype(np.float32)
    scale = Scale.fit(raw)
    x = Standardize(scale)(torch.from_numpy(raw))
    assert x.mean(0).tolist() == pytest.approx([0] * 4, abs=1e-5)
    assert Unstandardize(scale)(x).numpy() == pytest.approx(raw, abs=1e-5)


def test_features_of_sequences_have_scales_of_their_own() -> None:
    """As those of tables have, whatever the step: one of 0 and 1 isn't lost beside thousands."""
    rng = np.random.default_rng(0)
    raw = np.stack([rng.integers(0, 2, (50, 8)), rng.normal(1000, 100, (50, 8))], 2)
    raw[:, 4:, 1] += 500.0  # later steps are greater, and stay so
    x = Scale.fit(raw.astype(np.float32)).apply(raw)
    assert x.mean((0, 1)) == pytest.approx([0, 0], abs=1e-5)
    assert x.std((0, 1)) == pytest.approx([1, 1], rel=1e-5)
    assert x[:, 4:, 1].mean() > x[:, :4, 1].mean() + 1


def test_scales_add_up() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(5, 3, (100, 4)).astype(np.float32)
    first = Scale.fit(raw[:50])
    second = Scale.fit(first.apply(raw)[20:])
    both = second.after(first)
    assert both.apply(raw) == pytest.approx(second.apply(first.apply(raw)), abs=1e-5)
    assert both.mean == pytest.approx(raw[20:].mean(0), rel=1e-4)
