"""Ray Tune's interfaces over `SearchControl`: searcher, trial scheduler, callback, stopper.

Tune keeps nothing that matters: its own snapshots are never read (see the record), so none of
these saves any state.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from hpsearch.formatting import show_error
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.trial_errors import UsedWorkerError


class _Stateless:
    """Leaves itself out of the snapshots that Tune pickles."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(_Stateless, Searcher):
    """Hands out trials, each one only when a slot is free, so that nothing is drawn ahead."""

    def __init__(self, control: SearchControl, slots: int, num_trials: int) -> None:
        super().__init__()
        self._control = control
        self._slots = slots
        self._num_left = num_trials  # of this generation

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of the next trial."""
        if self._is_finished or self._num_left == 0:
            return str(Searcher.FINISHED)
        if self._control.num_live >= self._slots:
            return None
        trial = self._control.next_trial()
        if trial is None:
            return str(Searcher.FINISHED) if self._is_finished else None
        self._num_left -= 1
        return {"trial": self._control.config(trial)}

    @property
    def _is_finished(self) -> bool:
        """Whether no trial begins any more: while some run, a user may add one."""
        control = self._control
        if control.is_held or control.ending is not None:
            return True
        return control.is_over and not control.num_live

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: the record has it."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class RecordScheduler(_Stateless, FIFOScheduler):
    """Passes each result to the control before anything else sees it."""

    def __init__(self, control: SearchControl) -> None:
        super().__init__()
        self._control = control

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Write the result to the record, and stop the trial or let it continue."""
        number = trial_number(trial)
        over = self._control.take_report(number, result["report"])
        if over and self._control.is_kept(number):
            # The calls of an actor run in order: this one before the trial is let go.
            trial.temporary_state.ray_actor.keep.remote()
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose none: Tune starts pending trials by itself.

        A trial that is chosen while its worker starts takes the worker that another trial has
        just left, and Tune kills the one that was about to be ready. With trials shorter than
        a worker's start (seconds) that repeats for ever, and one slot does all the work.
        """


class AttemptCallback(_Stateless, Callback):
    """Notes attempts: when a worker starts on a trial, when it is lost, when it hangs."""

    def __init__(self, control: SearchControl) -> None:
        self._control = control

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """See Callback."""
        self._control.start_attempt(trial_number(trial))

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Note that the trial will be tried again, unless it kills its workers."""
        if self._lose_worker(trial):
            trial.max_failures = 0

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Take back a trial whose used worker died before it began: Tune itself gives it up."""
        if not self._lose_worker(trial):
            self._control.take_back(trial_number(trial))

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Kill the workers of trials that take longer than they may: a step can't be ended."""
        overdue = {*self._control.end_overdue(), *self._control.slow_to_stop()}
        for trial in trials if overdue else ():
            if trial_number(trial) in overdue and trial.status == Trial.RUNNING:
                trial.max_failures = 0  # its death is no loss
                ray.kill(trial.temporary_state.ray_actor)

    def _lose_worker(self, trial: Trial) -> bool:
        error = error_of(trial)
        return self._control.lose_worker(
            trial_number(trial),
            death_reason(error),
            out_of_memory=isinstance(error, OutOfMemoryError),
            is_blameless=isinstance(error, UsedWorkerError) or is_of_node(error),
        )


def error_of(trial: Trial) -> Any:
    """Return what Tune's driver last caught of a trial.

    It is read where the driver writes it: Tune's own `get_pickled_error` looks in its storage,
    where it arrives later.
    """
    try:
        return pickle.loads(Path(trial.pickled_error_file or "").read_bytes())
    except Exception as error:  # it may be of a class that can't be rebuilt
        return error


def is_of_node(error: Any) -> bool:
    """Whether a worker died with its node, for which Ray has no type."""
    return "its node has died" in str(error)


def death_reason(error: Any) -> str:
    """Say why a worker died, by what Tune caught, in one line."""
    if error is None:
        return "its process ended without a reason that Ray knows"
    return show_error(error)


class BudgetStopper(_Stateless, Stopper):
    """Ends the experiment when the search's time or its user says so."""

    def __init__(self, control: SearchControl) -> None:
        self._control = control

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Leave single trials to the scheduler."""
        return False

    def stop_all(self) -> bool:
        """See Stopper."""
        return self._control.should_stop_all()


def trial_number(trial: Trial) -> int:
    """Return Optuna's number of a Tune trial, its identity everywhere."""
    number: int = trial.config["trial"].number
    return number
