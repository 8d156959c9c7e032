"""Early stopping: which trials are worth their next epoch.

Each rule is told every value of the objective in the order it was written to the record, and
says whether the trial stops; of a trial that ended itself it is told that too. It keeps nothing
that such a replay would not give back.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from itertools import pairwise
from typing import Protocol

import numpy as np

from hpsearch.spec import Asha, AshaPromotion, Hyperband, Median, NoStopping, SearchSpec


class EarlyStopper(Protocol):
    """A rule that stops trials."""

    #: epochs at which the rule compares trials, and the last epoch of a trial; ascending
    rungs: tuple[int, ...]

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Take a trial's objective after an epoch; True stops the trial there."""
        ...

    def finish(self, number: int, epoch: int, value: float) -> None:
        """Take the last objective of a trial that ended itself before its full budget.

        It keeps that value for good (patience puts the best weights back), and competes for best
        with it, so it counts wherever a trial with this curve would have come, as far as it would
        not have been stopped. Without it only those that train on would be compared there, and
        the bar for them would be lower the more good trials end themselves. Ray's and Optuna's
        rules leave such a trial out of the rungs that it did not train to.
        """
        for later in range(epoch + 1, self.rungs[-1]):
            if self.report(number, later, value):
                return


def make_early_stopper(spec: SearchSpec) -> EarlyStopper:
    """Return the rule that a spec asks for."""
    settings = spec.search.early_stopping
    sign = 1.0 if spec.objective.direction == "maximize" else -1.0
    if isinstance(settings, Asha):
        rungs = geometric_rungs(
            settings.grace_period, settings.reduction_factor, settings.max_epochs
        )
        return SuccessiveHalving(rungs, settings.reduction_factor, sign)
    if isinstance(settings, AshaPromotion):
        rungs = geometric_rungs(
            settings.grace_period, settings.reduction_factor, settings.max_epochs
        )
        return Promotion(rungs, settings.reduction_factor, sign)
    if isinstance(settings, Hyperband):
        return Brackets(
            settings.grace_period, settings.reduction_factor, settings.max_epochs, sign
        )
    if isinstance(settings, Median):
        return MedianRule(settings.grace_period, settings.min_trials, settings.max_epochs, sign)
    assert isinstance(settings, NoStopping)
    return FullBudget(settings.max_epochs)


def geometric_rungs(first: int, factor: int, last: int) -> tuple[int, ...]:
    """Return the epochs first, first·factor, first·factor², … below `last`, and `last`.

    >>> geometric_rungs(1, 3, 27)
    (1, 3, 9, 27)
    """
    rungs = []
    while first < last:
        rungs.append(first)
        first *= factor
    return (*rungs, last)


class SuccessiveHalving(EarlyStopper):
    """Asynchronous successive halving, stopping form (Li et al., MLSys 2020; Salinas et al.,
    AutoML 2022, "stopping" variant): at a rung a trial goes on if its value is at or above the
    1 - 1/factor quantile of all values seen at that rung, its own included."""

    def __init__(self, rungs: tuple[int, ...], factor: int, sign: float) -> None:
        self.rungs = rungs
        self._factor = factor
        self._sign = sign
        self._values: dict[int, list[float]] = {rung: [] for rung in rungs[:-1]}

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        values = self._values.get(epoch)
        if values is None:
            return False
        value *= self._sign
        insort(values, value)
        return bool(value < _sorted_quantile(values, 1 - 1 / self._factor))


class Promotion(EarlyStopper):
    """Asynchronous successive halving, promotion form (Li et al., MLSys 2020, algorithm 2): each
    trial pauses at each rung, and goes on once it is among the best 1/factor of its rung.

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

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        for rung, promoted in self._promoted.items():
            if rung < epoch:
                promoted.add(number)
        if epoch not in self._ranked:
            return False
        insort(self._ranked[epoch], (-self._sign * value, number))
        self._carry_up()
        return True

    def finish(self, number: int, epoch: int, value: float) -> None:
        """See EarlyStopper. At the next rung it waits to be promoted, as any other."""
        self._ended[number] = epoch
        following = next(rung for rung in self.rungs if rung > epoch)
        self.report(number, following, value)

    def promotable(self) -> int | None:
        """Return the trial that should go on, if any; the same one until it is promoted."""
        for rung in reversed(self.rungs[:-1]):
            promoted = self._promoted[rung]
            for _, number in self._best(rung):
                if number not in promoted and number not in self._ended:
                    return number
        return None

    def promote(self, number: int) -> None:
        """Take note that a paused trial goes on."""
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

    def __init__(self, grace_period: int, factor: int, max_epochs: int, sign: float) -> None:
        self.rungs = geometric_rungs(grace_period, factor, max_epochs)
        self._brackets = [
            SuccessiveHalving(self.rungs[s:], factor, sign) for s in range(len(self.rungs))
        ]
        costs = [_expected_epochs(bracket.rungs, factor) for bracket in self._brackets]
        shares = 1 / np.array(costs)
        self._cumulative = np.cumsum(shares / shares.sum())

    def bracket(self, number: int) -> int:
        """Return the index of the bracket that a trial belongs to."""
        golden_ratio = (5**0.5 - 1) / 2
        position = (number * golden_ratio) % 1.0
        return min(int(np.searchsorted(self._cumulative, position, side="right")), self._last)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        return self._brackets[self.bracket(number)].report(number, epoch, value)

    @property
    def _last(self) -> int:
        return len(self._brackets) - 1


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

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        values = self._values[number]
        values.append(value * self._sign)
        others = [mean for other, mean in self._means[epoch].items() if other != number]
        self._means[epoch][number] = sum(values) / len(values)
        if epoch < self._grace_period or epoch >= self.rungs[-1]:
            return False
        return len(others) >= self._min_trials and max(values) < float(np.median(others))


class FullBudget(EarlyStopper):
    """Stops nothing."""

    def __init__(self, max_epochs: int) -> None:
        self.rungs: tuple[int, ...] = (max_epochs,)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        return False


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
