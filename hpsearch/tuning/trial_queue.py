"""Which trial comes next: one that waits for a worker, a promoted one, or a new configuration."""

from __future__ import annotations

from collections import deque
from collections.abc import Sized

from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.record.observations import Observations
from hpsearch.samplers import NotYetError, Sampler
from hpsearch.tuning.decisions import Decisions


class TrialQueue:
    """Hands out the trials of a search. `live` are those handed out that have not ended."""

    def __init__(
        self,
        record: Record,
        sampler: Sampler,
        decisions: Decisions,
        observations: Observations,
        live: Sized,
    ) -> None:
        self._record = record
        self._sampler = sampler
        self._decisions = decisions
        self._promotion = decisions.pausing
        self._observations = observations
        self._live = live
        self._waiting: deque[int] = deque()
        # What a user cancelled was not tried.
        self._num_cancelled = sum(t.outcome is Outcome.CANCELLED for t in record.trials)
        self._exhausted = False
        self._num_users = self._num_counted = 0  # trials of users, among so many

    @property
    def is_empty(self) -> bool:
        """Whether no further trial starts or continues."""
        if self._waiting or self._may_add_trial:
            return False
        if self._promotion is None:
            return True
        return not self._live and self._promotable() is None

    @property
    def why_empty(self) -> str | None:
        """Why no further trial starts though the budget has more; None where it has none."""
        if not (self._exhausted and self._has_budget):
            return None
        name = self._record.spec.search.sampler["name"]
        return f"the sampler {name} has tried all of its configurations"

    def put(self, number: int) -> None:
        """Add an unfinished trial, which continues when a slot is free."""
        self._waiting.append(number)

    def drop(self, number: int) -> None:
        """Let a trial that has ended wait no more."""
        if number in self._waiting:
            self._waiting.remove(number)

    def holds(self, number: int) -> bool:
        """Whether a trial waits for a slot."""
        return number in self._waiting

    def use(self, sampler: Sampler) -> None:
        """Ask another sampler from now on: the search space has changed."""
        self._sampler, self._exhausted = sampler, False

    def waiting(self) -> TrialRecord | None:
        """Take the trial that has waited longest, if any waits."""
        return self._record.trials[self._waiting.popleft()] if self._waiting else None

    def promoted_or_new(self) -> TrialRecord | None:
        """Resume a promoted trial, or choose a configuration and write it to the record."""
        # The sampler may have just said that the space is exhausted.
        return self._promoted() or self._new() or self._promoted()

    def _promoted(self) -> TrialRecord | None:
        number = self._promotable()
        if self._promotion is None or number is None:
            return None
        self._promotion.promote(number)
        self._record.set_paused(number, False)
        return self._record.trials[number]

    def _promotable(self) -> int | None:
        number = self._decisions.resumable(self._may_add_trial)
        if number is None and not (self._live or self._waiting or self._may_add_trial):
            return self._decisions.last_promotable()
        return number

    @property
    def _may_add_trial(self) -> bool:
        return not self._exhausted and self._has_budget

    @property
    def _has_budget(self) -> bool:
        return self._num_chosen - self._num_cancelled < self._record.spec.search.trials

    @property
    def _num_chosen(self) -> int:
        """Trials that the sampler chose; users' own are beside the budget."""
        trials = self._record.trials
        new, self._num_counted = trials[self._num_counted :], len(trials)
        self._num_users += sum(trial.origin is not None for trial in new)
        return len(trials) - self._num_users

    def _new(self) -> TrialRecord | None:
        if not self._may_add_trial:
            return None
        try:
            params = self._sampler.suggest(self._num_chosen, self._observations.for_sampler())
        except NotYetError:
            return None
        if params is None:
            self._exhausted = True
            return None
        # a point that was to be tried first may lie outside of a range that was narrowed since
        return self._record.add_trial(self._record.space.clipped(params))
