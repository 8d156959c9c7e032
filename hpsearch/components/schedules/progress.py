"""Where training is, and what a schedule makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Interval

from hpsearch.registry import ComponentOf, Recommended

Factor = Annotated[float, Interval(gt=0, le=1)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Epochs = Annotated[float, Gt(0)]
Milestone = Annotated[int, Ge(1)]
#: factor by which a rate falls at once
Gamma = Annotated[float, Interval(gt=0, lt=1), Recommended(0.1, 0.9)]
LrScheduleSection = Annotated[Any, ComponentOf("lr_schedule")]


#: what rounding may leave of a step
ROUNDING = 1e-9


@dataclass(frozen=True)
class Progress:
    """Where training is: before `step` of `num_steps`, both over all epochs.

    `epoch` counts from 1; `step_in_epoch` is one of `steps_per_epoch` of this epoch, from 0.
    `steps` are those of each epoch; without it all have as many as this one.
    """

    step: int
    num_steps: int
    epoch: int
    max_epochs: int
    step_in_epoch: int
    steps_per_epoch: int
    steps: Sequence[int] = ()

    @property
    def epochs(self) -> float:
        """The epochs trained so far, with the part of the current one."""
        return self.epoch - 1 + self.step_in_epoch / self.steps_per_epoch

    @property
    def way(self) -> float:
        """How much of all training is done: 0 at the first step, 1 at the last."""
        return self.step / max(self.num_steps - 1, 1)

    def after(self, epochs: float) -> Progress:
        """Return the progress of a training that begins where the first `epochs` are over, with
        the first step from there on; before that, its first step."""
        whole, part = divmod(epochs, 1)
        steps = [self._steps_of(epoch) for epoch in range(1, int(whole) + 2)]
        within = math.ceil(part * steps[-1] - ROUNDING)
        begin, begin_step = whole + within / steps[-1], sum(steps[:-1]) + within
        done = (self.epoch - 1 - begin) * self.steps_per_epoch + self.step_in_epoch
        epoch, step_in_epoch = divmod(max(math.ceil(done - ROUNDING), 0), self.steps_per_epoch)
        return Progress(
            step=max(self.step - begin_step, 0),
            num_steps=max(self.num_steps - begin_step, 1),
            epoch=epoch + 1,
            max_epochs=max(math.ceil(self.max_epochs - begin), 1),
            step_in_epoch=step_in_epoch,
            steps_per_epoch=self.steps_per_epoch,
            steps=self.steps[int(whole) :],
        )

    def _steps_of(self, epoch: int) -> int:
        return self.steps[epoch - 1] if epoch <= len(self.steps) else self.steps_per_epoch


#: the factor of the learning rate at a step, or the momentum at a step
Schedule = Callable[[Progress], float]


@runtime_checkable
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


class _Stateless:
    """A schedule that looks at nothing, as one that could."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def __call__(self, progress: Progress) -> float:
        """Return the factor of the learning rate."""
        return float(self._schedule(progress))

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Look at nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""


def as_metric_schedule(schedule: Schedule) -> MetricSchedule:
    """Return any schedule with the methods of one that looks at a metric."""
    return schedule if isinstance(schedule, MetricSchedule) else _Stateless(schedule)
