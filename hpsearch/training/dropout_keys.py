"""The keys of a model's dropout masks: a mask is a function of the trial's seed and the step."""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.components.layers.counter_bits import draw_keys
from hpsearch.components.layers.modules import Dropout


class DropoutKeys:
    """Gives the dropouts of a model a key for each step of an epoch.

    torch's own dropout modules have none: they draw from the global generator.
    """

    def __init__(self, model: nn.Module) -> None:
        self._dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
        self._keys: list[list[int]] = []
        self._step = 0

    def begin_epoch(self, epoch: int, seed: int, num_steps: int) -> Tensor:
        """Draw the keys of an epoch's steps; returns them, int32 (steps, dropouts)."""
        for dropout in self._dropouts:
            dropout.begin_epoch(epoch)
        keys = draw_keys(seed, num_steps, len(self._dropouts))
        self._keys = keys.tolist()
        return keys

    def begin_step(self, step: int) -> None:
        """Take the keys of a step of the epoch, counted from 0."""
        self._step = step

    def begin_rows(self, first_row: int) -> None:
        """Let the dropouts draw for the step's rows from `first_row` on."""
        for dropout, key in zip(self._dropouts, self._keys[self._step], strict=True):
            if dropout.active:
                dropout.begin_step(key, first_row)

    def end_epoch(self) -> None:
        """Let the dropouts draw from torch's global generator again."""
        for dropout in self._dropouts:
            dropout.end_steps()
