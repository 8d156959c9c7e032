"""Hopfield nets (Hopfield, 1982): binary units that fall back to what was stored in them.

Shapes: B rows, N units.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.examples import Float, num_features
from hpsearch.errors import DataError
from hpsearch.registry import register

Updates = Literal["asynchronous", "synchronous"]


@register("model", "hopfield", traits={"tasks": ("associative_memory",)})
def hopfield(
    input_shape: tuple[int, ...],
    updates: Updates = "asynchronous",
    sweeps: Annotated[int, Ge(1)] = 5,
) -> nn.Module:
    """A Hopfield net (Hopfield, 1982) of units that are -1 or 1, for the task associative_memory.

    Patterns are recalled in `sweeps` over all units, each of which becomes the sign of the
    weighted sum of the others: `asynchronous`, one after another, which never raises the energy,
    or all at once.
    """
    return HopfieldNet(num_features(input_shape), updates, sweeps)


class HopfieldNet(nn.Module):
    """Patterns (B, ...) to what is recalled (B, N) and the energies of the patterns, a unit
    (B,)."""

    def __init__(self, num_units: int, updates: Updates, sweeps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_units, num_units))
        self._updates, self._sweeps = updates, sweeps

    def check_examples(self, x: Float) -> None:
        """Refuse values that units don't have."""
        if not (abs(x) == 1).all():
            least, greatest = float(x.min()), float(x.max())
            raise DataError(
                "patterns of a hopfield net must be -1 or 1 (with `standardize: false`), but the "
                f"data set's values are from {least:g} to {greatest:g}"
            )

    def connections(self) -> Tensor:
        """Return the weights between units (N, N): symmetric, with none of a unit to itself."""
        symmetric = (self.weight + self.weight.T) / 2
        return symmetric - torch.diag(symmetric.diagonal())

    def energy(self, states: Tensor) -> Tensor:
        """Return -x·W x / 2 of states (B, N), a unit (equation 7), (B,)."""
        size = states.shape[1]
        return -(states * F.linear(states, self.connections())).sum(1) / (2 * size)

    @torch.no_grad()
    def recalled(self, states: Tensor) -> Tensor:
        """Return where states (B, N) come to."""
        weights = self.connections()
        units = torch.eye(len(weights), dtype=torch.bool, device=states.device)
        for _ in range(self._sweeps):
            if self._updates == "synchronous":
                states = _updated(states, F.linear(states, weights), weights)
                continue
            for unit, row in zip(units.unbind(0), weights.unbind(0), strict=True):
                updated = _updated(states, (states @ row)[:, None], row[None])
                states = torch.where(unit, updated, states)
        return states

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        states = x.flatten(1).float()
        return self.recalled(states), self.energy(states)


def _updated(before: Tensor, fields: Tensor, weights: Tensor) -> Tensor:
    """Return the signs of fields, sums of `weights`; where one is 0, but for what was rounded, a
    unit stays what it was."""
    rounded = weights.abs().sum(1) * torch.finfo(weights.dtype).eps
    return torch.where(fields.abs() <= rounded, before, fields.sign().to(before.dtype))
