"""Averages of a model's weights over its training, which are evaluated in their place.

A factory gives an `Averaging`, which says when weights are added to the average, and with which
share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Interval

from hpsearch.registry import KerasDefault, Recommended, register

#: the share of all epochs before which nothing is averaged
Start = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.9)]


class Averaging(Protocol):
    """How weights are averaged: those after `each_step`, or those after each epoch."""

    @property
    def each_step(self) -> bool:
        """Which of both."""

    def takes(self, epoch: int, max_epochs: int) -> bool:
        """Whether weights of an epoch, counted from 1, are added."""

    def share(self, number: int) -> float:
        """Return the share of the weights that are added as this `number`, from 0."""


@dataclass(frozen=True)
class Exponential:
    """See `ema`."""

    decay: float
    start: float
    warmup: bool
    each_step = True

    def takes(self, epoch: int, max_epochs: int) -> bool:
        """See Averaging."""
        return epoch > self.start * max_epochs

    def share(self, number: int) -> float:
        """See Averaging."""
        if number == 0:
            return 1.0
        return 1.0 - (min(self.decay, number / (number + 9.0)) if self.warmup else self.decay)


@dataclass(frozen=True)
class Equal:
    """See `swa`."""

    start: float
    every: int
    each_step = False

    def takes(self, epoch: int, max_epochs: int) -> bool:
        """See Averaging."""
        first = int(self.start * max_epochs) + 1
        return epoch >= first and (epoch - first) % self.every == 0

    def share(self, number: int) -> float:
        """See Averaging."""
        return 1.0 / (number + 1)


@register("weight_averaging", "ema", weight_copies=1)
def ema(
    decay: Annotated[
        float, Interval(ge=0, lt=1), Recommended(0.9, 0.9999), KerasDefault(0.99)
    ] = 0.999,
    start: Start = 0.0,
    warmup: Annotated[bool, KerasDefault(False)] = True,
) -> Averaging:
    """An exponential moving average: after each step `decay` of it stays, 1 - `decay` is new.

    As the teacher of Tarvainen & Valpola (2017). With `warmup` the decay after n steps is at most
    n / (n + 9), so that the first weights are soon forgotten. It begins after the share `start` of
    all epochs.
    """
    return Exponential(decay, start, warmup)


@register("weight_averaging", "swa", weight_copies=1)
def swa(start: Start = 0.75, every: Annotated[int, Ge(1)] = 1) -> Averaging:
    """Stochastic weight averaging: the mean of the weights at the ends of epochs (Izmailov et al.,
    2018, alg. 1).

    It begins after the share `start` of all epochs, and takes each `every`th from then on: two at
    least, which the default leaves of 5 epochs or more. The paper keeps the learning rate high
    meanwhile, constant or cyclic, and computes batch norm's statistics anew: `lr_schedule`, and
    callback `recalibrate_bn`.
    """
    return Equal(start, every)
