"""What happens in the control loop, without Ray: the record first, then everything else.

`SearchControl` is asked for trials and told what they report. It writes to the record, then lets
early stopping decide, then tells its listeners (tracking, live view). Since all that it keeps
can be rebuilt from the record, a new one over the same record goes on where the last one died.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from hpsearch.outcome import Outcome
from hpsearch.record import Record, SearchState, TrialRecord
from hpsearch.samplers import Observation, Sampler
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.tuning.actor import Report
from hpsearch.tuning.early_stopping import EarlyStopper

Listener = Callable[[int], None]
#: deaths of its worker in a row, without a new epoch between them, that end a trial
MAX_DEATHS_IN_A_ROW = 3


class SearchControl:
    """Runs one search, trial by trial."""

    def __init__(
        self,
        record: Record,
        sampler: Sampler,
        early_stopper: EarlyStopper,
        checkpoints: Path,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.record = record
        self._sampler = sampler
        self._early_stopper = early_stopper
        self._checkpoints = checkpoints
        self._listeners = listeners
        self._settings = record.spec.search
        self._started = time.monotonic()
        self._epochs = 0
        self._live: set[int] = set()
        self._deaths: dict[int, int] = {}
        self._observations: dict[int, Observation] = {}  # of ended trials
        self._kept: list[int] = []  # trials whose checkpoints are kept, best first
        self._num_ended = 0
        self._exhausted = False
        #: how the search ended and why, once something ended it before its budget of trials
        self.ending: tuple[SearchState, str] | None = None

    @property
    def num_live(self) -> int:
        """Trials that have been handed out and have not ended."""
        return len(self._live)

    @property
    def is_over(self) -> bool:
        """Whether no further trial starts."""
        return (
            self.ending is not None
            or self._exhausted
            or len(self.record.trials) >= self._settings.trials
        )

    def should_stop_all(self) -> bool:
        """Whether running trials must stop as well; looks at the clock."""
        limit = self._settings.time_limit
        if limit is not None and time.monotonic() - self._started >= limit:
            self._end("finished", f"time_limit of {limit:g} s reached")
        return self.ending is not None

    def cancel(self) -> None:
        """Stop the search, as its user asked."""
        self._end("stopped", "cancelled")

    def next_trial(self) -> TrialRecord | None:
        """Choose a configuration and write it to the record; None when there is none left."""
        params = self._sampler.suggest(len(self.record.trials), self._observe())
        if params is None:
            self._exhausted = True
            return None
        trial = self.record.add_trial(params)
        self._live.add(trial.number)
        self._notify(trial.number)
        return trial

    def start_attempt(self, number: int) -> None:
        """Note that a worker starts on a trial."""
        if self.record.trials[number].outcome is None:
            self.record.start_attempt(number)

    def lose_worker(self, number: int, reason: str, out_of_memory: bool = False) -> bool:
        """Note that a trial's worker died; True if the trial must not be tried again.

        Nobody's fault, unless it took more memory than its node has, or it happens again and
        again at the same place.
        """
        if self.record.trials[number].outcome is not None:
            return True
        deaths = self._deaths[number] = self._deaths.get(number, 0) + 1
        if out_of_memory:
            self._end_trial(number, Outcome.OUT_OF_MEMORY, reason)
        elif deaths >= MAX_DEATHS_IN_A_ROW:
            self._end_trial(number, Outcome.FAILED, f"its worker died {deaths} times: {reason}")
        else:
            return False
        self._notify(number)
        return True

    def take_report(self, number: int, report: Report) -> bool:
        """Write what a trial reports and decide; True ends the trial."""
        trial = self.record.trials[number]
        if trial.outcome is not None:
            return True
        stop = False
        if report.metrics and report.epoch not in trial.curve:  # else an attempt repeats itself
            self._deaths.pop(number, None)
            stop = self._take_epoch(trial, report)
        if report.checkpoint is not None:
            self.record.set_checkpoint(number, report.checkpoint)
        if report.outcome is not None:
            self._end_trial(number, report.outcome, report.reason, report.traceback)
        elif report.epoch >= self.record.spec.max_epochs:
            self._end_trial(number, Outcome.COMPLETED)
        elif stop:
            rule = self._settings.early_stopping.name
            self._end_trial(number, Outcome.STOPPED_EARLY, f"{rule} at epoch {report.epoch}")
        self._notify(number)
        return trial.outcome is not None

    def close(self) -> None:
        """End what still runs, and the search, in the record."""
        state, reason = self.ending or ("finished", None)
        for trial in list(self.record.running()):
            outcome = Outcome.CANCELLED if state == "stopped" else Outcome.STOPPED_EARLY
            self._end_trial(trial.number, outcome, reason)
            self._notify(trial.number)
        self.record.end(state, reason)

    def _take_epoch(self, trial: TrialRecord, report: Report) -> bool:
        self.record.report(trial.number, report.epoch, report.metrics)
        self._epochs += 1
        if self._settings.epochs is not None and self._epochs >= self._settings.epochs:
            self._end("finished", f"budget of {self._settings.epochs} epochs used")
        value = report.metrics.get(self.record.spec.objective.metric)
        if value is None or not math.isfinite(value):
            return False
        return self._early_stopper.report(trial.number, report.epoch, value)

    def _end_trial(
        self, number: int, outcome: Outcome, reason: str | None = None, trace: str | None = None
    ) -> None:
        self.record.end_trial(number, outcome, reason, trace)
        self._live.discard(number)
        self._num_ended += 1
        self._collect_checkpoints(number)
        if self._num_ended == self._settings.stop_after_failures:
            self._stop_if_all_fail_alike()

    def _collect_checkpoints(self, number: int) -> None:
        """Keep the checkpoints of running trials and of the best, no others."""
        trials = self.record.trials
        dropped = [number]
        if trials[number].outcome is Outcome.COMPLETED:
            best = self.record.rank(trials[kept] for kept in [*self._kept, number])
            limit = self._settings.keep_checkpoints
            dropped = [trial.number for trial in best[limit:]]
            self._kept = [trial.number for trial in best[:limit]]
        for dropped_number in dropped:
            CheckpointStore(self._checkpoints, dropped_number).delete()

    def _stop_if_all_fail_alike(self) -> None:
        ended = [trial for trial in self.record.trials if trial.outcome is not None]
        failures = {_failure(trial) for trial in ended}
        if len(failures) == 1 and None not in failures:
            self._end("failed", f"the first {len(ended)} trials all failed: {ended[0].reason}")

    def _observe(self) -> list[Observation]:
        """Return what the sampler may learn from; failed and cancelled trials teach nothing."""
        metric = self.record.spec.objective.metric
        seen = []
        for trial in self.record.trials:
            if trial.outcome in (Outcome.FAILED, Outcome.CANCELLED):
                continue
            observation = self._observations.get(trial.number)
            if observation is None:
                observation = Observation(
                    trial.number, trial.params, trial.metric(metric), _sampler_state(trial)
                )
                if trial.outcome is not None:
                    self._observations[trial.number] = observation
            seen.append(observation)
        return seen

    def _end(self, state: SearchState, reason: str) -> None:
        if self.ending is None:
            self.ending = (state, reason)

    def _notify(self, number: int) -> None:
        for listener in self._listeners:
            listener(number)


def _sampler_state(trial: TrialRecord) -> Literal["running", "finished", "bad"]:
    if trial.outcome is None:
        return "running"
    return "bad" if trial.outcome.is_bad_configuration else "finished"


def _failure(trial: TrialRecord) -> str | None:
    """What two trials that fail alike have in common: the exception's type and its place."""
    if trial.outcome is not Outcome.FAILED:
        return None
    places = [line for line in (trial.traceback or "").splitlines() if line.startswith('  File "')]
    return f"{(trial.reason or '').partition(':')[0]} {places[-1:]}"
