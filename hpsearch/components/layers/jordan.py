"""Jordan nets (1986): what is fed back is the output, where Elman's nets feed back the hidden
units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpsearch.components.layers.recurrence import Recurrence
from hpsearch.registry import register


@register("cell", "jordan")
def jordan(input_size: int, hidden_size: int) -> nn.Module:
    """h = tanh(W x + U y + b) with the output y of the step before, and y = tanh(V h + c)
    (Jordan, 1986); outputs are as many as hidden units."""
    return JordanRNN(input_size, hidden_size)


class JordanRNN(Recurrence):
    """Sequences (B, T, I) to outputs y at all time steps (B, T, H)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(input_size, hidden_size)
        self.context = nn.Linear(hidden_size, hidden_size, bias=False)
        self.outputs = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        gates = self.inputs(x)
        y, found = torch.zeros_like(gates[:, 0]), []
        for gate in gates.unbind(1):
            y = self.outputs((gate + self.context(y)).tanh()).tanh()
            if self.on_state is not None:
                self.on_state(y)
            found.append(y)
        return torch.stack(found, 1)
