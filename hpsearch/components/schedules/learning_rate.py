"""Schedules of the learning rate: each gives the factor of the optimizer's rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval

from hpsearch.components.schedules.progress import (
    ROUNDING,
    Epochs,
    Fraction,
    Gamma,
    LrScheduleSection,
    Milestone,
    Progress,
    Schedule,
    as_metric_schedule,
)
from hpsearch.errors import placed
from hpsearch.registry import ComponentOf, Recommended, register


@register("lr_schedule", "constant")
def constant() -> Schedule:
    """The same learning rate throughout."""
    return lambda progress: 1.0


@register("lr_schedule", "inverse_time")
def inverse_time(
    decay: Annotated[float, Ge(0), Recommended(0.01, 1.0, log=True)] = 0.1,
) -> Schedule:
    """1 / (1 + decay t), t in epochs, falling at every step (time-based decay)."""
    return lambda progress: 1 / (1 + decay * progress.epochs)


@register("lr_schedule", "step")
def step(step_size: Milestone = 10, gamma: Gamma = 0.1) -> Schedule:
    """Times gamma after every `step_size` epochs (torch's StepLR)."""
    return lambda progress: gamma ** ((progress.epoch - 1) // step_size)


@register("lr_schedule", "multistep")
def multistep(milestones: Sequence[Milestone], gamma: Gamma = 0.1) -> Schedule:
    """Times gamma after each milestone, an epoch (torch's MultiStepLR)."""
    return lambda progress: gamma ** sum(progress.epoch > each for each in milestones)


@register("lr_schedule", "exponential")
def exponential(
    gamma: Annotated[float, Interval(gt=0, le=1), Recommended(0.8, 1.0)] = 0.95,
) -> Schedule:
    """Times gamma after every epoch (torch's ExponentialLR)."""
    return lambda progress: gamma ** (progress.epoch - 1)


@register("lr_schedule", "polynomial")
def polynomial(
    power: Annotated[float, Gt(0), Recommended(0.5, 2.0)] = 1.0, final_factor: Fraction = 0.0
) -> Schedule:
    """(1 - way)^power from 1 down to `final_factor` at the last step; linear with power 1."""
    return lambda progress: final_factor + (1 - final_factor) * (1 - progress.way) ** power


@register("lr_schedule", "cosine")
def cosine(final_factor: Fraction = 0.0) -> Schedule:
    """Half a cosine from 1 to `final_factor` at the last step (Loshchilov & Hutter, 2017)."""
    return lambda progress: _cosine(1.0, final_factor, progress.way)


@register("lr_schedule", "cosine_restarts")
def cosine_restarts(
    first_cycle: Milestone = 1,
    growth: Annotated[int, Ge(1), Recommended(1, 2)] = 2,
    final_factor: Fraction = 0.0,
) -> Schedule:
    """Cosines that restart after `first_cycle` epochs, each `growth` times as long (SGDR).

    Loshchilov & Hutter (2017); torch's CosineAnnealingWarmRestarts, whose `growth` is 1.
    With one cycle of 1 epoch and growth 2 the cycles end after 1, 3, 7, 15 … epochs.
    """

    def factor(progress: Progress) -> float:
        begin, length = 0, first_cycle
        while progress.epochs >= begin + length:
            begin, length = begin + length, length * growth
        return _cosine(1.0, final_factor, (progress.epochs - begin) / length)

    return factor


class Warmup:
    """A linear rise from `start_factor`, then another schedule over the rest."""

    def __init__(self, epochs: float, start_factor: float, then: Any) -> None:
        self._epochs, self._start = epochs, start_factor
        self._then, self._seen = then, as_metric_schedule(then)
        #: whether the last step asked about is one of the rise
        self._rises = True

    def __call__(self, progress: Progress) -> float:
        """Return the factor of the learning rate."""
        self._rises = progress.epochs <= self._epochs - ROUNDING
        if not self._rises:
            return float(self._then(progress.after(self._epochs)))
        # From 0 the line begins one step before the first, which would change nothing.
        ahead = 0.0 if self._start else 1 / progress.steps_per_epoch
        way = (progress.epochs + ahead) / (self._epochs + ahead)
        return self._start + (1 - self._start) * way

    @property
    def momentum_range(self) -> tuple[float, float] | None:
        """The other schedule's greatest and smallest momentum, if it sets one."""
        found: tuple[float, float] | None = getattr(self._then, "momentum_range", None)
        return found

    def momentum(self, progress: Progress) -> float:
        """Return the other schedule's momentum: that of its first step during the rise."""
        return float(self._then.momentum(progress.after(self._epochs)))

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Pass an epoch's metrics on, from the first on that doesn't end within the rise."""
        if not self._rises:
            with placed("then"):
                self._seen.observe(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return what the other schedule saw."""
        return self._seen.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._seen.load_state_dict(state)


@register("lr_schedule", "warmup")
def warmup(
    epochs: Annotated[Epochs, Recommended(0.5, 5.0)] = 1.0,
    start_factor: Fraction = 0.0,
    then: LrScheduleSection = "constant",
) -> Schedule:
    """A linear rise from `start_factor` over `epochs`, then the schedule `then` (Goyal et al.).

    torch's LinearLR, which knows no start at 0: there the k-th of n steps has the factor
    k / (n + 1). `then` begins with the first step after `epochs`, as if training began there.
    """
    with placed("then"):
        schedule = ComponentOf("lr_schedule").build(then)
    return Warmup(epochs, start_factor, schedule)


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * way)) / 2
