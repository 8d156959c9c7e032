"""What a sampler is told of a search."""

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
        self._of_ended: dict[int, Observation] = {}

    def read(self) -> list[Observation]:
        """Return what the sampler may learn from; failed and cancelled trials teach nothing."""
        return [
            self._of_ended.get(trial.number) or self._observe(trial)
            for trial in self._record.trials
            if trial.outcome not in (Outcome.FAILED, Outcome.CANCELLED)
        ]

    def _observe(self, trial: TrialRecord) -> Observation:
        curve = trial.metric(self._metric)
        observation = Observation(trial.number, trial.params, curve, _state(trial))
        if trial.outcome is not None:
            self._of_ended[trial.number] = observation
        return observation


def _state(trial: TrialRecord) -> Literal["running", "finished", "bad"]:
    if trial.outcome is None:
        return "finished" if trial.paused else "running"
    return "bad" if trial.outcome.is_bad_configuration else "finished"
