"""Clockwork nets (Koutník et al., 2014, arXiv 1402.3511): modules of units that are updated at
periods of their own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from hpsearch.components.layers.recurrence import Recurrence
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Period = Annotated[int, Ge(1)]


@register("cell", "clockwork")
def clockwork(
    input_size: int,
    hidden_size: int,
    periods: Annotated[Sequence[Period], MinLen(1)] = (1, 2, 4, 8),
) -> nn.Module:
    """h = tanh(W x + U h + b) of the units whose period divides the step, others keep theirs
    (Koutník et al., 2014, equations 3 to 5).

    The units are divided evenly into a module for each of the `periods`, which increase. The
    steps count from 0, at which all are updated. A module sees itself and those with longer
    periods.
    """
    if any(first >= second for first, second in itertools.pairwise(periods)):
        raise BadConfigurationError("must increase", list(periods), keyword="periods")
    if len(periods) > hidden_size:
        rule = f"must be at most the {hidden_size} hidden units, one for each module"
        raise BadConfigurationError(rule, len(periods), keyword="periods")
    return ClockworkRNN(input_size, hidden_size, periods)


class ClockworkRNN(Recurrence):
    """Sequences (B, T, I) to outputs at all time steps (B, T, H)."""

    periods: Tensor
    sees: Tensor

    def __init__(self, input_size: int, hidden_size: int, periods: Sequence[int]) -> None:
        super().__init__()
        self.inputs = nn.Linear(input_size, hidden_size)
        self.context = nn.Linear(hidden_size, hidden_size, bias=False)
        modules = torch.arange(hidden_size) * len(periods) // hidden_size
        of_units = torch.tensor(periods)[modules]
        self.register_buffer("periods", of_units, persistent=False)
        sees = (of_units[:, None] <= of_units).float()
        self.register_buffer("sees", sees, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        gates, weight = self.inputs(x), self.context.weight * self.sees
        h, outputs = torch.zeros_like(gates[:, 0]), []
        for step, gate in enumerate(gates.unbind(1)):
            updated = (gate + F.linear(h, weight)).tanh()
            h = torch.where(step % self.periods == 0, updated, h)
            if self.on_state is not None:
                self.on_state(h)
            outputs.append(h)
        return torch.stack(outputs, 1)
