"""Which member of a population trains next, and the exploits after each interval."""

from __future__ import annotations

from collections.abc import Callable, Sized
from pathlib import Path

from hpsearch.outcome import StoppedBy
from hpsearch.record import Record, TrialRecord
from hpsearch.record.observations import Observations
from hpsearch.samplers import PopulationSampler, Sampler
from hpsearch.samplers.population import Exploit
from hpsearch.spec import sign_of
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.tuning.decisions import Decisions
from hpsearch.tuning.population import Population, origin_of
from hpsearch.tuning.trial_queue import TrialQueue

#: writes that a member was stopped: its number, and by what
EndStopped = Callable[[int, StoppedBy], None]


class PopulationQueue(TrialQueue):
    """Hands out the members of a population.

    An exploit ends the loser as a trial that was stopped, and begins a new one from the source's
    checkpoint: each trial has one configuration, and its curve is its own.
    """

    def __init__(
        self,
        record: Record,
        sampler: Sampler,
        decisions: Decisions,
        observations: Observations,
        live: Sized,
        explorer: PopulationSampler,
        checkpoints: Path,
        end_stopped: EndStopped,
    ) -> None:
        super().__init__(record, sampler, decisions, observations, live)
        self._explorer = explorer
        self._population = Population(record, explorer)
        self._checkpoints = checkpoints
        self._end_stopped = end_stopped

    @property
    def is_empty(self) -> bool:
        """Whether no further trial starts or continues."""
        return not (self._waiting or self._may_begin or self._population.living)

    def waiting(self) -> TrialRecord | None:
        """Take the trial that has waited longest, if any waits.

        Where a driver died in the middle of a comparison, that is completed before its copies
        train on.
        """
        self._compare()
        trial = super().waiting()
        if trial is not None:
            self._copy(trial)
        return trial

    def promoted_or_new(self) -> TrialRecord | None:
        """Begin a first member, or compare all and have one go on."""
        return self._new() if self._may_begin else self.waiting() or self._resumed()

    @property
    def _may_begin(self) -> bool:
        return self._population.num_missing > 0 and self._may_add_trial

    def _compare(self) -> None:
        """Do what exploits remain to be done, if all members wait for them."""
        epoch = None if self._may_begin else self._population.comparison
        if epoch is None:
            return
        exploits = self._population.exploits(epoch, lambda number: self._store(number).has(epoch))
        for exploit in exploits:
            child = self._population.successors.get(exploit.loser.number)
            if child is None and self._may_add_trial:
                child = self._begin(exploit, epoch, exploits)
                self.put(child.number)
            if child is not None:
                self._copy(child)
                self._end(exploit, epoch)

    def _begin(self, exploit: Exploit, epoch: int, exploits: list[Exploit]) -> TrialRecord:
        number = len(self._record.trials)
        intervals = self._population.intervals(epoch)
        pending = self._population.pending(epoch, exploits, number)
        params = self._explorer.explore(number, exploit, epoch, intervals, pending)
        return self._record.add_trial(params, origin_of(exploit, epoch))

    def _copy(self, trial: TrialRecord) -> None:
        """Give a trial that has trained nothing the checkpoint that it begins with."""
        origin = trial.copied_from
        if origin is None or trial.curve or trial.outcome is not None:
            return
        store = self._store(trial.number)
        if store.newest() is None and self._store(origin.trial).has(origin.epoch):
            path = store.copy_from(self._store(origin.trial), origin.epoch)
            self._record.set_checkpoint(trial.number, str(path.relative_to(self._checkpoints)))

    def _end(self, exploit: Exploit, epoch: int) -> None:
        loser, source = exploit.loser, exploit.source
        if self._record.trials[loser.number].outcome is not None:
            return
        sign = sign_of(self._record.spec.objective.direction)
        numbers = {} if loser.score is None else {self._metric: sign * loser.score}
        if source.score is not None:
            numbers |= {"copied": sign * source.score, "of_trial": float(source.number)}
        rule = str(self._record.spec.search.sampler["name"])
        self._end_stopped(loser.number, StoppedBy(rule, epoch, numbers))

    def _resumed(self) -> TrialRecord | None:
        """Have the member go on that has waited at the earliest epoch, unless others are to come
        there."""
        living = self._population.living
        earliest = min((each.epochs for each in living), default=0)
        waits = [each for each in living if each.paused and each.epochs == earliest]
        if not waits:
            return None
        self._record.set_paused(waits[0].number, False)
        return waits[0]

    def _store(self, number: int) -> CheckpointStore:
        return CheckpointStore(self._checkpoints, number)

    @property
    def _metric(self) -> str:
        return self._record.spec.objective.metric
