"""A population over a record: its members, who copies whom, and what each gained.

Members wait for each other after every interval, so that what happens depends neither on how many
train at once nor on which is quicker. Since all of it follows from the record, a driver that dies
in the middle of an exploit is followed by one that completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from hpsearch.early_stopping import Stop
from hpsearch.outcome import CopiedFrom, Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers import PopulationSampler
from hpsearch.samplers.population import Exploit, Interval, Member, truncation_selection
from hpsearch.spec import Scalar, sign_of


class Intervals:
    """Pauses each member after every interval (see PausingRule); the queue has them go on."""

    def __init__(self, interval: int, max_epochs: int) -> None:
        self.rungs = (*range(interval, max_epochs, interval), max_epochs)

    def report(self, number: int, epoch: int, value: float) -> Stop | None:
        """See EarlyStopper."""
        return Stop() if epoch in self._pauses else None

    def finish(self, number: int, epoch: int, value: float) -> None:
        """See EarlyStopper: a member that ends itself leaves the population."""

    def promotable(self) -> int | None:
        """See PausingRule: none by what this rule knows."""
        return None

    def promote(self, number: int) -> None:
        """See PausingRule."""

    def standing(self, number: int) -> Stop:
        """See PausingRule."""
        return Stop()

    @cached_property
    def _pauses(self) -> frozenset[int]:
        return frozenset(self.rungs[:-1])


class Population:
    """The members of a search, as its record has them at any time."""

    def __init__(self, record: Record, sampler: PopulationSampler) -> None:
        self._record = record
        self._interval = sampler.perturbation_interval
        self._quantile_fraction = sampler.quantile_fraction
        self._size = sampler.population
        self._sign = sign_of(record.spec.objective.direction)

    @property
    def trials(self) -> list[TrialRecord]:
        """Those of the newest population: a user who cancels a search cancels it whole."""
        trials = self._record.trials
        cancelled = [each.number for each in trials if each.outcome is Outcome.CANCELLED]
        return trials[cancelled[-1] + 1 :] if cancelled else list(trials)

    @property
    def num_missing(self) -> int:
        """How many of its first members have not begun."""
        return self._size - sum(each.copied_from is None for each in self.trials)

    @property
    def living(self) -> list[TrialRecord]:
        """The members that have not ended."""
        return [each for each in self.trials if each.outcome is None]

    @property
    def comparison(self) -> int | None:
        """The epoch after which all living members wait to be compared, if they do."""
        epochs = {each.epochs for each in self.living}
        if len(epochs) != 1:
            return None
        epoch = epochs.pop()
        is_pause = epoch > 0 and epoch % self._interval == 0
        return epoch if is_pause and epoch < self._record.spec.max_epochs else None

    def exploits(
        self, epoch: int, has_state: Callable[[int], bool] = lambda number: True
    ) -> list[Exploit]:
        """Return who copies whom after an epoch, as it was decided or will be.

        `has_state` says of a member whether its state after that epoch is there.
        """
        members = [
            Member(
                trial.number,
                trial.params,
                self._score(trial, epoch),
                may_be_copied=not _has_left(trial, epoch) and has_state(trial.number),
            )
            for trial in self.members(epoch)
        ]
        seed = self._record.spec.search.seed
        return truncation_selection(members, self._quantile_fraction, seed, epoch)

    def members(self, epoch: int) -> list[TrialRecord]:
        """Return the members as they came to a comparison: before any of them was replaced.

        Those that ended themselves have left.
        """
        successors = self.successors
        found = []
        for trial in self.trials:
            if trial.copied_from is not None:
                continue
            while (next_one := successors.get(trial.number)) and _begin(next_one) < epoch:
                trial = next_one
            if trial.outcome is not Outcome.COMPLETED or trial.epochs >= epoch:
                found.append(trial)
        return found

    @property
    def successors(self) -> dict[int, TrialRecord]:
        """The trials that took the place of others, by the number of these."""
        return {each.copied_from.replaces: each for each in self.trials if each.copied_from}

    def intervals(self, epoch: int) -> list[Interval]:
        """Return what members gained up to an epoch; not by the first, before which nothing is
        known."""
        return sorted(self._intervals(epoch), key=lambda each: each.end)

    def pending(
        self, epoch: int, exploits: Sequence[Exploit], number: int
    ) -> list[dict[str, Scalar]]:
        """Return the hyperparameters with which others go on after an epoch, when trial `number`
        is chosen: the members that aren't replaced, and the copies before it."""
        losers = {each.loser.number for each in exploits}
        stay = [
            each
            for each in self.members(epoch)
            if each.epochs >= epoch and each.number not in losers and not _has_left(each, epoch)
        ]
        copies = [
            each
            for each in self.trials
            if each.copied_from and each.copied_from.epoch == epoch and each.number < number
        ]
        return [each.params for each in (*stay, *copies)]

    def _intervals(self, epoch: int) -> Iterator[Interval]:
        for trial in self.trials:
            first = _begin(trial) // self._interval * self._interval + self._interval
            for end in range(first, min(trial.epochs, epoch) + 1, self._interval):
                before = self._value(trial, end - self._interval)
                after = trial.last(self._metric, end)
                if before is not None and after is not None:
                    yield Interval(trial.params, end, self._sign * (after - before))

    def _score(self, trial: TrialRecord, epoch: int) -> float | None:
        value = trial.last(self._metric, epoch) if trial.epochs >= epoch else None
        return None if value is None else self._sign * value

    def _value(self, trial: TrialRecord, epoch: int) -> float | None:
        """Return the objective after an epoch of a trial, or of those that it was copied from."""
        while trial.copied_from is not None and epoch <= trial.copied_from.epoch:
            trial = self._record.trials[trial.copied_from.trial]
        return trial.last(self._metric, epoch)

    @property
    def _metric(self) -> str:
        return self._record.spec.objective.metric


def pauses_of(sampler: PopulationSampler, max_epochs: int) -> Intervals:
    """Return what pauses the members of a sampler's population."""
    return Intervals(sampler.perturbation_interval, max_epochs)


def origin_of(exploit: Exploit, epoch: int) -> CopiedFrom:
    """Return an exploit as the record has it."""
    return CopiedFrom(exploit.source.number, epoch, exploit.loser.number)


def _has_left(trial: TrialRecord, epoch: int) -> bool:
    """Whether a member ended itself after an epoch, or before."""
    return trial.outcome is Outcome.COMPLETED and trial.epochs <= epoch


def _begin(trial: TrialRecord) -> int:
    return trial.first_epoch - 1
