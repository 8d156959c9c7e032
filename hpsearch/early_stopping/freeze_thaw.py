"""Freeze-thaw: a new configuration, or a paused trial's next epochs, whichever promises more.

The idea is that of Swersky et al. (2014), "Freeze-thaw Bayesian optimization". What to train next
is Pandora's problem (Weitzman, Econometrica 1979): each trial is a box that opens in stages, and
the best order of opening is by index. A trial's index is the final value that would have to be
at hand already for its further training to be worth nothing: its forecast, plus a bonus for what
may still come of it (Gittins, 1979; for Bayesian optimization Xie et al., NeurIPS 2024).

    worth of a trial at the top     = max(0, x)         x: its final value less that at hand
    worth of a trial at rung k      = max(0, E[worth at rung k + 1] - price · epochs to it)

A new trial is a box as well: it will be as good at its first rung as the newest trials were. That
values the sampler's next proposal without looking at it, so the rule decides by reported values
alone and goes with every sampler.

The price of an epoch falls as 1 / (epochs trained so far): by that much the best of independent
draws improves per epoch. At first the cheapest information wins, later the remaining doubt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from typing import Annotated

import numpy as np
from annotated_types import Interval

from hpsearch.early_stopping.base import EarlyStopper, Stop, geometric_rungs
from hpsearch.early_stopping.curves import Forecasts, extrapolate, forecast_final, newest_rung
from hpsearch.registry import register
from hpsearch.samplers.unit_cube import Array
from hpsearch.spec import Direction, sign_of
from hpsearch.spec.stopping import MAX_EPOCHS

#: price of an epoch, in standard deviations of final values, times the epochs trained so far
PRICE = 3.0
#: values beyond are taken for it, as squares of them would overflow
LARGEST = 1e100
#: trials that have shown how good the sampler's proposals are by now
NUM_RECENT = 12
#: differences of scores at which worths are computed, and the quadrature of a normal step
GRID = np.linspace(-8.0, 8.0, 161)
NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()

Worth = Callable[[Array], Array]


class FreezeThaw(EarlyStopper):
    """Pauses each trial at each rung; a free worker gets what has the highest index.

    A trial that reports beyond a rung has resumed there, which is how a replay knows. Once no new
    trial can start, the best paused ones resume until `share` of the epochs are used that
    training all trials in full would take.
    """

    def __init__(self, rungs: tuple[int, ...], share: float, sign: float) -> None:
        self.rungs = rungs
        self._share = share
        self._sign = sign
        self._curves: dict[int, dict[int, float]] = {}
        self._rows: dict[int, int] = {}  # trial → its row below, once it has a rung
        self._reached = np.empty((0, len(rungs)))
        self._extrapolated = np.empty((0, len(rungs) - 1))
        self._paused: set[int] = set()
        self._ahead: dict[int, int] = {}  # trials on their way to a rung → epochs to it
        self._num_complete = 0
        self._num_epochs = 0
        self._forecasts: Forecasts | None = None  # until the next report

    def report(self, number: int, epoch: int, value: float) -> Stop | None:
        """See EarlyStopper."""
        self._num_epochs += 1
        self._take(number, epoch, self._sign * value)
        if epoch not in self.rungs:
            self._note_ahead(number, epoch)
        elif epoch == self.rungs[-1]:
            self._num_complete += 1
        else:
            self._paused.add(number)
            return Stop()
        return None

    def finish(self, number: int, epoch: int, value: float) -> None:
        """See EarlyStopper. What it would report at later rungs is known."""
        for rung in self.rungs:
            if rung > epoch:
                self._take(number, rung, self._sign * value)
        row = self._rows[number]
        self._extrapolated[row] = self._reached[row, -1]
        self._num_complete += 1

    def promotable(self) -> int | None:
        """Return the paused trial that is worth more than a new one, if any."""
        if len(self._rows) < 2 or not self._paused:
            return None
        number, index = self._best(self._paused)
        return number if index >= self._index_of_new() else None

    def leftover(self) -> int | None:
        """See JointRule: while `share` isn't used, or no trial is complete, one of the best.

        As many as could be trained in full by the rest of the epochs; those running count.
        """
        if not self._paused:
            return None
        left = self._share * self.rungs[-1] * len(self._curves) - self._num_epochs
        is_used = left <= sum(self._ahead.values())
        if is_used and (self._num_complete or self._ahead):
            return None
        number, index = self._best(self._paused)
        num_better = sum(other >= index for other in self._indices(self._ahead))
        num_affordable = left / (self.rungs[-1] - max(self._curves[number]))
        return number if num_better < max(1.0, num_affordable) else None

    def promote(self, number: int) -> None:
        """See PausingRule."""
        self._paused.discard(number)
        self._note_ahead(number, max(self._curves[number]))

    def drop(self, number: int) -> None:
        """See JointRule."""
        self._paused.discard(number)
        self._ahead.pop(number, None)

    def standing(self, number: int) -> Stop:
        """See PausingRule: the forecast of its final value, with its 90 % interval."""
        row = self._rows.get(number)
        if row is None:
            return Stop()
        forecasts = self._forecast()
        low, high = sorted(self._sign * end for end in forecasts.interval(row))
        forecast = self._sign * float(forecasts.values[row])
        return Stop({"forecast": forecast, "low": low, "high": high, "trials": len(self._rows)})

    def _take(self, number: int, epoch: int, score: float) -> None:
        """Note a value; a rung without a value of its own has the one before."""
        curve = self._curves.setdefault(number, {})
        curve[epoch] = min(max(score, -LARGEST), LARGEST)
        self._paused.discard(number)
        self._ahead.pop(number, None)
        self._forecasts = None
        for k, rung in enumerate(self.rungs):
            if rung <= epoch and not self._has_reached(number, k):
                self._reach(number, k, {e: v for e, v in curve.items() if e <= rung} or curve)

    def _note_ahead(self, number: int, epoch: int) -> None:
        self._ahead[number] = next(rung for rung in self.rungs if rung > epoch) - epoch

    def _has_reached(self, number: int, k: int) -> bool:
        return number in self._rows and not math.isnan(self._reached[self._rows[number], k])

    def _reach(self, number: int, k: int, curve: dict[int, float]) -> None:
        if number not in self._rows:
            self._rows[number] = len(self._rows)
            self._reached = np.pad(self._reached, ((0, 1), (0, 0)), constant_values=np.nan)
            self._extrapolated = np.pad(
                self._extrapolated, ((0, 1), (0, 0)), constant_values=np.nan
            )
        row = self._rows[number]
        self._reached[row, k] = curve[max(curve)]
        if k + 1 < len(self.rungs):
            self._extrapolated[row, k] = extrapolate(curve, self.rungs[k + 1])

    def _forecast(self) -> Forecasts:
        if self._forecasts is None:
            self._forecasts = forecast_final(self._reached, self._extrapolated)
        return self._forecasts

    def _best(self, numbers: Collection[int]) -> tuple[int, float]:
        """Return the trial of the highest index, the first of equal ones, and its index."""
        ordered = sorted(numbers)
        indices = self._indices(ordered)
        best = int(np.argmax(indices))
        return ordered[best], float(indices[best])

    def _indices(self, numbers: Iterable[int]) -> Array:
        """Return the indices of trials at their newest rungs, of those that have reached one."""
        rows = [self._rows[number] for number in numbers if number in self._rows]
        forecasts = self._forecast()
        bonuses = np.array([bonus for bonus, _ in self._worths(forecasts)])
        indices: Array = forecasts.scores[rows] + bonuses[newest_rung(self._reached[rows])]
        return indices

    def _index_of_new(self) -> float:
        """Return the index of a trial that will be at its first rung as the newest were there."""
        forecasts = self._forecast()
        recent = forecasts.at_first[-NUM_RECENT:]
        _, worth = self._worths(forecasts)[0]
        at_hand = GRID / 2.0
        gains = worth(recent[:, None] - at_hand).mean(axis=0) - self._price * self.rungs[0]
        return float(np.interp(0.0, -gains, at_hand))  # gains fall with what is at hand

    @property
    def _price(self) -> float:
        return PRICE / self._num_epochs

    def _worths(self, forecasts: Forecasts) -> list[tuple[float, Worth]]:
        """Return for each rung but the last the bonus, and the worth by x; from the top down."""
        found: list[tuple[float, Worth]] = []
        worth: Worth = lambda x: np.maximum(x, 0.0)  # noqa: E731
        costs = [above - below for below, above in pairwise(self.rungs)]
        for step, cost in zip(forecasts.steps[::-1], costs[::-1], strict=True):
            gains = worth(GRID[:, None] + step * NODES) @ NODE_WEIGHTS - self._price * cost
            worth = _interpolated(np.maximum(gains, 0.0))
            found.insert(0, (-float(np.interp(0.0, gains, GRID)), worth))
        return found


def _interpolated(worths: Array) -> Worth:
    """Return the worth between the points of GRID, and x itself beyond them."""
    return lambda x: np.where(x > GRID[-1], x, np.interp(x, GRID, worths))


@register("early_stopping", "freeze_thaw")
def freeze_thaw(
    max_epochs: int,
    direction: Direction,
    grace_period: Annotated[int, Interval(ge=1, le=MAX_EPOCHS)] = 1,
    reduction_factor: Annotated[int, Interval(ge=2, le=MAX_EPOCHS)] = 3,
    share: Annotated[float, Interval(gt=0, le=1)] = 0.25,
) -> FreezeThaw:
    """Each trial pauses at each rung; forecasts decide between it and a new one (Swersky et al.).

    Rungs are those of `asha`. Once all of `search.trials` have started, the best resume until
    `share` of the epochs are used that training all in full would take.
    """
    rungs = geometric_rungs(grace_period, reduction_factor, max_epochs)
    return FreezeThaw(rungs, share, sign_of(direction))
