"""Successive halving: at each rung the best train on (Jamieson & Talwalkar, AISTATS 2016)."""

from __future__ import annotations

from bisect import insort
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from hpsearch.early_stopping.base import EarlyStopper, Stop, geometric_rungs
from hpsearch.early_stopping.non_dominated import NonDominatedHalving
from hpsearch.registry import register
from hpsearch.spec import Direction, sign_of
from hpsearch.spec.stopping import MAX_EPOCHS

#: epochs of the first rung
_GracePeriod = Annotated[int, Interval(ge=1, le=MAX_EPOCHS)]
#: one trial in this many trains on
_Factor = Annotated[int, Interval(ge=2, le=MAX_EPOCHS)]


class SuccessiveHalving(EarlyStopper):
    """Asynchronous successive halving, stopping form (Li et al., MLSys 2020; Salinas et al.,
    AutoML 2022, "stopping" variant): at a rung a trial continues if its value is at or above the
    1 - 1/factor quantile of all values seen at that rung, its own included."""

    def __init__(self, rungs: tuple[int, ...], factor: int, sign: float) -> None:
        self.rungs = rungs
        self._factor = factor
        self._sign = sign
        self._values: dict[int, list[float]] = {rung: [] for rung in rungs[:-1]}

    def report(self, number: int, epoch: int, value: float) -> Stop | None:
        """See EarlyStopper."""
        values = self._values.get(epoch)
        if values is None:
            return None
        value *= self._sign
        insort(values, value)
        threshold = _sorted_quantile(values, 1 - 1 / self._factor)
        if value >= threshold:
            return None
        return Stop({"threshold": self._sign * threshold, "trials": len(values)})


class Promotion(EarlyStopper):
    """Asynchronous successive halving, promotion form (Li et al., MLSys 2020, algorithm 2): each
    trial pauses at each rung, and continues once it is among the best 1/factor of its rung.

    A trial that reports beyond a rung has been promoted from there, which is how a replay knows.
    """

    def __init__(self, rungs: tuple[int, ...], factor: int, sign: float) -> None:
        self.rungs = rungs
        self._factor = factor
        self._sign = sign
        # by rung: (-score, trial), the best first; and the trials that went on from there
        self._ranked: dict[int, list[tuple[float, int]]] = {rung: [] for rung in rungs[:-1]}
        self._promoted: dict[int, set[int]] = {rung: set() for rung in rungs[:-1]}
        self._ended: dict[int, int] = {}  # trials that ended themselves, and after which epoch

    def report(self, number: int, epoch: int, value: float) -> Stop | None:
        """See EarlyStopper."""
        for rung, promoted in self._promoted.items():
            if rung < epoch:
                promoted.add(number)
        if epoch not in self._ranked:
            return None
        insort(self._ranked[epoch], (-self._sign * value, number))
        self._carry_up()
        return self.standing(number)

    def finish(self, number: int, epoch: int, value: float) -> None:
        """See EarlyStopper. At the next rung it waits to be promoted, as any other."""
        self._ended[number] = epoch
        following = next(rung for rung in self.rungs if rung > epoch)
        self.report(number, following, value)

    def promotable(self) -> int | None:
        """Return the trial that should resume, if any; the same one until it is promoted."""
        for rung in reversed(self.rungs[:-1]):
            promoted = self._promoted[rung]
            for _, number in self._best(rung):
                if number not in promoted and number not in self._ended:
                    return number
        return None

    def standing(self, number: int) -> Stop:
        """See PausingRule: a trial's rank at its highest rung, and how many are promoted there."""
        for rung in reversed(self.rungs[:-1]):
            ranked = [trial for _, trial in self._ranked[rung]]
            if number in ranked:
                places = len(ranked) // self._factor
                rank = ranked.index(number) + 1
                return Stop({"rank": rank, "places": places, "trials": len(ranked)})
        return Stop()

    def promote(self, number: int) -> None:
        """Take note that a paused trial continues."""
        for rung in reversed(self.rungs[:-1]):
            if any(trial == number for _, trial in self._ranked[rung]):
                self._promoted[rung].add(number)
                return

    def _carry_up(self) -> None:
        """Promote trials that ended themselves: what they would report there is known."""
        for rung, following in pairwise(self.rungs[:-1]):
            for entry in self._best(rung):
                has_ended = self._ended.get(entry[1], rung) < rung
                if has_ended and entry not in self._ranked[following]:
                    insort(self._ranked[following], entry)

    def _best(self, rung: int) -> list[tuple[float, int]]:
        ranked = self._ranked[rung]
        return ranked[: len(ranked) // self._factor]


class Brackets(EarlyStopper):
    """Asynchronous Hyperband (Li et al., JMLR 2018; MLSys 2020 §3.3): several successive
    halvings, the s-th with a grace period factor^s times as long; each trial belongs to one.

    Hyperband gives each bracket the same budget, so the share of trials of a bracket falls with
    what a trial costs there. A trial's bracket follows from its number alone: the golden-ratio
    sequence spreads the brackets evenly over time.
    """

    def __init__(
        self, grace_period: int, factor: int, max_epochs: int, sign: float, by_standing: bool
    ) -> None:
        self.rungs = geometric_rungs(grace_period, factor, max_epochs)
        self._brackets = [
            _halving(self.rungs[s:], factor, sign, by_standing) for s in range(len(self.rungs))
        ]
        costs = [_expected_epochs(bracket.rungs, factor) for bracket in self._brackets]
        shares = 1 / np.array(costs)
        self._cumulative = np.cumsum(shares / shares.sum())

    def bracket(self, number: int) -> int:
        """Return the index of the bracket that a trial belongs to."""
        golden_ratio = (5**0.5 - 1) / 2
        position = (number * golden_ratio) % 1.0
        return min(int(np.searchsorted(self._cumulative, position, side="right")), self._last)

    def report(self, number: int, epoch: int, value: Any) -> Stop | None:
        """See EarlyStopper, or StandingRule."""
        return self._brackets[self.bracket(number)].report(number, epoch, value)

    @property
    def _last(self) -> int:
        return len(self._brackets) - 1


@register("early_stopping", "asha")
def asha(
    max_epochs: int,
    direction: Direction,
    grace_period: _GracePeriod = 1,
    reduction_factor: _Factor = 3,
    by_standing: bool = False,
) -> SuccessiveHalving | NonDominatedHalving:
    """Asynchronous successive halving (Li et al., MLSys 2020).

    `grace_period` are the epochs of the first rung; one trial in `reduction_factor` continues.
    Several objectives, or constraints, rank by domination (MO-ASHA; Schmucker et al., 2021).
    """
    rungs = geometric_rungs(grace_period, reduction_factor, max_epochs)
    return _halving(rungs, reduction_factor, sign_of(direction), by_standing)


@register("early_stopping", "asha_promotion")
def asha_promotion(
    max_epochs: int,
    direction: Direction,
    grace_period: _GracePeriod = 1,
    reduction_factor: _Factor = 3,
) -> Promotion:
    """ASHA that pauses each trial at each rung and promotes the best (Li et al., MLSys 2020).

    Its algorithm 2: no poor trial continues for want of others. If none has completed when all
    are paused, the leading one continues. The keywords are those of `asha`.
    """
    rungs = geometric_rungs(grace_period, reduction_factor, max_epochs)
    return Promotion(rungs, reduction_factor, sign_of(direction))


@register("early_stopping", "hyperband")
def hyperband(
    max_epochs: int,
    direction: Direction,
    grace_period: _GracePeriod = 1,
    reduction_factor: _Factor = 3,
    by_standing: bool = False,
) -> Brackets:
    """Asynchronous Hyperband: ASHA in brackets of growing grace periods (Li et al., JMLR 2018)."""
    sign = sign_of(direction)
    return Brackets(grace_period, reduction_factor, max_epochs, sign, by_standing)


def _halving(
    rungs: tuple[int, ...], factor: int, sign: float, by_standing: bool
) -> SuccessiveHalving | NonDominatedHalving:
    if by_standing:
        return NonDominatedHalving(rungs, factor)
    return SuccessiveHalving(rungs, factor, sign)


def _expected_epochs(rungs: tuple[int, ...], factor: int) -> float:
    """Epochs that a trial of a successive halving costs on average."""
    steps = zip((0, *rungs), rungs, strict=False)
    return sum((end - start) * float(factor) ** -i for i, (start, end) in enumerate(steps))


def _sorted_quantile(values: list[float], fraction: float) -> float:
    """Linear-interpolation quantile of sorted values; numpy's would sort them at every call."""
    position = fraction * (len(values) - 1)
    below = int(position)
    if below + 1 == len(values):
        return values[below]
    return values[below] + (values[below + 1] - values[below]) * (position - below)
