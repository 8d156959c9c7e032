"""What happens in the control loop, without Ray: the record first, then everything else.

`SearchControl` hands out trials and takes their reports. It writes to the record, then lets early
stopping decide. Since all that it keeps can be rebuilt from the record, a new one over the same
record continues where the last one died.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpsearch.early_stopping import Rule
from hpsearch.formatting import show_seconds
from hpsearch.outcome import Outcome, RaisedError, StoppedBy
from hpsearch.record import Act, Record, SearchState, TrialRecord
from hpsearch.record.observations import Observations
from hpsearch.runs import SearchFolder
from hpsearch.samplers import Sampler
from hpsearch.spec import TrialConfig
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.tuning.attempts import Attempts
from hpsearch.tuning.budgets import Budgets, Clock
from hpsearch.tuning.decisions import Decisions
from hpsearch.tuning.dry_run import DryRun
from hpsearch.tuning.failures import common_failure
from hpsearch.tuning.population import pauses_of
from hpsearch.tuning.population_queue import PopulationQueue
from hpsearch.tuning.report import Report
from hpsearch.tuning.retention import Retention
from hpsearch.tuning.sampling import explorer_of
from hpsearch.tuning.trial_queue import TrialQueue
from hpsearch.tuning.user_acts import UserActs
from hpsearch.tuning.worth import Worth

#: deaths of its worker in a row, without a new epoch between them, that end a trial
MAX_DEATHS_IN_A_ROW = 3
#: seconds between two looks at GPU time, and at whether somebody asks the search to stop
STOP_INTERVAL_S = 0.5


class SearchControl:
    """Runs one search, trial by trial, from wherever its record is."""

    def __init__(
        self,
        record: Record,
        sampler: Sampler,
        early_stopper: Rule,
        checkpoints: Path,
        stop_request: Path | None = None,
        reported: threading.Event | None = None,
        clock: Clock = time.monotonic,
        folder: SearchFolder | None = None,
        remake_sampler: Callable[[], Sampler] | None = None,
    ) -> None:
        """`folder` is where users' acts are asked for, `remake_sampler` makes the sampler again
        when one of them has narrowed the search space."""
        self.record = record
        self._acts = UserActs(record, checkpoints, folder)
        self._acts.write_all()  # what a driver that died had no time for
        explorer = explorer_of(record)
        rule = early_stopper if explorer is None else pauses_of(explorer, record.spec.max_epochs)
        self._decisions = Decisions(record, rule)
        self._promotion = self._decisions.pausing
        self._checkpoints = checkpoints
        self._retention = Retention(record, checkpoints)
        self._stop_request = stop_request
        self._reported = reported  # set at the first report
        self._settings = record.spec.search
        self._clock = clock
        self._budgets = Budgets(record, clock)
        self._looked_at = -math.inf
        self._attempts = Attempts(clock)
        self._observations = Observations(record)
        parts = record, sampler, self._decisions, self._observations, self._attempts.live
        self._queue = TrialQueue(*parts)
        if explorer is not None:
            self._queue = PopulationQueue(*parts, explorer, checkpoints, self._end_stopped)
        self._dry_run = DryRun(record, clock)
        self._remake_sampler = remake_sampler
        self._is_held = self.is_paused
        self._restarts: set[int] = set()  # trials whose workers have an earlier number of epochs
        self._excused: set[int] = set()  # trials that continue when the search is resumed
        asks = self._settings.stop_when is not None
        self._worth = Worth(record, early_stopper.rungs) if asks else None
        #: how the search ended and why, once something ended it before its budget of trials
        self.ending: tuple[SearchState, str] | None = None
        self._replay()

    @property
    def num_live(self) -> int:
        """Trials that have been handed out and have not ended."""
        return len(self._attempts.live)

    @property
    def is_over(self) -> bool:
        """Whether no further trial starts or continues."""
        return self.ending is not None or self._queue.is_empty

    def should_stop_all(self) -> bool:
        """Whether running trials must stop as well; looks at the clock, and for a request."""
        if not self.record.is_resting:
            self._end_if(self._budgets.time_used())
        now = self._clock()
        if now - self._looked_at > STOP_INTERVAL_S:
            self._looked_at = now
            self.take_acts()
            if self._stop_request is not None and self._stop_request.exists():
                self.cancel()
            self._end_if(self._budgets.gpu_time_used())
        return self.ending is not None

    def cancel(self) -> None:
        """Stop the search, as its user asked."""
        self._end("stopped", "cancelled")

    def take_acts(self) -> None:
        """Take what users asked for into the record, and do it."""
        for act in self._acts.take(None if self.ending is None else "the search was ending"):
            self._do(act)

    @property
    def is_paused(self) -> bool:
        """Whether a user has paused the search."""
        return self.record.paused_by is not None

    @property
    def is_held(self) -> bool:
        """Whether trials wait, each once its epoch is trained, until `begin` is called."""
        return self._is_held

    def begin(self) -> bool:
        """Let trials begin, where no worker is left of those before; False while paused."""
        self._is_held = self.is_paused
        if self._is_held != self.record.is_resting:
            self.record.set_resting(self._is_held)
            self._budgets.restart_clock()
        return not self._is_held

    def is_kept(self, number: int) -> bool:
        """Whether a trial whose worker lets it go will go on from where it is."""
        return self._queue.holds(number)

    def next_trial(self) -> TrialRecord | None:
        """Return a trial that continues, or choose a configuration and write it to the record.

        None when there is none left, or none before a running trial reports.
        """
        if self._is_held or self._dry_run.holds_back(self._attempts.live):
            return None
        trial = self._queue.waiting()
        if trial is None and self._worth is not None:
            self._end_if(self._worth.why_stop(self._observations.read()))
            if self.ending is not None:
                return None
        trial = trial or self._queue.promoted_or_new()
        if trial is not None:
            self._attempts.hand_out(trial.number)
        return trial

    def config(self, trial: TrialRecord) -> TrialConfig:
        """Return all that a worker needs to train a trial."""
        config = self.record.config(trial)
        if self._promotion is None:
            return config
        return replace(config, checkpoint_at=self._promotion.rungs)

    def start_attempt(self, number: int) -> None:
        """Note that a worker starts on a trial."""
        if self.record.trials[number].outcome is None:
            self._attempts.begin(number)
            self.record.start_attempt(number)

    def end_overdue(self) -> Iterator[int]:
        """End the trials that take longer than they may, and yield them: their workers hang."""
        limit = self._settings.trial_time_limit or math.inf
        for number in self._attempts.overdue(limit):
            reason = f"trial_time_limit of {show_seconds(limit)} reached"
            self._end_trial(number, Outcome.BAD_CONFIGURATION, reason)
            yield number

    def slow_to_stop(self) -> list[int]:
        """Return the trials that users stopped, but whose workers still train a long epoch."""
        return self._attempts.slow_to_stop()

    def lose_worker(
        self, number: int, reason: str, *, out_of_memory: bool = False, is_blameless: bool = False
    ) -> bool:
        """Note that a trial's worker died; True if the trial must not be tried again.

        Nobody's fault, unless it took more memory than its node has, or it happens again and
        again at the same place and the trial isn't `is_blameless`: its node lives on.
        """
        self._attempts.hear_of(number)
        if self.record.trials[number].outcome is not None or number in self._excused:
            return True
        self._attempts.hand_out(number)
        if is_blameless:
            return False
        deaths = self._attempts.die(number)
        if out_of_memory:
            self._end_trial(number, Outcome.OUT_OF_MEMORY, reason)
        elif deaths >= MAX_DEATHS_IN_A_ROW:
            self._end_trial(number, Outcome.FAILED, f"its worker died {deaths} times: {reason}")
        else:
            return False
        return True

    def take_back(self, number: int) -> None:
        """Take back a trial that was handed out, to hand it out again."""
        self._attempts.end(number)
        self._queue.put(number)

    def take_report(self, number: int, report: Report) -> bool:
        """Write what a trial reports and decide; True ends the trial."""
        return self.take_reports([(number, report)])[0]

    def take_reports(self, reports: Sequence[tuple[int, Report]]) -> list[bool]:
        """Write what trials report together, then decide on each; True ends the trial.

        All epochs are written and decided on before any trial ends, as a new driver replays them.
        """
        if self._reported is not None:
            self._reported.set()
        new = []
        with self.record.batch():
            for number, report in reports:
                trial = self.record.trials[number]
                # else it has ended, or an attempt repeats itself
                is_new = trial.first_epoch <= report.epoch not in trial.curve
                if trial.outcome is None and report.metrics and is_new:
                    self.record.report(number, report.epoch, report.metrics)
                    new.append((number, report))
        stops = {number: self._decide(number, report) for number, report in new}
        with self._retention.later(), self.record.batch():
            return [self._take_rest(*each, stops.get(each[0])) for each in reports]

    def _take_rest(self, number: int, report: Report, stop: StoppedBy | None) -> bool:
        trial = self.record.trials[number]
        self._attempts.hear_of(number)
        if trial.outcome is not None:
            return True
        if report.warnings:
            self.record.note_warnings(number, report.warnings)
        if report.checkpoint is not None:
            self._take_checkpoint(number, report.checkpoint)
        over = True
        if report.outcome is not None:
            over = self._take_end(trial, report)
        elif report.epoch >= self.record.max_epochs(trial):
            self._end_at_last_epoch(trial)
        elif stop is not None:
            self._stop_early(number, stop)
        elif self._is_held or number in self._restarts:
            self._restarts.discard(number)
            self.take_back(number)
        else:
            over = False
        return over

    def _end_at_last_epoch(self, trial: TrialRecord) -> None:
        if trial.epochs >= self.record.spec.max_epochs or trial.goal is None:
            self._end_trial(trial.number, Outcome.COMPLETED)
        else:
            note = f"epoch {trial.goal.epochs}, to which a user let it train"
            self._end_trial(trial.number, Outcome.STOPPED_EARLY, note)

    def close(self) -> None:
        """End what still runs, and the search, in the record."""
        self.record.end(*self.end_trials())

    def end_trials(self) -> tuple[SearchState, str | None]:
        """End what still runs, in the record; returns how the search ends, and why.

        Where a trial is excused, it and all others continue when the search is resumed.
        """
        state, reason = self.ending or ("finished", None)
        is_suspended = state == "failed" and bool(self._excused)
        outcome = Outcome.CANCELLED if state == "stopped" else Outcome.STOPPED_EARLY
        for trial in [] if is_suspended else list(self.record.running()):
            if trial.paused and not self._settings.is_population:
                self._end_stopped(trial.number, self._decisions.standing(trial))
            else:
                self._end_trial(trial.number, outcome, reason)
        self._retention.sweep()
        for _ in self._acts.take("the search had ended"):
            pass
        return state, reason or self._queue.why_empty

    def _replay(self) -> None:
        """Bring early stopping and budgets to where the record is, and finish what a driver that
        died had no time for."""
        stops = self._decisions.replay()
        num_epochs = sum(len(trial.curve) for trial in self.record.trials)
        self._end_if(self._budgets.count_epochs(num_epochs))
        self._stop_if_newest_fail_alike()
        for trial in list(self.record.running()):
            newest = CheckpointStore(self._checkpoints, trial.number).newest()
            if newest is not None:
                self.record.set_checkpoint(
                    trial.number, str(newest.relative_to(self._checkpoints))
                )
            if trial.epochs >= self.record.max_epochs(trial):
                self._end_at_last_epoch(trial)
            elif trial.paused:
                continue
            elif trial.goal is not None:
                self._queue.put(trial.number)
            elif (stop := stops.get(trial.number)) is not None:
                self._stop_early(trial.number, stop)
            else:
                self._queue.put(trial.number)

    def _do(self, act: Act) -> None:
        """Do what an act that stands in the record asks for."""
        match act.action:
            case "stop_trial":
                assert act.trial is not None
                self._let_go(act.trial)
            case "extend_trial" | "clone_trial":
                assert act.trial is not None
                made = self._acts.made_by(act)
                if made is not None:
                    self._queue.put(made.number)
                elif act.trial in self._attempts.live:
                    self._restarts.add(act.trial)
                elif not self._queue.holds(act.trial):
                    self._decisions.take_out(act.trial)  # it waited at a rung
                    self._queue.put(act.trial)
            case "narrow":
                if self._remake_sampler is not None:
                    self._queue.use(self._remake_sampler())
            case "pause":
                self._is_held = True
            case "go_on":
                pass  # `begin` sees it, once the workers have let go

    def _let_go(self, number: int) -> None:
        """Let nothing wait for a trial that a user stopped."""
        self._attempts.stop(number)
        self._queue.drop(number)
        self._restarts.discard(number)
        self._retention.end_trial(number)
        self._decisions.take_out(number)

    def _decide(self, number: int, report: Report) -> StoppedBy | None:
        self._attempts.live_on(number)
        self._end_if(self._budgets.count_epochs(1))
        self._dry_run.see(number, report.metrics)
        value = report.metrics.get(self.record.spec.objective.metric)
        return self._decisions.report(number, report.epoch, value)

    def _take_checkpoint(self, number: int, checkpoint: str) -> None:
        self.record.set_checkpoint(number, checkpoint)
        excess = self._retention.take(number, checkpoint)
        if excess is not None:
            self._end("failed", excess)

    def _take_end(self, trial: TrialRecord, report: Report) -> bool:
        """End a trial as its worker says, or try it again; False if the worker continues."""
        assert report.outcome is not None
        if report.ends_search:
            why = report.why or ""
            reason = why if report.error is None else report.error.message
            self._excuse(trial.number, why, report.traceback, reason)
            return True
        if report.outcome is Outcome.FAILED and trial.num_retries < self._settings.max_retries:
            self.record.note_error(trial.number, report.why, report.traceback)
            self.start_attempt(trial.number)
            return False
        shares_a_gpu = 0 < self.record.config(trial).gpu < 1
        if report.outcome is Outcome.OUT_OF_MEMORY and shares_a_gpu:
            self.record.note_error(trial.number, report.why, report.traceback)
            self.record.set_alone(trial.number)
            self.take_back(trial.number)
            return True
        self._end_trial(
            trial.number, report.outcome, report.reason, report.traceback, error=report.error
        )
        return True

    def _stop_early(self, number: int, stop: StoppedBy) -> None:
        if self._promotion is None:
            self._end_stopped(number, stop)
            return
        self._attempts.end(number)
        self.record.set_paused(number, True)

    def _end_stopped(self, number: int, stop: StoppedBy) -> None:
        self._end_trial(number, Outcome.STOPPED_EARLY, stopped_by=stop)

    def _end_trial(
        self,
        number: int,
        outcome: Outcome,
        note: str | None = None,
        trace: str | None = None,
        *,
        stopped_by: StoppedBy | None = None,
        error: RaisedError | None = None,
    ) -> None:
        if outcome is Outcome.FAILED and self._dry_run.is_due:
            why = note or str(error)
            self._excuse(number, why, trace, self._dry_run.failure(why, trace, error))
            return
        self.record.end_trial(number, outcome, note, trace, stopped_by=stopped_by, error=error)
        self._attempts.end(number)
        self._retention.end_trial(number)
        self._decisions.finish(self.record.trials[number])
        if outcome is Outcome.FAILED:
            self._stop_if_newest_fail_alike()

    def _excuse(self, number: int, why: str, trace: str | None, reason: str) -> None:
        """End the search by what isn't the trial's own fault; it continues once that is mended."""
        self.record.note_error(number, why, trace, excused=True)
        self._attempts.end(number)
        self._excused.add(number)
        self._end("failed", reason)

    def _stop_if_newest_fail_alike(self) -> None:
        number, since = self._settings.stop_after_failures, self.record.failed_at
        failure = common_failure(self.record.trials, number, since)
        if failure is not None:
            self._end("failed", failure)

    def _end_if(self, reason: str | None) -> None:
        """End the search if a budget is used: for that reason."""
        if reason is not None:
            self._end("finished", reason)

    def _end(self, state: SearchState, reason: str) -> None:
        if self.ending is None:
            self.ending = (state, reason)
