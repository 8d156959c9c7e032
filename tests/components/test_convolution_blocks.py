"""The blocks of a cnn: activate, then pool; and residual blocks before pooling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.layers.activations import is_monotone, make_activation
from hpsearch.components.layers.modules import Residual
from hpsearch.components.layers.norm_modules import BatchNorm
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError

ACTIVATIONS = registry.names("activation")
#: whose greatest value need not be that of the greatest input
FALLING = ("gelu", "glu", "hardswish", "mish", "silu", "swish")


def build(shape: tuple[int, ...] = (1, 8, 8), **section: Any) -> Any:
    torch.manual_seed(0)
    if "name" not in section:
        section = {"name": "cnn", "channels": [4], "hidden_sizes": [], **section}
    return build_model(section, shape, 3, Path())


def images(channels: int = 1) -> Tensor:
    torch.manual_seed(1)
    return 3 * torch.randn(16, channels, 8, 8)


def layers(model: nn.Module) -> list[Any]:
    """The convolution, its batch norm and the head, of which there is one each."""
    kinds = (nn.Conv2d, BatchNorm, nn.Linear)
    return [next(each for each in model.modules() if isinstance(each, kind)) for kind in kinds]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("position", ["pre_activation", "post_activation"])
def test_each_activates_then_pools(activation: str, position: str) -> None:
    """Outputs and gradients are those of conv, norm, activation, pooling, one after the other."""
    model, x = build(activation=activation, norm="batch", norm_position=position), images()
    conv, norm, head = layers(model)
    function = make_activation(activation)

    def by_hand() -> Tensor:
        features = conv(x)
        if position == "pre_activation":
            features = F.max_pool2d(function(norm(features)), 2)
        else:
            features = norm(F.max_pool2d(function(features), 2))
        outputs: Tensor = head(features.flatten(1))
        return outputs

    found = []
    for run in (lambda: model(x), by_hand):
        model.zero_grad()
        outputs = run()
        outputs.square().sum().backward()
        found.append((outputs, conv.weight.grad.clone(), head.weight.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_order_matters_where_an_activation_falls(activation: str) -> None:
    function, x = make_activation(activation), images(4)
    pooled_last = F.max_pool2d(function(x), 2)
    pooled_first = function(F.max_pool2d(x, 2))
    difference = (pooled_last - pooled_first).abs().max().item()
    assert (difference > 0.1) == (activation in FALLING)
    assert not (is_monotone(function) and activation in FALLING)


class TestResidual:
    @pytest.mark.parametrize("pool", [1, 2, 3])
    @pytest.mark.parametrize("activation", ["relu", "silu", "glu"])
    def test_is_added_before_pooling(self, pool: int, activation: str) -> None:
        section = {"norm": "batch", "norm_position": "pre_norm_residual", "pool": pool}
        model = build((4, 8, 8), activation=activation, **section).eval()
        conv, norm, head = layers(model)
        x = images(4)
        added = x + make_activation(activation)(conv(norm(x)))
        features = F.max_pool2d(added, pool) if pool > 1 else added
        torch.testing.assert_close(model(x), head(features.flatten(1)), rtol=1e-4, atol=1e-4)

    def test_is_there_at_the_default_pool(self) -> None:
        model = build(channels=[4, 4, 6], norm="batch", norm_position="pre_norm_residual")
        assert sum(isinstance(module, Residual) for module in model) == 1

    @pytest.mark.parametrize(
        ("section", "widths"),
        [
            ({"name": "cnn", "channels": [4, 6]}, "1, 4, 6"),
            ({"name": "cnn", "channels": [4, 4], "kernel_size": 2, "pool": 1}, "1, 4, 4"),
            ({"name": "mlp", "hidden_sizes": [8, 4]}, "64, 8, 4"),
        ],
        ids=["cnn", "even kernel", "mlp"],
    )
    def test_none_at_all_is_told(self, section: dict[str, Any], widths: str) -> None:
        rule = f"norm_position: pre_norm_residual needs a layer whose .* of the widths {widths} no"
        with pytest.raises(BadConfigurationError, match=rule):
            build(**section, norm_position="pre_norm_residual")
