"""What early stopping did: which trials it stopped, where, and what that saved."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from hpsearch.record import Record, TrialRecord

MAX_RUNGS = 12


@dataclass(frozen=True)
class Rung:
    """An epoch at which trials were stopped: how many reached it, and how many ended there."""

    epoch: int
    reached: int
    stopped: int


def rungs(record: Record) -> list[Rung]:
    """Return the epochs at which trials were stopped, ascending; of many, the busiest."""
    stopped = Counter(trial.epochs for trial in _stopped(record))
    return [
        Rung(epoch, sum(trial.epochs >= epoch for trial in record.trials), count)
        for epoch, count in sorted(stopped.most_common(MAX_RUNGS))
    ]


def epochs_saved(record: Record) -> int:
    """Return the epochs that the trials stopped by the rule did not train."""
    return sum(_rest(record, trial) for trial in _stopped(record))


def seconds_saved(record: Record) -> float:
    """Return what those epochs would have taken, at each trial's own median seconds an epoch.

    A trial that has none between two reports takes the median of all.
    """
    seconds = {trial.number: _epoch_seconds(record, trial) for trial in list(record.trials)}
    every = [each for of_trial in seconds.values() for each in of_trial]
    usual = statistics.median(every) if every else 0.0
    return sum(
        _rest(record, trial) * statistics.median(seconds.get(trial.number) or [usual])
        for trial in _stopped(record)
    )


def _epoch_seconds(record: Record, trial: TrialRecord) -> list[float]:
    """Return how long a trial's epochs took, its own share where a program trained several.

    The first of each attempt is left out: its time has imports, data and waiting in it.
    """
    if record.lanes.num_fused:
        return list(trial.metric("seconds").values())
    times = sorted(trial.reported_at.values())
    return [
        end - begin
        for begin, end in pairwise(times)
        if not any(begin < start <= end for start in trial.attempted_at)
    ]


def _stopped(record: Record) -> list[TrialRecord]:
    if record.spec.search.is_population:  # another goes on in the place of each
        return []
    return [trial for trial in record.trials if trial.stopped_by is not None]


def _rest(record: Record, trial: TrialRecord) -> int:
    return record.spec.max_epochs - trial.epochs
