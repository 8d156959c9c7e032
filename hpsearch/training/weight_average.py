"""The average of a model's weights that is evaluated, kept in checkpoints and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hpsearch.components.optimizers import swap
from hpsearch.components.weight_averaging import Averaging
from hpsearch.training.checkpoints import copied_to_cpu


class WeightAverage:
    """Averages parameters while they are trained, and changes places with them in between.

    Buffers, such as batch norm's statistics, stay those of the training.
    """

    def __init__(self, averaging: Averaging, params: Sequence[Tensor], max_epochs: int) -> None:
        self._averaging, self._params, self._max_epochs = averaging, params, max_epochs
        self._others: list[Tensor] = []  # the average; while that is held, the trained weights
        self._number = 0  # weights that were added
        self._is_held = False
        self._epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """Let the model hold the weights that the steps of an epoch move."""
        self._epoch = epoch
        if self._is_held:
            self._swap()

    def end_step(self) -> None:
        """Add the weights after a step, where they are to be."""
        if self._averaging.each_step:
            self._add()

    def end_epoch(self) -> bool:
        """Add the weights after an epoch, where they are to be; let the model hold the average.

        Returns whether there is one.
        """
        if not self._averaging.each_step:
            self._add()
        if self._number and not self._is_held:
            self._swap()
        return self._is_held

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what is kept beside the model's weights."""
        return {
            "others": copied_to_cpu(self._others),
            "number": self._number,
            "is_held": self._is_held,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        pairs = zip(state["others"], self._params, strict=False)
        self._others = [other.to(param.device, copy=True) for other, param in pairs]
        self._number, self._is_held = state["number"], state["is_held"]

    @torch.no_grad()
    def _add(self) -> None:
        if not self._averaging.takes(self._epoch, self._max_epochs):
            return
        if not self._others:
            self._others = [torch.empty_like(param) for param in self._params]
        share = self._averaging.share(self._number)
        for other, param in zip(self._others, self._params, strict=True):
            if share == 1.0:
                other.copy_(param)
            else:
                other.lerp_(param, share)
        self._number += 1

    def _swap(self) -> None:
        for other, param in zip(self._others, self._params, strict=True):
            swap(param, other)
        self._is_held = not self._is_held
