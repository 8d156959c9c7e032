"""What early stopping did: which trials it stopped, where, and what that saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

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
    """Return what those epochs would have taken, at each trial's own mean seconds an epoch."""
    return sum(
        _rest(record, trial) * _seconds_per_epoch(record, trial) for trial in _stopped(record)
    )


def _seconds_per_epoch(record: Record, trial: TrialRecord) -> float:
    """Return a trial's mean seconds an epoch, of its own share where a program trained several;
    0 before its first."""
    if not trial.reported_at:
        return 0.0
    if record.lanes.num_fused:
        shares = trial.metric("seconds").values()
        return sum(shares) / max(1, len(shares))
    return (max(trial.reported_at.values()) - trial.started_at) / len(trial.reported_at)


def _stopped(record: Record) -> list[TrialRecord]:
    return [trial for trial in record.trials if trial.stopped_by is not None]


def _rest(record: Record, trial: TrialRecord) -> int:
    return record.spec.max_epochs - trial.epochs
