"""What a sampler sees of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hpsearch.outcome import Outcome
from hpsearch.record.record import Record
from hpsearch.record.trials import TrialRecord
from hpsearch.samplers import Observation

#: trials from which on a sampler sees results in batches, and batches while their number doubles
BATCHED_FROM = 512
NUM_BATCHES = 64

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
        self._until: float | None = None  # when the newest batch of results ended
        self._batched: dict[int, Observation] = {}  # as `_known`, results until then
        self._changed: set[int] = set()  # trials that were seen since `_batched` was updated

    def read(self) -> list[Observation]:
        """Return what the sampler may learn from, by number.

        Failed and cancelled trials teach nothing, nor do those outside of a range that a user
        narrowed, and those that a user stopped before their first epoch. A trial that a user let
        another continue is seen as that one.
        """
        self._update()
        return list(self._known.values())

    def for_sampler(self) -> list[Observation]:
        """Return what a sampler chooses the next trial by: `read`, results in batches once there
        are BATCHED_FROM trials.

        Then results count that were reported before a certain trial started; what came later is
        seen as still running. So a model fitted on results serves many suggestions: the number of
        fits grows with the logarithm of that of trials. Which trial it is follows from their
        number, and all times are in the record, so a new driver sees the same.
        """
        self._update()
        until = self._batch_end()
        if until is None:
            return list(self._known.values())
        if until != self._until:
            self._until = until
            self._batched = {number: self._seen_until(number, until) for number in self._known}
        else:
            for number in sorted(self._changed):
                self._see_batched(number, until)
        self._changed.clear()
        return list(self._batched.values())

    def _update(self) -> None:
        """See all that has changed in the record."""
        trials = self._record.trials
        if self._record.space is not self._space:
            self._space, self._is_narrowed = self._record.space, _is_narrowed(self._record)
            self._num_seen = 0
            self._known.clear()
            self._open.clear()
            self._until = None
        new, self._num_seen = trials[self._num_seen :], len(trials)
        changed = [trials[n] for n, seen in self._open.items() if _version(trials[n]) != seen]
        for trial in (*changed, *new):
            self._see(trial)

    def _batch_end(self) -> float | None:
        """Return the time before which results were reported that count; None if all do."""
        num_trials = len(self._record.trials)
        if num_trials < BATCHED_FROM:
            return None
        size = max(1, (1 << num_trials.bit_length() - 1) // NUM_BATCHES)
        return self._record.trials[num_trials - num_trials % size - 1].started_at

    def _see_batched(self, number: int, until: float) -> None:
        if number not in self._known:
            self._batched.pop(number, None)
            return
        seen = self._seen_until(number, until)
        if self._batched.get(number) != seen:  # else the same object: samplers compare them fast
            self._batched[number] = seen

    def _seen_until(self, number: int, until: float) -> Observation:
        """Return what was known of a trial at a time; that it runs, if more is known by now."""
        trial, known = self._record.trials[number], self._known[number]
        if trial.ended_at is not None and trial.ended_at < until:
            return known
        later = [epoch for epoch, at in trial.reported_at.items() if at >= until]
        if not later and trial.ended_at is None:
            return known
        last = min(later, default=trial.epochs + 1) - 1
        return Observation(
            number,
            trial.params,
            _until_epoch(known.curve, last),
            "running",
            tuple(_until_epoch(curve, last) for curve in known.others),
            self._record.margins(trial, last),
        )

    def _see(self, trial: TrialRecord) -> None:
        self._changed.add(trial.number)
        if trial.outcome is None:
            self._open[trial.number] = _version(trial)
        else:
            self._open.pop(trial.number, None)
        if trial.origin is not None and trial.origin.continues:
            self._known.pop(trial.origin.trial, None)
            self._changed.add(trial.origin.trial)
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


def _until_epoch(curve: Mapping[int, float], last: int) -> dict[int, float]:
    return {epoch: value for epoch, value in curve.items() if epoch <= last}


def _is_narrowed(record: Record) -> bool:
    return any(act.action == "narrow" for act in record.taken_acts)


def _version(trial: TrialRecord) -> _Version:
    return len(trial.curve), trial.paused, trial.outcome


def _state(trial: TrialRecord) -> Literal["running", "finished", "bad"]:
    if trial.outcome is None:
        return "finished" if trial.paused else "running"
    return "bad" if trial.outcome.is_bad_configuration else "finished"
