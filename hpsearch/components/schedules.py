"""Schedules by name: of the learning rate, of the momentum and of the batch size.

A schedule is a pure function of where training is, so that a trial that goes on from a checkpoint
follows the curve that it would have followed. The plateau schedule alone looks at a metric; what
it saw is part of a trial's state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Gt, Interval

from hpsearch.registry import Recommended, register


@dataclass(frozen=True)
class Progress:
    """Where training is: `step` of `num_steps`, both over all epochs, in an epoch from 1.

    `steps_per_epoch` is that of the current epoch.
    """

    step: int
    num_steps: int
    epoch: int
    max_epochs: int
    steps_per_epoch: int


#: the factor of the learning rate at a step, or the momentum at a step
Schedule = Callable[[Progress], float]


class MetricSchedule(Protocol):
    """A schedule that looks at a metric after each epoch, and keeps what it saw."""

    def __call__(self, progress: Progress) -> float:
        """Return the factor of the learning rate."""

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


@register("lr_schedule", "constant")
def constant() -> Schedule:
    """The same learning rate throughout."""
    return lambda progress: 1.0


@register("lr_schedule", "cosine")
def cosine(final_factor: Annotated[float, Interval(ge=0, le=1)] = 0.0) -> Schedule:
    """Half a cosine from 1 to `final_factor` over all steps (Loshchilov & Hutter, 2017)."""

    def factor(progress: Progress) -> float:
        way = progress.step / max(progress.num_steps - 1, 1)
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * way)) / 2

    return factor


@register("momentum_schedule", "constant")
def constant_momentum(momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9) -> Schedule:
    """The same momentum throughout, in place of the optimizer's."""
    return lambda progress: momentum


@dataclass(frozen=True)
class BatchPace:
    """The batch size of an epoch, and the factor of the learning rate that goes with it."""

    batch_size: int
    lr_factor: float = 1.0


#: (epoch from 1, batch size of the spec, rows) → the epoch's batch size and factor
BatchSchedule = Callable[[int, int, int], BatchPace]


@register("batch_schedule", "increase_on_milestone")
def increase_on_milestone(
    milestones: Sequence[Annotated[int, Ge(1)]],
    factor: Annotated[float, Gt(1), Recommended(2, 10)] = 5.0,
    max_batch_size: Annotated[int, Ge(1)] | None = None,
) -> BatchSchedule:
    """Multiply the batch size after each milestone (an epoch) instead of dividing the rate.

    Smith et al. (2018), arXiv 1711.00489. Where the batch would exceed `max_batch_size` (by
    default a tenth of the rows) the rest of the factor divides the learning rate.
    """

    def pace(epoch: int, batch_size: int, num_rows: int) -> BatchPace:
        wanted = batch_size * factor ** sum(epoch > milestone for milestone in milestones)
        limit = max(batch_size, max_batch_size or num_rows // 10)
        size = min(round(wanted), limit)
        return BatchPace(size, size / wanted if wanted > limit else 1.0)

    return pace


#: batch size → factor of the learning rate
LrScaling = Callable[[int], float]
BaseBatchSize = Annotated[int, Ge(1), Recommended(16, 256, log=True)]


@register("lr_scaling", "none")
def no_scaling() -> LrScaling:
    """The learning rate as given, whatever the batch size."""
    return lambda batch_size: 1.0


@register("lr_scaling", "linear")
def linear_scaling(base_batch_size: BaseBatchSize = 32) -> LrScaling:
    """Learning rate times batch_size / base_batch_size (Goyal et al., 2017)."""
    return lambda batch_size: batch_size / base_batch_size


@register("lr_scaling", "sqrt")
def sqrt_scaling(base_batch_size: BaseBatchSize = 32) -> LrScaling:
    """Learning rate times sqrt(batch_size / base_batch_size) (Hoffer et al., 2017)."""
    return lambda batch_size: math.sqrt(batch_size / base_batch_size)
