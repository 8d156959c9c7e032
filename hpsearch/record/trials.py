"""What is known of one trial, and how it is read from Optuna's."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from optuna.trial import FrozenTrial

from hpsearch.errors import RecordError
from hpsearch.outcome import CheckWarning, CopiedFrom, Outcome, RaisedError, StoppedBy
from hpsearch.record import earlier_versions
from hpsearch.record.acts import Goal, Origin
from hpsearch.record.shapes import EndShape, EpochShape, TrialShape, parse, parse_count
from hpsearch.spec import Scalar


@dataclass
class TrialRecord:
    """What is known of one trial. Times are seconds since 1970; epochs count from 1."""

    number: int
    params: dict[str, Scalar]  # by name of the search space's parameter; active ones only
    values: dict[str, Any]  # the trial sections, resolved
    started_at: float
    copied_from: CopiedFrom | None = None  # the checkpoint that it began with, if another's
    attempted_at: list[float] = field(default_factory=list)  # when each attempt began
    errors: list[dict[str, Any]] = field(default_factory=list)  # of attempts that were retried
    warnings: list[CheckWarning] = field(default_factory=list)
    alone: bool = False  # the next attempts have a GPU for themselves
    paused: bool = False  # unfinished, and waits at a rung
    origin: Origin | None = None  # the trial of which a user made it
    goal: Goal | None = None  # how long a user lets it train
    curve: dict[int, dict[str, float]] = field(default_factory=dict)  # metrics by epoch
    reported_at: dict[int, float] = field(default_factory=dict)
    checkpoint: str | None = None  # path relative to the search's folder
    outcome: Outcome | None = None  # None while it runs
    stopped_by: StoppedBy | None = None  # by early stopping, not by a budget of the search
    error: RaisedError | None = None  # the exception that it failed with
    note: str | None = None  # why it ended, where no fact says it
    traceback: str | None = None
    ended_at: float | None = None

    @property
    def attempts(self) -> int:
        """How many workers started on it."""
        return len(self.attempted_at)

    @property
    def num_retries(self) -> int:
        """How many of its attempts were tried again after an error of its own."""
        return sum(not error.get("excused") for error in self.errors)

    @property
    def reason(self) -> str | None:
        """Why it ended, as people read it."""
        fact = self.stopped_by or self.error
        return str(fact) if self.note is None and fact is not None else self.note

    @property
    def ended_itself(self) -> bool:
        """Whether it completed before its full budget; `note` says what in it ended it."""
        return self.outcome is Outcome.COMPLETED and self.note is not None

    @property
    def epochs(self) -> int:
        """The newest epoch that was reported; before its own first that with which it began."""
        return max(self.curve, default=self.first_epoch - 1)

    @property
    def first_epoch(self) -> int:
        """The epoch that it trains first: 1, unless it goes on from another's checkpoint."""
        if self.copied_from is not None:
            return 1 + self.copied_from.epoch
        return 1 if self.origin is None else 1 + (self.origin.epochs or 0)

    @property
    def warnings_by_check(self) -> dict[str, str]:
        """What its checks found, by the check's name."""
        return {warning.check: warning.message for warning in self.warnings}

    def metric(self, name: str) -> dict[int, float]:
        """Return the finite values of a metric by epoch."""
        return {
            epoch: metrics[name]
            for epoch, metrics in sorted(self.curve.items())
            if name in metrics and math.isfinite(metrics[name])
        }

    def last(self, name: str, until: int | None = None) -> float | None:
        """Return the newest finite value of a metric, `until` an epoch or of all."""
        for epoch in sorted(self.curve, reverse=True):
            value = self.curve[epoch].get(name)
            if value is not None and math.isfinite(value) and (until is None or epoch <= until):
                return value
        return None

    def seconds_trained(self) -> float:
        """Return for how long workers had the trial: each attempt until its last sign of life."""
        signs = sorted([0.0, *self.reported_at.values(), self.ended_at or 0.0])
        total = 0.0
        for begin, end in pairwise([*self.attempted_at, math.inf]):
            last = signs[bisect.bisect_right(signs, end) - 1]
            total += max(last - begin, 0.0)
        return total


def read_trial(frozen: FrozenTrial) -> TrialRecord:
    """Return what Optuna's trial holds; raises RecordError where no driver wrote it."""
    where = f"trial {frozen.number} of the record"
    attrs = frozen.user_attrs
    read = parse(TrialShape, attrs, where)
    params = earlier_versions.params(frozen.params, read.values)
    trial = TrialRecord(number=frozen.number, params=params, **vars(read))
    trial.values = earlier_versions.sections(read.values)
    if read.copied_from is not None:
        trial.copied_from = CopiedFrom(**vars(read.copied_from))
    trial.origin = None if read.origin is None else Origin(**vars(read.origin))
    if trial.origin is not None and trial.origin.trial >= trial.number:
        raise RecordError(f"{where} can't be read: origin: no earlier trial")
    trial.goal = None if read.goal is None else Goal(**vars(read.goal))
    trial.errors = [error.model_dump() for error in read.errors]
    trial.warnings = [
        earlier_versions.warning(each) if isinstance(each, str) else CheckWarning(**vars(each))
        for each in read.warnings
    ]
    for key, value in attrs.items():
        if key.startswith("epoch:"):
            epoch = parse_count(key.removeprefix("epoch:"), where)
            entry = parse(EpochShape, value, where)
            trial.curve[epoch], trial.reported_at[epoch] = entry.metrics, entry.at
    if "end" in attrs:  # written before the state, which a driver that died may still owe
        end = parse(EndShape, attrs["end"], where)
        _read_end(trial, end)
    return trial


def _read_end(trial: TrialRecord, end: EndShape) -> None:
    trial.outcome, trial.note = end.outcome, end.reason
    trial.traceback, trial.ended_at = end.traceback, end.at
    if end.stopped_by is not None:
        trial.stopped_by = StoppedBy(**vars(end.stopped_by))
    if end.error is not None:
        trial.error = RaisedError(**vars(end.error))
    if end.is_of_version_0_1 and end.outcome is Outcome.STOPPED_EARLY:
        trial.stopped_by = earlier_versions.stopped_by(end.reason)
        trial.note = None if trial.stopped_by else end.reason
    if end.is_of_version_0_1 and end.outcome is Outcome.FAILED and end.traceback is not None:
        trial.error = earlier_versions.error(end.reason, end.traceback)
