"""Schedules of the batch size, and what a large batch asks of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from hpsearch.components.schedules.progress import Milestone
from hpsearch.registry import Recommended, register


@dataclass(frozen=True)
class BatchPace:
    """The batch size of an epoch, and the factor of the learning rate that goes with it."""

    batch_size: int
    lr_factor: float = 1.0


#: (epoch from 1, batch size of the spec, rows) → the epoch's batch size and factor
BatchSchedule = Callable[[int, int, int], BatchPace]


@register("batch_schedule", "constant")
def constant_batch() -> BatchSchedule:
    """The same batch size throughout."""
    return lambda epoch, batch_size, num_rows: BatchPace(batch_size)


@register("batch_schedule", "increase_on_milestone")
def increase_on_milestone(
    milestones: Sequence[Milestone],
    factor: Annotated[float, Gt(1), Recommended(2.0, 10.0)] = 5.0,
    max_batch_size: Annotated[int, Ge(1)] | None = None,
) -> BatchSchedule:
    """Multiply the batch size after each milestone (an epoch) instead of dividing the rate.

    Smith et al. (2018), arXiv 1711.00489. Where the batch would exceed `max_batch_size` (by
    default a tenth of the rows) the rest of the factor divides the learning rate.
    """

    def pace(epoch: int, batch_size: int, num_rows: int) -> BatchPace:
        wanted = batch_size * factor ** sum(epoch > milestone for milestone in milestones)
        limit = min(num_rows, max(batch_size, max_batch_size or num_rows // 10))
        return BatchPace(min(round(wanted), limit), min(1.0, limit / wanted))

    return pace


@dataclass(frozen=True)
class Scaling:
    """What a large batch asks for: a factor of the rate, and passes over the data an epoch."""

    lr_factor: Callable[[int], float]
    base_batch_size: int
    regime_adaptation: bool

    def passes(self, batch_size: int) -> int:
        """Passes over the data in an epoch: as many updates as the base batch size has."""
        return math.ceil(batch_size / self.base_batch_size) if self.regime_adaptation else 1


BaseBatchSize = Annotated[int, Ge(1), Recommended(16, 256, log=True)]


@register("lr_scaling", "none")
def no_scaling(base_batch_size: BaseBatchSize = 32, regime_adaptation: bool = False) -> Scaling:
    """The same learning rate for all batch sizes.

    `regime_adaptation` (Hoffer et al., 2017, arXiv 1705.08741) trains ceil(batch_size /
    base_batch_size) passes over the data an epoch, so that the number of updates stays.
    """
    return Scaling(lambda batch_size: 1.0, base_batch_size, regime_adaptation)


@register("lr_scaling", "linear")
def linear_scaling(
    base_batch_size: BaseBatchSize = 32, regime_adaptation: bool = False
) -> Scaling:
    """Learning rate times batch_size / base_batch_size (Goyal et al., 2017).

    With `base_batch_size` 1, SGD takes the sum of the examples' gradients for their mean.
    `regime_adaptation` is as in `none`.
    """
    return Scaling(
        lambda batch_size: batch_size / base_batch_size, base_batch_size, regime_adaptation
    )


@register("lr_scaling", "sqrt")
def sqrt_scaling(base_batch_size: BaseBatchSize = 32, regime_adaptation: bool = False) -> Scaling:
    """Learning rate times sqrt(batch_size / base_batch_size) (Hoffer et al., 2017).

    `regime_adaptation` is as in `none`.
    """
    return Scaling(
        lambda batch_size: math.sqrt(batch_size / base_batch_size),
        base_batch_size,
        regime_adaptation,
    )
