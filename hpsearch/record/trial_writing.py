"""What a driver writes of its trials: configurations, reports and ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from hpsearch.outcome import CheckWarning, CopiedFrom, Outcome, RaisedError, StoppedBy
from hpsearch.record.acts import Goal, Origin
from hpsearch.record.reading import ReadableRecord
from hpsearch.record.storage import batched
from hpsearch.record.trials import TrialRecord
from hpsearch.space import PowersOfTwo, is_within
from hpsearch.spec import Scalar

#: What Optuna is told. PRUNED teaches its samplers, FAIL they ignore.
OPTUNA_STATES = {
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.STOPPED_EARLY: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,
    Outcome.OUT_OF_MEMORY: TrialState.PRUNED,
    Outcome.BAD_CONFIGURATION: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
    Outcome.CANCELLED: TrialState.FAIL,
    Outcome.STOPPED_BY_USER: TrialState.PRUNED,
}
#: outcomes of which Optuna keeps the newest value
HAVE_VALUES = (Outcome.COMPLETED, Outcome.STOPPED_EARLY, Outcome.STOPPED_BY_USER)
#: where Optuna's samplers keep how far a trial breaks constraints, positive where it does
_CONSTRAINTS_KEY = "constraints"


class TrialWriter(ReadableRecord):
    """A record whose trials can be written."""

    #: the time, in seconds since 1970; that of a simulated search, since its start
    now: Callable[[], float] = staticmethod(time.time)

    def add_trial(
        self,
        params: Mapping[str, Scalar],
        copied_from: CopiedFrom | None = None,
        origin: Origin | None = None,
        goal: Goal | None = None,
    ) -> TrialRecord:
        """Write a configuration before its trial starts; the trial gets the next number.

        One that is `copied_from` another begins with that one's checkpoint. `origin` says of which
        trial a user made it, `goal` how long the user lets it train.
        """
        values = self.space.resolve(params)
        now = self.now()
        facts = {"copied_from": copied_from, "origin": origin, "goal": goal}
        known = {name: asdict(fact) for name, fact in facts.items() if fact is not None}
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=self._distributions(params, origin),
            user_attrs={"values": values, "started_at": now, **known},
        )
        trial_id = self._storage.create_new_trial(self._study_id, template)
        number = len(self.trials)
        trial = TrialRecord(
            number, dict(params), values, now, copied_from, origin=origin, goal=goal
        )
        self._trial_ids[trial.number] = trial_id
        self.trials.append(trial)
        return trial

    def _distributions(
        self, params: Mapping[str, Scalar], origin: Origin | None
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of a configuration: those of its origin where a range was
        narrowed since."""
        found = {name: self.space.distributions[name] for name in params}
        if origin is not None:
            earlier = self._storage.get_trial(self._trial_ids[origin.trial]).distributions
            found |= {
                name: earlier[name]
                for name, value in params.items()
                if not is_within(found[name], value)
            }
        return {
            name: each.whole if isinstance(each, PowersOfTwo) else each
            for name, each in found.items()
        }

    def set_goal(self, number: int, goal: Goal) -> None:
        """Note until which epoch a user lets a trial train, whatever early stopping says."""
        self.trials[number].goal = goal
        self._set(number, "goal", asdict(goal))

    def start_attempt(self, number: int) -> None:
        """Note that a trial starts, for the first time or again."""
        trial = self.trials[number]
        trial.attempted_at = [*trial.attempted_at, self.now()]
        self._set(number, "attempted_at", trial.attempted_at)

    def note_error(
        self, number: int, reason: str | None, traceback: str | None, *, excused: bool = False
    ) -> None:
        """Note the error of an attempt that another follows: a retry, unless it is `excused`."""
        trial = self.trials[number]
        entry = {"reason": reason, "traceback": traceback, "epoch": trial.epochs}
        entry |= {"excused": True} if excused else {}
        trial.errors = [*trial.errors, {**entry, "at": self.now()}]
        self._set(number, "errors", trial.errors)

    def note_warnings(self, number: int, warnings: Iterable[CheckWarning]) -> None:
        """Note what the checks of a trial found, which did not end it."""
        known = self.trials[number].warnings
        self.trials[number].warnings = list(dict.fromkeys([*known, *warnings]))
        self._set(number, "warnings", [asdict(each) for each in self.trials[number].warnings])

    def set_alone(self, number: int) -> None:
        """Note that a trial needs a GPU for itself."""
        self.trials[number].alone = True
        self._set(number, "alone", True)

    def set_paused(self, number: int, paused: bool) -> None:
        """Note that a trial waits at a rung, or resumes from there."""
        self.trials[number].paused = paused
        self._set(number, "paused", paused)

    def batch(self) -> AbstractContextManager[None]:
        """Write the reports, attempts and ends that are noted meanwhile as one, where the storage
        can; no trial may be added."""
        return batched(self._storage)

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch, before early stopping or MLflow sees them."""
        trial = self.trials[number]
        now = self.now()
        self._set(number, f"epoch:{epoch}", {"metrics": dict(metrics), "at": now})
        value = metrics.get(self.spec.objective.metric)
        # Of several objectives Optuna has no intermediate values.
        if not self.spec.objectives and value is not None and math.isfinite(value):
            self._storage.set_trial_intermediate_value(self._trial_ids[number], epoch, value)
        trial.curve[epoch] = dict(metrics)
        trial.reported_at[epoch] = now

    def set_checkpoint(self, number: int, path: str) -> None:
        """Note where a running trial's newest checkpoint lies, relative to the search's folder."""
        self.trials[number].checkpoint = path
        self._set(number, "checkpoint", path)

    def end_trial(
        self,
        number: int,
        outcome: Outcome,
        note: str | None = None,
        traceback: str | None = None,
        *,
        stopped_by: StoppedBy | None = None,
        error: RaisedError | None = None,
    ) -> None:
        """Write how a trial ended, before its resources go to another.

        `note` says why in words, where neither `stopped_by` nor `error` does.
        """
        trial = self.trials[number]
        trial.ended_at = self.now()
        end = {
            "outcome": outcome.value,
            "reason": note,
            "stopped_by": None if stopped_by is None else asdict(stopped_by),
            "error": None if error is None else asdict(error),
            "traceback": traceback,
            "at": trial.ended_at,
        }
        self._set(number, "end", end)
        self._write_state(trial, outcome)
        trial.note, trial.traceback = note, traceback
        trial.stopped_by, trial.error = stopped_by, error
        trial.outcome = outcome  # last: threads read it

    def _complete_writes(self) -> None:
        """Write the second half of what a driver was writing when it died."""
        metric = self.spec.objective.metric
        for trial in self.trials:
            trial_id = self._trial_ids[trial.number]
            frozen = self._storage.get_trial(trial_id)
            if frozen.state.is_finished():
                continue
            curve = {} if self.spec.objectives else trial.metric(metric)
            for epoch, value in curve.items():
                if epoch not in frozen.intermediate_values:
                    self._storage.set_trial_intermediate_value(trial_id, epoch, value)
            if trial.outcome is not None:
                self._write_state(trial, trial.outcome)

    def _write_state(self, trial: TrialRecord, outcome: Outcome) -> None:
        # Optuna itself keeps the last value of a pruned trial, and its dashboard shows it.
        has_value = outcome in HAVE_VALUES
        values = self.objectives(trial) if has_value else None
        trial_id = self._trial_ids[trial.number]
        if self.spec.constraints:
            lacking = [1.0 if math.isnan(each) else -each for each in self.margins(trial)]
            self._storage.set_trial_system_attr(trial_id, _CONSTRAINTS_KEY, lacking)
        state = OPTUNA_STATES[outcome]
        if self.spec.objectives and outcome is Outcome.COMPLETED and values is None:
            state = TrialState.FAIL  # Optuna's Pareto front is one of trials with all values
        self._storage.set_trial_state_values(trial_id, state, values)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_ids[number], key, value)
