"""How far a search is: the numbers of a live view and of `status`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.stopping import epochs_saved, seconds_saved
from hpsearch.formatting import show_count
from hpsearch.record import Outcome, Record, TrialRecord
from hpsearch.spec import Resources, SearchSettings


@dataclass(frozen=True)
class Progress:
    """The numbers of a search at one moment.

    `best` has completed; `leader` leads those that got furthest, so that there is
    something to show before any trial has completed. What early stopping saved is
    counted against training each trial that it stopped to the full budget, at that trial's own
    median seconds an epoch. Trials that are `waiting` have no worker yet.
    """

    state: str
    planned: int  # trials of the budget, and the extra ones
    extra: int  # trials beside the budget: users' own, and cancelled ones, which others replace
    running: int
    waiting: int
    outcomes: Mapping[Outcome, int]  # ended trials; an outcome that is not there is 0
    best: TrialRecord | None
    best_value: float | None
    leader: TrialRecord | None
    leader_value: float | None
    epochs_used: int
    epochs_saved: int
    seconds_used: float  # by the search's drivers; the time between two of them doesn't count
    seconds_saved: float  # of training, added up over trials
    seconds_left: float | None  # None while it can't be known

    @property
    def ended(self) -> int:
        """Trials that ended, in whatever way."""
        return sum(self.outcomes.values())

    @property
    def completed(self) -> int:
        """Trials that trained their full budget, or ended themselves."""
        return self.outcomes.get(Outcome.COMPLETED, 0)

    @property
    def stopped_early(self) -> int:
        """Trials that early stopping or a budget stopped."""
        return self.outcomes.get(Outcome.STOPPED_EARLY, 0)

    @property
    def failed(self) -> int:
        """Trials that failed, by a bug or by their configuration."""
        return sum(count for outcome, count in self.outcomes.items() if is_failure(outcome))

    @property
    def stopped_by_user(self) -> int:
        """Trials that a user stopped."""
        return self.outcomes.get(Outcome.STOPPED_BY_USER, 0)

    @property
    def cancelled(self) -> int:
        """Trials that the user's stop of the search ended."""
        return self.outcomes.get(Outcome.CANCELLED, 0)


def summary(record: Record, now: float | None = None) -> Progress:
    """Return how far a search is at `now` (seconds since 1970; the present by default)."""
    now = time.time() if now is None else now
    trials = list(record.trials)  # the driver may add to it while this reads
    outcomes = Counter(trial.outcome for trial in trials if trial.outcome is not None)
    best = record.best
    leader = best or next(iter(leaders(record)), None)
    rests = record.is_suspended or record.is_resting
    unfinished = [] if rests else [trial for trial in trials if _is_running(trial)]
    waiting = sum(not (trial.attempted_at or trial.curve) for trial in unfinished)
    epochs_used = sum(len(trial.curve) for trial in trials)
    extra = sum(map(_is_extra, trials))
    return Progress(
        state=record.state,
        planned=record.spec.search.trials + extra,
        extra=extra,
        running=len(unfinished) - waiting,
        waiting=waiting,
        outcomes=outcomes,
        best=best,
        best_value=None if best is None else record.objective(best),
        leader=leader,
        leader_value=None if leader is None else record.objective(leader),
        epochs_used=epochs_used,
        epochs_saved=epochs_saved(record),
        seconds_used=record.seconds_used(now),
        seconds_saved=seconds_saved(record),
        seconds_left=_seconds_left(record, trials, outcomes.total(), epochs_used, now),
    )


def needs_of_a_trial(resources: Resources) -> str:
    """Return what a trial that waits needs: `1 CPU and 0.5 GPU`."""
    needs = show_count(resources.cpu, "CPU")
    if resources.gpu:
        needs += f" and {resources.gpu:g} GPU" + ("s" if resources.gpu > 1 else "")
    return needs


def _is_running(trial: TrialRecord) -> bool:
    return trial.outcome is None and not trial.paused


def is_failure(outcome: Outcome | None) -> bool:
    """Whether a trial ended by a bug or by its configuration."""
    return outcome is Outcome.FAILED or (outcome is not None and outcome.is_bad_configuration)


def _is_extra(trial: TrialRecord) -> bool:
    return trial.origin is not None or trial.outcome is Outcome.CANCELLED


def _seconds_left(
    record: Record, trials: list[TrialRecord], num_ended: int, epochs_used: int, now: float
) -> float | None:
    """At the rate so far, until the first budget is used up."""
    if record.state != "running":
        return 0.0
    settings: SearchSettings = record.spec.search
    estimates = []
    # a population needs as many trials as it makes copies
    if num_ended and not settings.is_population:
        busy = record.seconds_used(now, since=trials[0].started_at)
        planned = settings.trials + sum(map(_is_extra, trials))
        estimates.append(max(planned - num_ended, 0) * busy / num_ended)
        if settings.epochs is not None and epochs_used:
            estimates.append(max(settings.epochs - epochs_used, 0) * busy / epochs_used)
    if settings.time_limit is not None and estimates:
        estimates.append(max(settings.time_limit - record.seconds_used(now), 0.0))
    return min(estimates, default=None)
