"""What a rule of early stopping is.

    from hpsearch.early_stopping import EarlyStopper, Stop

    class Below(EarlyStopper):
        "Stops trials that are below a floor after two epochs."

        def __init__(self, max_epochs: int, floor: float = 0.5) -> None:
            self.rungs = (2, max_epochs)
            self._floor = floor

        def report(self, number: int, epoch: int, value: float) -> Stop | None:
            is_poor = epoch == 2 and value < self._floor
            return Stop({"floor": self._floor}) if is_poor else None

A spec names it as `search: {early_stopping: {name: "rules.py:Below", max_epochs: 9, floor: 0.6}}`.
A package registers it by `@register("early_stopping", "below")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from hpsearch.errors import ComponentError
from hpsearch.pareto import Standing


@dataclass(frozen=True)
class Stop:
    """The decision to stop a trial; `numbers` are those that it was made by, for the record."""

    numbers: Mapping[str, float] = field(default_factory=dict)


class EarlyStopper(Protocol):
    """A rule that stops trials.

    It gets every value of the objective in the order in which the record has them, and the last
    value of a trial that ended itself. After a restart the record is replayed, so a rule must
    decide by these values alone: no clock, no unseeded random numbers, no files.

    A factory of rules gets `max_epochs` and `direction` (maximize or minimize) if it declares
    them; its other parameters are keywords of `search.early_stopping`.
    """

    #: epochs at which trials are compared, ascending; the last is `max_epochs`
    rungs: tuple[int, ...]

    def report(self, number: int, epoch: int, value: float) -> Stop | bool | None:
        """Take a trial's objective after an epoch; a Stop, or True, stops the trial there."""
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


class StandingRule(Protocol):
    """As EarlyStopper, for searches with several objectives or constraints.

    A factory whose rules can do that has a parameter `by_standing`: with True they get a Standing
    in place of the objective, with False they are EarlyStoppers.
    """

    rungs: tuple[int, ...]

    def report(self, number: int, epoch: int, standing: Standing) -> Stop | bool | None:
        """Take a trial's standing after an epoch; a Stop, or True, stops the trial there."""
        ...

    def finish(self, number: int, epoch: int, standing: Standing) -> None:
        """See EarlyStopper."""
        ...


Rule = EarlyStopper | StandingRule


@runtime_checkable
class PausingRule(Protocol):
    """A rule whose stops are pauses: it says which paused trial resumes."""

    rungs: tuple[int, ...]

    def report(self, number: int, epoch: int, value: float) -> Stop | bool | None:
        """See EarlyStopper; a Stop, or True, pauses the trial there."""
        ...

    def finish(self, number: int, epoch: int, value: float) -> None:
        """See EarlyStopper."""
        ...

    def promotable(self) -> int | None:
        """Return the trial that should resume, if any; the same one until it is promoted."""
        ...

    def promote(self, number: int) -> None:
        """Note that a paused trial resumes."""
        ...

    def standing(self, number: int) -> Stop:
        """Say by which numbers a trial is still paused when the search ends."""
        ...


@runtime_checkable
class JointRule(PausingRule, Protocol):
    """A pausing rule that weighs paused trials against new ones.

    Where `promotable` returns None a new trial is worth more than any paused one; it is asked
    while a new one may start, `leftover` from then on.
    """

    def leftover(self) -> int | None:
        """Return the trial that should resume, if any, where no new one may start."""
        ...

    def drop(self, number: int) -> None:
        """Note that a trial ended without a final value, such as one that diverged."""
        ...


def geometric_rungs(first: int, factor: int, last: int) -> tuple[int, ...]:
    """Return the epochs first, first·factor, first·factor², … below `last`, and `last`.

    Raises ComponentError at `grace_period` or `reduction_factor`, as rules call them.

    >>> geometric_rungs(1, 3, 27)
    (1, 3, 9, 27)
    """
    if first > last:
        rule = f"must be at most max_epochs ({last})"
        raise ComponentError(rule, first, keyword="grace_period")
    if first < 1:
        raise ComponentError("must be at least 1", first, keyword="grace_period")
    if factor < 2:
        raise ComponentError("must be at least 2", factor, keyword="reduction_factor")
    rungs = []
    while first < last:
        rungs.append(first)
        first *= factor
    return (*rungs, last)
