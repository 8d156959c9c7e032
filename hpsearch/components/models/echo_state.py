"""Echo-state nets: a fixed random recurrent layer, of which only the readout is learned.

Shapes: B rows, T steps, I inputs, H units of the reservoir.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.components.models.padding import Padding, PaddingById, last_of
from hpsearch.components.models.recurrent import num_inputs
from hpsearch.registry import Recommended, register


@register("model", "echo_state", traits={"tasks": (*VECTOR_TASKS, "sequence_labelling")})
def echo_state(
    input_shape: tuple[int, ...],
    output_size: int,
    output_shape: tuple[int, ...],
    num_tokens: int,
    padding_id: int | None,
    reservoir_size: Annotated[int, Ge(1), Recommended(50, 1000, log=True)] = 200,
    spectral_radius: Annotated[float, Gt(0), Recommended(0.3, 1.0, prior=0.9)] = 0.9,
    input_scaling: Annotated[float, Gt(0), Recommended(0.05, 2.0, log=True)] = 0.5,
    leak: Annotated[float, Interval(gt=0, le=1), Recommended(0.1, 1.0, prior=1.0)] = 1.0,
    density: Annotated[float, Interval(gt=0, le=1)] = 0.1,
) -> nn.Module:
    """h = (1 - leak) h + leak tanh(W x + U h) with fixed random W and U, and a linear readout that
    is learned (Jaeger, 2001).

    U has the share `density` of its weights, and a `spectral_radius` that is usually below 1, so
    that what was long ago fades; W is uniform up to `input_scaling`. An example is
    (time, features), ids of tokens, or an image, read row by row. The readout is of the last step
    that doesn't fill up or, where the task predicts at each step, of each. `regularizers: [l2]`
    makes its learning that of ridge regression.
    """
    inputs = num_tokens or num_inputs(input_shape, "echo_state")
    reservoir = Reservoir(
        input_scaling * (2 * torch.rand(reservoir_size, inputs) - 1),
        _recurrent(reservoir_size, density, spectral_radius),
        leak,
        is_of_tokens=num_tokens > 0,
    )
    readout = nn.Linear(reservoir_size, output_size)
    padding = None if padding_id is None else PaddingById(padding_id)
    return EchoState(reservoir, readout, padding, is_each=len(output_shape) == 2)


class Reservoir(nn.Module):
    """Sequences (B, T, I), images, or ids (B, T) to states at all steps (B, T, H); nothing of it
    is trained."""

    inputs: Tensor
    recurrent: Tensor

    def __init__(
        self, inputs: Tensor, recurrent: Tensor, leak: float, *, is_of_tokens: bool
    ) -> None:
        super().__init__()
        self.register_buffer("inputs", inputs)
        self.register_buffer("recurrent", recurrent)
        self.leak, self.is_of_tokens = leak, is_of_tokens

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the states."""
        if self.is_of_tokens:
            driven = F.embedding(x.long(), self.inputs.t())
        else:
            driven = F.linear(x.transpose(1, 2).flatten(2) if x.ndim == 4 else x, self.inputs)
        state, states = torch.zeros_like(driven[:, 0]), []
        for drive in driven.unbind(1):
            new = (drive + F.linear(state, self.recurrent)).tanh()
            state = (1 - self.leak) * state + self.leak * new
            states.append(state)
        return torch.stack(states, 1)


class EchoState(nn.Module):
    """Sequences to outputs (B, outputs), or (B, T, outputs)."""

    def __init__(
        self, reservoir: Reservoir, readout: nn.Linear, padding: Padding | None, *, is_each: bool
    ) -> None:
        super().__init__()
        self.reservoir, self.readout, self.padding = reservoir, readout, padding
        self.is_each = is_each

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the head alone: nothing else is trained."""
        return [[self.reservoir, self.readout]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        states = self.reservoir(x)
        if not self.is_each:
            states = states[:, -1] if self.padding is None else last_of(states, self.padding(x))
        outputs: Tensor = self.readout(states)
        return outputs


def _recurrent(size: int, density: float, spectral_radius: float) -> Tensor:
    """Return sparse random weights (H, H) whose greatest eigenvalue has this size."""
    weights = 2 * torch.rand(size, size) - 1
    weights = weights * (torch.rand(size, size) < density)
    radius = torch.linalg.eigvals(weights).abs().max()
    scaled: Tensor = weights * (spectral_radius / radius.clamp_min(1e-6))
    return scaled
