"""The sweep of a learning-rate range test: a short training whose rate grows at every step.

Smith, Cyclical Learning Rates (arXiv 1506.01186), section 3.3; here the rate grows exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hpsearch.components.batch import Batch
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.trainer import Trainer

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 240
#: of the loss that decides when to stop: the weight of what came before
SMOOTHING = 0.9
#: steps after which the sweep may stop
MIN_STEPS = 10
#: it has diverged once it rises by so many times its least value, and by this part of its fall
RISE, SHARE_OF_FALL = 3.0, 0.5


@dataclass(frozen=True)
class Sweep:
    """What a sweep measured at each step: the rate and the loss before it, float64 (steps,).

    `is_diverged` says whether it stopped before the highest rate.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    is_diverged: bool


class SweepProgress:
    """Sets the growing rate of an optimizer, and takes the loss of each step.

    The optimizer has the rates of an epoch that has begun: its groups keep them relative to each
    other.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, lowest: float, highest: float, num_steps: int
    ) -> None:
        self._groups = optimizer.param_groups
        self._first_rates = [group["lr"] for group in self._groups]  # they may be scaled
        self._rates = np.geomspace(lowest, highest, num_steps)
        self._losses: list[float] = []
        self._smoothed, self._least = 0.0, math.inf
        self._is_diverged = False

    @property
    def is_over(self) -> bool:
        """Whether the loss has diverged, or the highest rate is reached."""
        return self._is_diverged or len(self._losses) == len(self._rates)

    def set_rate(self) -> None:
        """Set the rate of the next step."""
        if self.is_over:
            return
        factor = self._rates[len(self._losses)] / self._rates[0]
        for group, first_rate in zip(self._groups, self._first_rates, strict=True):
            group["lr"] = first_rate * factor

    def take(self, loss: float) -> None:
        """Take the loss of the step's batch, before the step."""
        if not math.isfinite(loss):
            self._is_diverged = True
            return
        self._losses.append(loss)
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * loss
        number = len(self._losses)
        current = self._smoothed / (1 - SMOOTHING**number)
        self._least = min(self._least, current)
        rise = max(RISE * abs(self._least), SHARE_OF_FALL * (self._losses[0] - self._least))
        self._is_diverged = number >= MIN_STEPS and current - self._least > rise

    def result(self) -> Sweep:
        """Return what was measured."""
        losses = np.array(self._losses)
        return Sweep(self._rates[: len(losses)], losses, self._is_diverged)


@keeps_random_states
def sweep(
    trainer: Trainer, lowest: float = LOWEST, highest: float = HIGHEST, num_steps: int = STEPS
) -> Sweep:
    """Train while the learning rate grows exponentially, and stop once the loss diverges.

    The optimizer's own rate must be `lowest`, and no schedule may change it; parts of the model
    keep their rates relative to it. Leaves the trainer as it was: weights, buffers, the states of
    the optimizer and of random generators.
    """
    state = trainer.state_dict()
    try:
        with flushed_denormals():
            return _sweep(trainer, lowest, highest, num_steps)
    finally:
        trainer.load_state_dict(state)


def _sweep(trainer: Trainer, lowest: float, highest: float, num_steps: int) -> Sweep:
    batches = _batches(trainer)
    batch = next(batches)
    progress = SweepProgress(trainer.optimizer, lowest, highest, num_steps)
    while True:
        progress.set_rate()
        outputs, _ = trainer.update(batch, measure=False)
        with torch.no_grad():
            progress.take(trainer.task.loss(outputs, batch).item())
        if progress.is_over:
            return progress.result()
        batch = next(batches)


def _batches(trainer: Trainer) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from trainer.training_batches(trainer.begin_epoch())
