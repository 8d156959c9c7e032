"""Sequences of different lengths, whose ends are filled up to one length.

Shapes: B rows, T steps, F features of a step, or D numbers of a vector.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.errors import BadConfigurationError

#: up to which difference a standardised value is the one that fills up
TOLERANCE = 1e-5


class Padding(nn.Module):
    """Counts the steps of sequences up to the last that is one of their own."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the lengths of examples, int64 (B,), at least 1."""
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)
        return (self.is_own(x) * steps).amax(1).clamp_min(1)

    @abstractmethod
    def is_own(self, x: Tensor) -> Tensor:
        """Return which steps have something else than what fills up, bool (B, T)."""


class PaddingByValue(Padding):
    """Of sequences (B, T, F), filled up by steps whose features all have the `mask_value`, as it
    is after `scale`."""

    filler: Tensor

    def __init__(self, mask_value: float, scale: Scale) -> None:
        super().__init__()
        values = (mask_value - scale.mean) / scale.std
        self.register_buffer("filler", torch.as_tensor(values), persistent=False)

    def is_own(self, x: Tensor) -> Tensor:
        """See Padding."""
        return ((x - self.filler).abs() > TOLERANCE).any(-1)


class PaddingById(Padding):
    """Of ids (B, T), which may be floats, filled up by the `padding_id`."""

    def __init__(self, padding_id: int) -> None:
        super().__init__()
        self.padding_id = padding_id

    def is_own(self, x: Tensor) -> Tensor:
        """See Padding."""
        return x != self.padding_id


def make_padding(
    mask_value: float | None,
    scale: Scale,
    input_shape: tuple[int, ...],
    num_tokens: int,
    padding_id: int | None = None,
) -> Padding | None:
    """Return what counts steps: the data set says by which id ids are filled up, a model by which
    value numbers are.

    BadConfigurationError for a value of examples that aren't (T, F), or one that none has.
    """
    if mask_value is None:
        return None if padding_id is None else PaddingById(padding_id)
    if num_tokens or len(input_shape) != 2:
        rule = "must be left out but for sequences of the shape (time, features)"
        raise BadConfigurationError(rule, mask_value, keyword="mask_value")
    if not math.isfinite(mask_value):
        raise BadConfigurationError(
            "must be a finite number, as all values of a data set are",
            mask_value,
            keyword="mask_value",
        )
    return PaddingByValue(mask_value, scale)


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
    """Return the last own step of each sequence (B, T, D) as (B, D)."""
    places = (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2])
    return x.gather(1, places)[:, 0]


def held(x: Tensor, lengths: Tensor) -> Tensor:
    """Return sequences (B, T, D) whose last own step is repeated where they are filled up.

    >>> held(torch.tensor([[1.0, 2, 0, 0]])[..., None], torch.tensor([2]))[..., 0].tolist()
    [[1.0, 2.0, 2.0, 2.0]]
    """
    steps = torch.arange(x.shape[1], device=x.device)
    places = torch.minimum(steps, lengths[:, None] - 1)
    return x.gather(1, places[..., None].expand_as(x))
