"""The median stopping rule, and no rule."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import numpy as np
from annotated_types import Interval

from hpsearch.early_stopping.base import EarlyStopper, Stop, geometric_rungs
from hpsearch.registry import register
from hpsearch.spec import Direction, sign_of
from hpsearch.spec.stopping import MAX_EPOCHS


class MedianRule(EarlyStopper):
    """Median stopping rule (Golovin et al., KDD 2017, §3.2.2): a trial stops if its best value
    so far is worse than the median of the other trials' running means up to the same epoch.

    It judges at every epoch; its rungs, by which the sampler compares trials, triple as ASHA's.
    """

    def __init__(self, grace_period: int, min_trials: int, max_epochs: int, sign: float) -> None:
        self.rungs = geometric_rungs(grace_period, 3, max_epochs)
        self._grace_period = grace_period
        self._min_trials = min_trials
        self._sign = sign
        self._values: dict[int, list[float]] = defaultdict(list)
        self._means: dict[int, dict[int, float]] = defaultdict(dict)  # epoch → trial → mean

    def report(self, number: int, epoch: int, value: float) -> Stop | None:
        """See EarlyStopper."""
        values = self._values[number]
        values.append(value * self._sign)
        others = [mean for other, mean in self._means[epoch].items() if other != number]
        self._means[epoch][number] = sum(values) / len(values)
        if not self._grace_period <= epoch < self.rungs[-1] or len(others) < self._min_trials:
            return None
        best, median = max(values), float(np.median(others))
        if best >= median:
            return None
        return Stop(
            {"best": self._sign * best, "median": self._sign * median, "trials": len(others) + 1}
        )


class FullBudget:
    """Stops nothing."""

    def __init__(self, max_epochs: int) -> None:
        self.rungs: tuple[int, ...] = (max_epochs,)

    def report(self, number: int, epoch: int, value: object) -> Stop | None:
        """See EarlyStopper, or StandingRule."""
        return None

    def finish(self, number: int, epoch: int, value: object) -> None:
        """See EarlyStopper."""


@register("early_stopping", "median")
def median(
    max_epochs: int,
    direction: Direction,
    grace_period: Annotated[int, Interval(ge=1, le=MAX_EPOCHS)] = 1,
    min_trials: Annotated[int, Interval(ge=1, le=MAX_EPOCHS)] = 3,
) -> MedianRule:
    """Median stopping rule (Golovin et al., KDD 2017).

    `grace_period` are the epochs before a trial may be stopped, `min_trials` the trials to
    compare with before any is.
    """
    return MedianRule(grace_period, min_trials, max_epochs, sign_of(direction))


@register("early_stopping", "none")
def none(max_epochs: int, by_standing: bool = False) -> FullBudget:
    """Every trial trains its full budget."""
    return FullBudget(max_epochs)
