"""A record's own sequence of reports, seen by a new rule of early stopping: the same decisions?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record, TrialRecord
from hpsearch.tuning.decisions import Decisions


@dataclass(frozen=True)
class Replay:
    """The decisions of early stopping that a record tells, against those made again."""

    num_decisions: int  # reports after which the record tells whether the trial was stopped
    num_stops: int  # those after which it was stopped, or paused
    differing: tuple[tuple[int, int], ...]  # trial and epoch where the decision is another now

    @property
    def is_identical(self) -> bool:
        """Whether all decisions are those of the record."""
        return not self.differing


def replay(record: Record) -> Replay:
    """Let a new rule see a record's objectives in their order, and compare its decisions.

    What a record doesn't tell is left out: what was decided at the last report of a trial that
    ended itself or with the search, and before another attempt.
    """
    told = {
        (trial.number, epoch): is_stopped
        for trial in record.trials
        for epoch, is_stopped in _told(trial, record.spec.max_epochs)
    }
    decisions = Decisions(record, make_early_stopper(record.spec))
    made = {
        (number, epoch): stop is not None
        for number, epoch, stop in decisions.made_again()
        if (number, epoch) in told
    }
    differing = tuple(place for place, is_stopped in made.items() if is_stopped != told[place])
    return Replay(len(made), sum(told[place] for place in made), differing)


def _told(trial: TrialRecord, max_epochs: int) -> Iterator[tuple[int, bool]]:
    """Yield the epochs after which a record tells whether the rule stopped the trial."""
    epochs = sorted(trial.curve)
    for epoch, following in pairwise(epochs):
        begin, end = trial.reported_at[epoch], trial.reported_at[following]
        if not any(begin <= attempt <= end for attempt in trial.attempted_at):
            yield epoch, False
    was_stopped = trial.paused or trial.stopped_by is not None
    if epochs and was_stopped and epochs[-1] < max_epochs:
        yield epochs[-1], True
