"""Independently recurrent nets (Li et al., 2018, arXiv 1803.04831): units see their own past."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpsearch.components.layers.recurrence import Recurrence
from hpsearch.registry import register


@register("cell", "indrnn")
def indrnn(input_size: int, hidden_size: int) -> nn.Module:
    """h = relu(W x + u h + b), with a number u for each unit (Li et al., 2018, equation 2).

    |u| is at most 2^(1/T) of T time steps, so that what a unit keeps at most doubles over a
    sequence. Each u begins between 0 and 1.
    """
    return IndependentRNN(input_size, hidden_size)


class IndependentRNN(Recurrence):
    """Sequences (B, T, I) to outputs at all time steps (B, T, H)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(input_size, hidden_size)
        self.own = nn.Parameter(torch.rand(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        bound = 2 ** (1 / x.shape[1])
        own = self.own.clamp(-bound, bound)
        gates = self.inputs(x)
        state, outputs = torch.zeros_like(gates[:, 0]), []
        for gate in gates.unbind(1):
            state = (gate + own * state).relu()
            if self.on_state is not None:
                self.on_state(state)
            outputs.append(state)
        return torch.stack(outputs, 1)
