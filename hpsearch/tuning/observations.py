"""What a sampler sees of a search."""

from __future__ import annotations

from typing import Literal

from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers import Observation


class Observations:
    """The observations of a record; those of ended trials are made once."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._metric = record.spec.objective.metric
        self._max_epochs = record.spec.max_epochs
        self._ended: list[Observation] = []
        self._open: set[int] = set()
        self._num_seen = 0

    def read(self) -> list[Observation]:
        """Return what the sampler may learn from, by number; failed and cancelled trials teach
        nothing."""
        trials = self._record.trials
        self._open.update(range(self._num_seen, len(trials)))
        self._num_seen = len(trials)
        for number in [n for n in self._open if trials[n].outcome is not None]:
            self._open.remove(number)
            if trials[number].outcome not in (Outcome.FAILED, Outcome.CANCELLED):
                self._ended.append(self._observe(trials[number]))
        # Nearly in order already: what has ended since is at the end.
        self._ended.sort(key=_number)
        return sorted([*self._ended, *(self._observe(trials[n]) for n in self._open)], key=_number)

    def _observe(self, trial: TrialRecord) -> Observation:
        curve = trial.metric(self._metric)
        if trial.outcome is Outcome.COMPLETED and curve:  # if it ended itself, it stays as it is
            curve.setdefault(self._max_epochs, curve[max(curve)])
        return Observation(trial.number, trial.params, curve, _state(trial))


def _number(observation: Observation) -> int:
    return observation.number


def _state(trial: TrialRecord) -> Literal["running", "finished", "bad"]:
    if trial.outcome is None:
        return "finished" if trial.paused else "running"
    return "bad" if trial.outcome.is_bad_configuration else "finished"
