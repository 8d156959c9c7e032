"""Gradients in closed form are those of autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.components.layers.activations import ACTIVATION
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes.batched_layers import Chain, Tensors, is_activation
from hpsearch.training.lanes.closed_forms import ClosedForm
from hpsearch.training.lanes.gradients import Gradients, LaneBatch
from hpsearch.training.lanes.stack import Stack
from tests.support.effects import data_of
from tests.support.lanes import lane_config

LANES, ROWS = 3, 10
ACTIVATIONS = [n for n in registry.names("activation") if is_activation(ACTIVATION.build(n))]
MLP = {"name": "mlp", "hidden_sizes": [8, 6], "dropout": 0.3, "input_dropout": 0.2}


def with_model(number: int = 0, **keywords: Any) -> TrialConfig:
    return lane_config(number, model={**MLP, **keywords})


def taken(configs: list[TrialConfig], data: Data, *, closed_forms: bool) -> list[Tensor]:
    """Return outputs, losses and gradients of two parts of a batch that are added up."""
    stack = Stack([Trainer(config, data) for config in configs])
    gradients = Gradients(stack, closed_forms=closed_forms)
    assert gradients.is_closed == closed_forms
    stack.program.train()
    draw = torch.Generator().manual_seed(0)
    num_dropouts = len(stack.dropout_buffers("key"))
    keys = torch.randint(0, 2**31 - 1, (2, num_dropouts, LANES), generator=draw).int()
    first_rows = torch.tensor([[0, 0, 3], [ROWS, 0, 3]], dtype=torch.int32)
    rows = torch.randint(0, len(data.train.y), (2 * LANES * ROWS,), generator=draw)
    x, y = (
        torch.from_numpy(values)[rows].view(2, LANES, ROWS, *values.shape[1:])
        for values in (data.train.x, data.train.y)
    )
    is_row = torch.arange(ROWS) < torch.tensor([ROWS, 4, 7])[:, None]
    gradients.begin(keys, first_rows)
    stack.grads.fill_(torch.nan)  # the first part writes them
    found = []
    for part in range(2):
        begins, weights = torch.tensor([1.0 - part, 1, 0]), torch.tensor([0.5, 1.0, 0.0])
        batch = LaneBatch(Batch(x[part], y[part]), is_row if part else None, weights, begins)
        found += gradients.take(batch, add=bool(part))
    return [*found, stack.grads.clone()]


CASES: dict[str, tuple[str, list[TrialConfig]]] = {
    **{name: ("wine", [with_model(n, activation=name) for n in range(3)]) for name in ACTIVATIONS},
    "several activations": (
        "wine",
        [with_model(n, activation=each) for n, each in enumerate(["relu", "relu", "mish"])],
    ),
    "no bias": ("wine", [with_model(n, bias=False) for n in range(3)]),
    "flattened images": ("digits", [with_model(n) for n in range(3)]),
    "penalties": (
        "wine",
        [
            lane_config(n, model=MLP, regularizers=[{"name": "l1", "strength": 0.1 * n}])
            for n in range(3)
        ],
    ),
    "label smoothing": (
        "wine",
        [
            lane_config(
                n,
                model=MLP,
                task={
                    "name": "classification",
                    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
                },
            )
            for n in range(3)
        ],
    ),
    "regression": ("numbers", [with_model(n) for n in range(3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_autograd(name: str) -> None:
    data, configs = CASES[name]
    mine, theirs = (taken(configs, data_of(data), closed_forms=each) for each in (True, False))
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert mine[-1].abs().max() > 0.01


def closed_form_of(net: nn.Module, *frozen: str) -> tuple[ClosedForm | None, Tensors]:
    """Return it with its gradients, which hold no numbers yet."""
    chain = Chain.of(net)
    assert chain is not None
    state = {name: tensor.detach()[None] for name, tensor in net.named_parameters()}
    trained = {name: each for name, each in state.items() if name not in frozen}
    grads = {name: torch.full_like(each, torch.nan) for name, each in trained.items()}
    return ClosedForm.of(chain, state, grads, []), grads


def check_gradients(net: nn.Module, *frozen: str) -> None:
    closed, grads = closed_form_of(net, *frozen)
    assert closed is not None
    x = torch.randn(5, 4)
    net(x).square().sum().backward()
    with torch.no_grad():
        for is_second in (False, True):
            outputs = closed.outputs(x[None])
            closed.take_gradients(2 * outputs, add=is_second)
            for name, grad in grads.items():
                expected = net.get_parameter(name).grad
                assert torch.allclose(grad[0], (1 + is_second) * expected, atol=1e-5)


def test_a_layer_that_is_not_trained_has_no_gradient_but_passes_one_on() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    check_gradients(net, "2.weight", "2.bias")


def test_layers_that_share_a_weight_add_to_its_gradient() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    check_gradients(nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), first))


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Linear(4, 2), nn.ReLU(inplace=True)),
        nn.Linear(4, 2).double(),
        nn.ReLU(),
    ],
    ids=str,
)
def test_what_has_no_closed_form(net: nn.Module) -> None:
    assert closed_form_of(net)[0] is None
