"""The decisions of early stopping over a record, as facts that can be written into it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from hpsearch.early_stopping import JointRule, PausingRule, Rule, Stop
from hpsearch.outcome import Outcome, StoppedBy
from hpsearch.pareto import Standing
from hpsearch.record import Record, TrialRecord

#: what stops a trial that can't keep a constraint any more
CONSTRAINTS = "constraints"


class Decisions:
    """Lets a rule of early stopping see what the record has, in the order in which it has it."""

    def __init__(self, record: Record, rule: Rule) -> None:
        self._record = record
        self._rule: Any = rule  # what it is given depends on the spec
        #: the rule, if it pauses trials rather than to end them
        self.pausing = rule if isinstance(rule, PausingRule) else None

    def replay(self) -> dict[int, StoppedBy | None]:
        """Bring the rule to where the record is; returns the newest decision on each trial."""
        newest = {number: stop for number, _, stop in self.made_again()}
        for trial in self._record.trials:
            self._drop_if_bad(trial)
        return newest

    def made_again(self) -> Iterator[tuple[int, int, StoppedBy | None]]:
        """Let the rule see all reports of the record; yields trial, epoch and decision of each."""
        for number, epoch, value, is_final in self._record.history():
            if is_final:
                self._finish(number, epoch, value)
            else:
                yield number, epoch, self.report(number, epoch, value)

    def report(self, number: int, epoch: int, value: float | None) -> StoppedBy | None:
        """Decide on a trial after an epoch; None lets it train on, as for all that a user does."""
        goal = self._record.trials[number].goal
        if goal is not None and epoch > goal.since:
            return None
        if (broken := self._lost(number, epoch)) is not None:
            return broken  # it takes no place at a rung
        if value is None or not math.isfinite(value):
            return None
        judged = self._judged(number, epoch, value)
        decision = None if judged is None else self._rule.report(number, epoch, judged)
        return self._fact(epoch, value, decision) if decision else None

    def finish(self, trial: TrialRecord) -> None:
        """Let the rule see the last objective of a trial that has ended itself."""
        value = self._record.objective(trial)
        if trial.ended_itself and value is not None:
            self._finish(trial.number, trial.epochs, value)
        self._drop_if_bad(trial)

    def take_out(self, number: int) -> None:
        """Let the rule wait for a trial no more: a user has decided on it."""
        if isinstance(self._rule, JointRule):
            self._rule.drop(number)
        elif self.pausing is not None:
            self.pausing.promote(number)

    def _finish(self, number: int, epoch: int, value: float) -> None:
        if self._record.trials[number].goal is not None:
            return
        judged = self._judged(number, epoch, value)
        if judged is not None:
            self._rule.finish(number, epoch, judged)

    def _judged(self, number: int, epoch: int, value: float) -> float | Standing | None:
        """Return what the rule judges a trial by after an epoch."""
        if self._record.spec.is_plain:
            return value
        return self._record.standing(self._record.trials[number], epoch)

    def _lost(self, number: int, epoch: int) -> StoppedBy | None:
        """Return the constraint that a trial breaks for good, by metrics that never fall."""
        if self._record.spec.is_own_code:  # its metrics may be anything
            return None
        trial = self._record.trials[number]
        for constraint in self._record.broken(trial, epoch):
            value = trial.last(constraint.metric, epoch)
            if value is not None and constraint.is_lost_at(value):
                return StoppedBy(CONSTRAINTS, epoch, {constraint.metric: value})
        return None

    def _drop_if_bad(self, trial: TrialRecord) -> None:
        if trial.outcome not in (None, Outcome.COMPLETED) and isinstance(self._rule, JointRule):
            self._rule.drop(trial.number)

    def resumable(self, may_add: bool) -> int | None:
        """Return the paused trial that should resume, if any, where a new one may start or not.

        What has ended since it paused, or a user decided on, as a replay can't know, is noted as
        resumed.
        """
        if self.pausing is None:
            return None
        while (number := self._resumable(self.pausing, may_add)) is not None:
            trial = self._record.trials[number]
            if trial.outcome is None and trial.goal is None:
                return number
            self.take_out(number)
        return None

    def standing(self, trial: TrialRecord) -> StoppedBy:
        """Say by which numbers a trial is paused."""
        decision = Stop() if self.pausing is None else self.pausing.standing(trial.number)
        return self._fact(trial.epochs, self._record.objective(trial), decision)

    def last_promotable(self) -> int | None:
        """Return the paused trial that leads, for the end of a search in which none completed.

        A rung of fewer trials than the reduction factor promotes none of them.
        """
        if self.pausing is None or self._record.best is not None:
            return None
        paused = [trial for trial in self._record.running() if trial.paused]
        longest = max((trial.epochs for trial in paused), default=0)
        leading = self._record.rank(trial for trial in paused if trial.epochs == longest)
        return leading[0].number if leading else None

    @staticmethod
    def _resumable(rule: PausingRule, may_add: bool) -> int | None:
        if not may_add and isinstance(rule, JointRule):
            return rule.leftover()
        return rule.promotable()

    def _fact(self, epoch: int, value: float | None, decision: Stop | bool) -> StoppedBy:
        spec = self._record.spec
        numbers = {} if value is None else {spec.objective.metric: value}
        numbers |= decision.numbers if isinstance(decision, Stop) else {}
        plain = {str(name): float(number) for name, number in numbers.items()}
        return StoppedBy(spec.search.early_stopping.name, epoch, plain)
