"""Chains of layers with lanes as the first axis compute what vmap makes of each lane's model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from hpsearch.components import Data
from hpsearch.components.layers.modules import Blocks, Dropout
from hpsearch.training import Trainer
from hpsearch.training.lanes.batched_layers import Chain, grouped, unfolded
from hpsearch.training.lanes.stack import Stack
from tests.support.lanes import alone, assert_same, lane_config, together

LANES, ROWS = 3, 5


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), Blocks.of([[nn.Linear(4, 2, bias=False)]]))


def of_rows_with_an_axis() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Flatten(), nn.Linear(8, 2))


def convolution() -> nn.Module:
    conv = nn.Conv2d(2, 3, (3, 2), padding=1, stride=(1, 2))
    return nn.Sequential(conv, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))


MODELS = {linear: (6,), of_rows_with_an_axis: (2, 6), convolution: (2, 6, 10)}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_chain_is_its_modules_by_lane(make: Any) -> None:
    models = [make() for _ in range(LANES)]
    params, _ = stack_module_state(models)
    x = torch.randn(LANES, ROWS, *MODELS[make])
    chain = Chain.of(models[0])
    assert chain is not None
    expected = vmap(lambda each, rows: functional_call(models[0], each, (rows,)))(params, x)
    found = chain({f"net.{name}": tensor for name, tensor in params.items()}, "net.", x)
    assert torch.allclose(found, expected, atol=1e-6)


KEYWORDS = [{}, {"groups": 2}, {"padding": 1, "padding_mode": "reflect"}, {"padding": "same"}]


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
def test_convolutions_with_a_group_for_each_lane(keywords: Any) -> None:
    models = [nn.Conv2d(2, 4, 3, **keywords) for _ in range(LANES)]
    params, _ = stack_module_state(models)
    x = torch.randn(LANES, ROWS, 2, 7, 9)
    expected = torch.stack([model(images) for model, images in zip(models, x, strict=True)])
    assert torch.allclose(grouped(models[0], params, x), expected, atol=1e-6)


@pytest.mark.parametrize("keywords", [{}, {"bias": False}, {"dilation": 2, "padding": (2, 1)}])
def test_convolutions_by_products_of_matrices(keywords: Any) -> None:
    models = [nn.Conv2d(2, 4, 3, **keywords) for _ in range(LANES)]
    params, _ = stack_module_state(models)
    x = torch.randn(LANES, ROWS, 2, 7, 9)
    assert torch.allclose(unfolded(models[0], params, x), grouped(models[0], params, x), atol=1e-6)


def test_what_is_not_known_is_no_chain() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    assert Chain.of(nn.Sequential(Own(2, 2))) is None
    assert Chain.of(nn.Sequential(nn.BatchNorm1d(2))) is None
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, x, y: 2 * y)
    assert Chain.of(hooked) is None


def test_dropouts_draw_the_masks_of_a_lane_alone(wine: Data) -> None:
    """In parts of batches, too, with a rate of its own each and none in one."""
    configs = [
        lane_config(
            number,
            model={"name": "mlp", "hidden_sizes": [8], "input_dropout": 0.1, "dropout": rate},
            batch_size=size,
        )
        for number, (rate, size) in enumerate([(0.0, 16), (0.3, 57), (0.6, 20)])
    ]
    stack = Stack([Trainer(config, wine) for config in configs])
    chain = Chain.of(stack.program.net)
    assert chain is not None
    assert sum(isinstance(link.module, Dropout) for link in chain.links) == 2
    trainers, _ = together(configs, wine, 3)
    for one, other in zip(alone(configs, wine, 3), trainers, strict=True):
        assert_same(one, other)
