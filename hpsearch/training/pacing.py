"""The pace of a training: batch size, learning rate and momentum at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hpsearch.components.schedules import (
    BatchPace,
    BatchSchedule,
    Progress,
    Scaling,
    Schedule,
    as_metric_schedule,
)
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.spec import TrialConfig
from hpsearch.training.building import build


class TrainingSchedule:
    """Sets an optimizer's learning rate and momentum before each step of a configuration.

    `num_steps` says how many steps there are in so many passes over the `num_rows` rows in
    batches of a size. Batches grow to `most` rows: all, unless it is given.
    """

    def __init__(
        self,
        config: TrialConfig,
        num_rows: int,
        num_steps: Callable[[int, int], int],
        most: int | None = None,
    ) -> None:
        self._config, self._num_steps = config, num_steps
        self._most = num_rows if most is None else most
        self._base = _checked_batch_size(config.values["batch_size"], num_rows)
        schedule = build(config, "lr_schedule")
        self._lr = None if schedule is None else as_metric_schedule(schedule)
        self._momentum: Schedule | None = build(config, "momentum_schedule")
        if self._momentum is None and getattr(schedule, "momentum_range", None):
            self._momentum = schedule.momentum
        self._batch: BatchSchedule | None = build(config, "batch_schedule")
        self._scaling: Scaling | None = build(config, "lr_scaling")
        self._step_factor = 1.0
        self._steps = [self._steps_of(epoch) for epoch in range(1, config.max_epochs + 1)]
        sizes = map(self.batch_size, range(1, config.max_epochs + 1))
        stepless = [size for size, steps in zip(sizes, self._steps, strict=True) if not steps]
        if stepless and stepless[0] > self._base:  # that of the spec itself is checked elsewhere
            rule = f"must give batches of at most {self._most} rows, so that each epoch has a step"
            raise BadConfigurationError(rule, stepless[0], keyword="batch_schedule")

    def batch_size(self, epoch: int) -> int:
        """The batch size of an epoch, counted from 1."""
        return self._at(epoch).batch_size

    def passes(self, epoch: int) -> int:
        """Passes over the rows in an epoch, counted from 1."""
        return 1 if self._scaling is None else self._scaling.passes(self.batch_size(epoch))

    def first_step(self, epoch: int) -> int:
        """The steps of all epochs before."""
        return sum(self._steps[: epoch - 1])

    def begin_epoch(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Set the learning rate that an epoch begins with."""
        pace = self._at(epoch)
        # The scaling goes by the batch size that was asked for: a schedule that makes batches
        # grow keeps the rate on purpose.
        scale = self._scaling.lr_factor(self._base) if self._scaling is not None else 1.0
        self._step_factor = pace.lr_factor * scale
        self.begin_step(optimizer, epoch, 0)

    def begin_step(self, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
        """Set learning rate and momentum for a step of an epoch, counted from 0."""
        progress = self._progress(epoch, step)
        factor = self._step_factor * (self._lr(progress) if self._lr is not None else 1.0)
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            if self._momentum is not None and not _set_momentum(group, self._momentum(progress)):
                raise _without_momentum(optimizer)

    @property
    def sets_momentum(self) -> bool:
        """Whether `begin_step` sets the optimizer's momentum, which then must have one."""
        return self._momentum is not None

    @property
    def changes_within_epochs(self) -> bool:
        """Whether `begin_step` does anything after an epoch's first step."""
        return self._lr is not None or self._momentum is not None

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Tell an epoch's metrics to a schedule that looks at one."""
        if self._lr is not None:
            with placed("lr_schedule"):
                self._lr.observe(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return what a schedule saw; most see nothing."""
        return {} if self._lr is None else self._lr.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        if self._lr is not None:
            self._lr.load_state_dict(state)

    def _at(self, epoch: int) -> BatchPace:
        if self._batch is None:
            return BatchPace(self._base)
        return self._batch(epoch, self._base, self._most)

    def _steps_of(self, epoch: int) -> int:
        return self._num_steps(self.batch_size(epoch), self.passes(epoch))

    def _progress(self, epoch: int, step: int) -> Progress:
        before, steps = self.first_step(epoch), self._steps_of(epoch)
        # a refit may train past the configuration's budget
        total = max(sum(self._steps), before + steps)
        max_epochs = self._config.max_epochs
        return Progress(before + step, total, epoch, max_epochs, step, steps, self._steps)


def _set_momentum(group: dict[str, Any], momentum: float) -> bool:
    """Set a group's momentum; False where it has none."""
    if "momentum" in group:
        group["momentum"] = momentum
    elif "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        return False
    return True


def _without_momentum(optimizer: torch.optim.Optimizer) -> BadConfigurationError:
    return BadConfigurationError(
        "must be an optimizer with momentum or betas where a schedule sets the momentum, which "
        f"{type(optimizer).__name__} has not (one_cycle does unless cycle_momentum is false)",
        keyword="optimizer",
    )


def _checked_batch_size(batch_size: int | str, num_rows: int) -> int:
    if batch_size == "full":
        return num_rows
    if not isinstance(batch_size, int) or not 1 <= batch_size <= num_rows:
        rule = f"must be at least 1 and at most the {num_rows} training rows"
        raise BadConfigurationError(rule, batch_size, keyword="batch_size")
    return batch_size
