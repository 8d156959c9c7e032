"""torch's recurrent layers in lanes: outputs, states and gradients are those of each by itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.rnn import pack_padded_sequence

from hpsearch.training.lanes.comparing import without_fallback
from hpsearch.training.lanes.recurrent import take_steps_in_lanes

LANES, ROWS, TIMES, INPUTS, UNITS = 3, 4, 5, 2, 3
LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "no bias": (nn.GRU, {"bias": False}),
    "two layers, both directions": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "time first": (nn.GRU, {"batch_first": False, "bidirectional": True}),
}


def of_lanes(layers: list[Any], x: Tensor, *state: Any) -> Any:
    """Return what lanes compute, and their stacked parameters."""
    base = copy.deepcopy(layers[0])
    take_steps_in_lanes(base)
    params, _ = stack_module_state(layers)

    def one(own: dict[str, Tensor], x: Tensor, *state: Any) -> Any:
        return functional_call(base, own, (x, *state))

    with without_fallback():
        return vmap(one)(params, x, *state), params


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("begins_with_state", [False, True])
def test_lanes_are_as_layers_by_themselves(name: str, begins_with_state: bool) -> None:
    torch.manual_seed(0)
    kind, keywords = LAYERS[name]
    layers = [kind(INPUTS, UNITS, **{"batch_first": True, **keywords}) for _ in range(LANES)]
    x = torch.randn(LANES, ROWS, TIMES, INPUTS)
    x = x if layers[0].batch_first else x.transpose(1, 2)
    num = layers[0].num_layers * (1 + layers[0].bidirectional)
    first = torch.randn(2, LANES, num, ROWS, UNITS) if begins_with_state else None
    states: list[Any] = [()] * LANES
    if first is not None:
        pairs = [(h, c) for h, c in zip(*first, strict=True)]
        states = [(pair if kind is nn.LSTM else pair[0],) for pair in pairs]
    stacked: Any = ()
    if first is not None:
        stacked = (tuple(first.unbind()) if kind is nn.LSTM else first[0],)
    (outputs, after), params = of_lanes(layers, x, *stacked)
    outputs.square().sum().backward()
    for lane, layer in enumerate(layers):
        expected, last = layer(x[lane], *states[lane])
        expected.square().sum().backward()
        assert torch.allclose(outputs[lane], expected, atol=1e-5)
        mine = after if isinstance(after, tuple) else (after,)
        for one, other in zip(mine, last if isinstance(last, tuple) else (last,), strict=True):
            assert torch.allclose(one[lane], other, atol=1e-5)
        for key, param in layer.named_parameters():
            assert torch.allclose(params[key].grad[lane], param.grad, atol=1e-4), key


def test_sequences_of_several_lengths_are_not_shared() -> None:
    layer = nn.GRU(INPUTS, UNITS, batch_first=True)
    take_steps_in_lanes(layer)
    packed = pack_padded_sequence(torch.randn(2, TIMES, INPUTS), torch.tensor([5, 3]), True)
    with pytest.raises(NotImplementedError, match="of one length"):
        layer(packed)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(INPUTS, UNITS, proj_size=2),
        nn.GRU(INPUTS, UNITS, num_layers=2, dropout=0.5),
        nn.Linear(INPUTS, UNITS),
    ],
    ids=str,
)
def test_what_stays_as_it_is(layer: nn.Module) -> None:
    kind = type(layer)
    take_steps_in_lanes(layer)
    assert type(layer) is kind
