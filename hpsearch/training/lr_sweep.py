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
            return _sweep(trainer, np.geomspace(lowest, highest, num_steps))
    finally:
        trainer.load_state_dict(state)


def _sweep(trainer: Trainer, rates: NDArray[np.float64]) -> Sweep:
    losses: list[float] = []
    smoothed, least = 0.0, math.inf
    groups = trainer.optimizer.param_groups
    first_rates: list[float] = []
    for number, (rate, batch) in enumerate(zip(rates, _batches(trainer), strict=False), 1):
        first_rates = first_rates or [group["lr"] for group in groups]  # they may be scaled
        for group, first_rate in zip(groups, first_rates, strict=True):
            group["lr"] = first_rate * rate / rates[0]
        outputs, _ = trainer.update(batch, measure=False)
        with torch.no_grad():
            loss = trainer.task.loss(outputs, batch).item()
        if not math.isfinite(loss):
            return Sweep(rates[: len(losses)], np.array(losses), True)
        losses.append(loss)
        smoothed = SMOOTHING * smoothed + (1 - SMOOTHING) * loss
        current = smoothed / (1 - SMOOTHING**number)
        least = min(least, current)
        if number >= MIN_STEPS and _has_diverged(current, least, losses[0]):
            return Sweep(rates[:number], np.array(losses), True)
    return Sweep(rates, np.array(losses), False)


def _has_diverged(current: float, least: float, first: float) -> bool:
    return current - least > max(RISE * abs(least), SHARE_OF_FALL * (first - least))


def _batches(trainer: Trainer) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from trainer.training_batches(trainer.begin_epoch())
