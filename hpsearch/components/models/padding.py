"""Sequences of different lengths, whose ends are filled up to one length.

Shapes: B rows, T steps, F features of a step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.errors import BadConfigurationError

#: up to which difference a standardised value is the one that fills up
TOLERANCE = 1e-5


class Padding(nn.Module):
    """Counts the steps of sequences up to the last that has another value than `mask_value`, as it
    is after `scale`."""

    filler: Tensor

    def __init__(self, mask_value: float, scale: Scale) -> None:
        super().__init__()
        values = (mask_value - scale.mean) / scale.std
        self.register_buffer("filler", torch.as_tensor(values), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the lengths of (B, T, F), int64 (B,), at least 1."""
        is_own = ((x - self.filler).abs() > TOLERANCE).any(-1)
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)
        return (is_own * steps).amax(1).clamp_min(1)


def make_padding(
    mask_value: float | None, scale: Scale, input_shape: tuple[int, ...], num_tokens: int
) -> Padding | None:
    """Return what counts steps; BadConfigurationError for examples that aren't (T, F), or a
    value that none has."""
    if mask_value is None:
        return None
    if num_tokens or len(input_shape) != 2:
        rule = "must be left out but for sequences of the shape (time, features)"
        raise BadConfigurationError(rule, mask_value, keyword="mask_value")
    if not math.isfinite(mask_value):
        raise BadConfigurationError(
            "must be a finite number, as all values of a data set are",
            mask_value,
            keyword="mask_value",
        )
    return Padding(mask_value, scale)


def is_within(lengths: Tensor, num_steps: int) -> Tensor:
    """Return whether a step is one of its sequence's own, bool (B, T)."""
    return torch.arange(num_steps, device=lengths.device) < lengths[:, None]


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Return sequences (B, T, F) with their own steps in reverse order, what fills up at its
    place.

    >>> x = torch.tensor([[1.0, 2, 3, 0], [1, 2, 3, 4]])[..., None]
    >>> turned(x, torch.tensor([3, 4]))[..., 0].tolist()
    [[3.0, 2.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0]]
    """
    steps = torch.arange(x.shape[1], device=x.device)
    places = torch.where(is_within(lengths, x.shape[1]), lengths[:, None] - 1 - steps, steps)
    return x.gather(1, places[..., None].expand_as(x))


def last_of(x: Tensor, lengths: Tensor) -> Tensor:
    """Return the last own step of each sequence (B, T, F) as (B, F)."""
    places = (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2])
    return x.gather(1, places)[:, 0]
