"""What a sampler sees of a search."""

from __future__ import annotations

from typing import Literal

from hpsearch.outcome import Outcome
from hpsearch.record.record import Record
from hpsearch.record.trials import TrialRecord
from hpsearch.samplers import Observation

#: how far a trial is
_Version = tuple[int, bool, Outcome | None]


class Observations:
    """The observations of a record; each is made again only when its trial has changed."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._metrics = [each.metric for each in record.spec.all_objectives]
        self._max_epochs = record.spec.max_epochs
        self._known: dict[int, Observation] = {}  # by number, ascending
        self._open: dict[int, _Version] = {}  # of unfinished trials, when they were seen
        self._num_seen = 0
        self._space, self._is_narrowed = record.space, _is_narrowed(record)

    def read(self) -> list[Observation]:
        """Return what the sampler may learn from, by number.

        Failed and cancelled trials teach nothing, nor do those outside of a range that a user
        narrowed, and those that a user stopped before their first epoch. A trial that a user let
        another continue is seen as that one.
        """
        trials = self._record.trials
        if self._record.space is not self._space:
            self._space, self._is_narrowed = self._record.space, _is_narrowed(self._record)
            self._num_seen = 0
            self._known.clear()
            self._open.clear()
        new, self._num_seen = trials[self._num_seen :], len(trials)
        changed = [trials[n] for n, seen in self._open.items() if _version(trials[n]) != seen]
        for trial in (*changed, *new):
            self._see(trial)
        return list(self._known.values())

    def _see(self, trial: TrialRecord) -> None:
        if trial.outcome is None:
            self._open[trial.number] = _version(trial)
        else:
            self._open.pop(trial.number, None)
        if trial.origin is not None and trial.origin.continues:
            self._known.pop(trial.origin.trial, None)
        if self._teaches(trial):
            self._known[trial.number] = self._observe(trial)
        else:
            self._known.pop(trial.number, None)

    def _teaches(self, trial: TrialRecord) -> bool:
        if trial.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            return False
        if trial.outcome is Outcome.STOPPED_BY_USER and not trial.epochs:
            return False
        return not self._is_narrowed or self._space.contains(trial.params)

    def _observe(self, trial: TrialRecord) -> Observation:
        curve, *others = [self._curve(trial, metric) for metric in self._metrics]
        margins = self._record.margins(trial)
        return Observation(
            trial.number, trial.params, curve, _state(trial), tuple(others), margins
        )

    def _curve(self, trial: TrialRecord, metric: str) -> dict[int, float]:
        curve = self._record.whole_curve(trial, metric)
        if trial.outcome is Outcome.COMPLETED and curve:  # if it ended itself, it stays as it is
            curve.setdefault(self._max_epochs, curve[max(curve)])
        return curve


def _is_narrowed(record: Record) -> bool:
    return any(act.action == "narrow" for act in record.taken_acts)


def _version(trial: TrialRecord) -> _Version:
    return len(trial.curve), trial.paused, trial.outcome


def _state(trial: TrialRecord) -> Literal["running", "finished", "bad"]:
    if trial.outcome is None:
        return "finished" if trial.paused else "running"
    return "bad" if trial.outcome.is_bad_configuration else "finished"
