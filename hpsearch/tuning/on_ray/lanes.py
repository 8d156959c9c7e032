"""Ray Tune's interfaces for trials that share workers: each of Tune's trials is a worker."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import OutOfMemoryError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.lane_pool import LanePool
from hpsearch.tuning.on_ray.searcher import (
    AttemptCallback,
    RecordScheduler,
    StudySearcher,
    death_reason,
    error_of,
    is_of_node,
)


class LaneSearcher(StudySearcher):
    """Begins workers, each with the trials that are left when a slot is free."""

    def __init__(
        self, control: SearchControl, slots: int, num_workers: int, pool: LanePool
    ) -> None:
        super().__init__(control, slots, num_workers)
        self._pool = pool

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return what a new worker begins with."""
        if self._pool.is_over or (self._num_left <= 0 and not self._pool.has_halves):
            return str(Searcher.FINISHED)
        if self._pool.num_workers >= self._slots:
            return None
        trials = self._pool.begin(trial_id)
        if not trials:
            return str(Searcher.FINISHED) if self._pool.is_over else None
        self._num_left -= 1
        return {"trial": trials[0], "beside": trials[1:]}


class LaneScheduler(RecordScheduler):
    """Passes the results of a worker's trials to the pool, and changes to the worker."""

    def __init__(self, control: SearchControl, pool: LanePool) -> None:
        super().__init__(control)
        self._pool = pool

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Write the results to the record; trials leave and join before the next step."""
        change = self._pool.take(trial.trial_id, result["report"])
        if change.keep:
            trial.temporary_state.ray_actor.keep.remote(change.keep)
        if change.is_over:
            return str(TrialScheduler.STOP)
        if change.stop or change.start:
            # The calls of an actor run in order: this one before the step that Tune asks for next.
            trial.temporary_state.ray_actor.change.remote(change.stop, change.start)
        return str(TrialScheduler.CONTINUE)


class LaneCallback(AttemptCallback):
    """Notes when a worker starts on its trials, when it is lost, when one of them hangs."""

    def __init__(self, control: SearchControl, pool: LanePool) -> None:
        super().__init__(control)
        self._pool = pool
        self._killed: set[str] = set()  # by the search itself: no trial is to blame

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """See Callback."""
        self._pool.start(trial.trial_id)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Let the worker start again with the trials that continue in it."""
        error = error_of(trial)
        left = self._pool.lose(
            trial.trial_id,
            death_reason(error),
            out_of_memory=isinstance(error, OutOfMemoryError),
            is_blameless=trial.trial_id in self._killed or is_of_node(error),
        )
        self._killed.discard(trial.trial_id)
        if left:
            trial.config.update({"trial": left[0], "beside": left[1:]})
        else:
            trial.max_failures = 0

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Take back the trials of a worker that Tune gives up."""
        self._pool.give_up(trial.trial_id)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Kill the workers of trials that take longer than they may."""
        overdue = {
            worker
            for number in list(self._control.end_overdue())
            if (worker := self._pool.worker_of(number)) is not None
        }
        for trial in trials if overdue else ():
            if trial.trial_id in overdue and trial.status == Trial.RUNNING:
                self._killed.add(trial.trial_id)
                ray.kill(trial.temporary_state.ray_actor)
