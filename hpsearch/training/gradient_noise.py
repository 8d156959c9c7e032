"""Noise on gradients: a function of the trial's seed, the step and the place of a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from hpsearch.components.gradients import Noise
from hpsearch.components.layers.counter_bits import counters, draw_keys, normals


class GradientNoise:
    """Adds normal noise, as `deviation` has it for each step, to gradients.

    `params` are those of the optimizer. A step that takes its gradient several times gets the
    same noise each time.
    """

    def __init__(self, deviation: Noise, params: Sequence[nn.Parameter]) -> None:
        self._deviation, self._params = deviation, params
        self._first_step, self._keys = 0, torch.zeros(0)
        self._key, self._std = torch.zeros(()), 0.0

    def begin_epoch(self, seed: int, first_step: int, num_steps: int) -> None:
        """Draw the keys of an epoch, whose steps count from `first_step` over all epochs."""
        self._first_step = first_step
        self._keys = draw_keys(seed, num_steps, 1)[:, 0]

    def begin_step(self, step: int) -> None:
        """Take the noise of a step of the epoch, counted from 0."""
        self._key, self._std = self._keys[step], self._deviation(self._first_step + step)

    @property
    def is_on(self) -> bool:
        """Whether the step has noise."""
        return self._std > 0

    def add(self) -> None:
        """Add the noise of the step to the gradients that there are."""
        noise = normals(self._places, self._key.to(self._places.device))
        parts = torch.split(noise, [param.numel() for param in self._params])
        for param, part in zip(self._params, parts, strict=True):
            if param.grad is not None:
                param.grad.add_(part.view_as(param.grad), alpha=self._std)

    @cached_property
    def _places(self) -> Tensor:
        size = sum(param.numel() for param in self._params)
        return counters((size,), self._params[0].device)
