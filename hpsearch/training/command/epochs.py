"""What a script reports, as one set of metrics an epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpsearch.errors import UserCodeError
from hpsearch.spec.stopping import MAX_EPOCHS
from hpsearch.training.command.epoch_log import EpochLog


@dataclass(frozen=True)
class ScriptReport:
    """Metrics that a script reported, of an epoch or a step where it said so."""

    metrics: Mapping[str, float]
    epoch: int | None = None
    step: int | None = None


@dataclass
class EpochMetrics:
    """Turns reports into epochs, which count from 1.

    An epoch is complete once the objective is reported; reports without it are joined with the
    next that has it. Epochs without a report, as of scripts that evaluate every few epochs, have
    the metrics of the report before them, the first ones those of the first. With
    `steps_per_epoch` a report of a step belongs to the last epoch that is complete after it.
    A script whose first epoch is 0 counts from 0. What a restarted script reports again is
    dropped.

    `log` has what earlier runs of the script reported. A worker writes its own state only now and
    then, and the script's checkpoint may be newer than it.
    """

    objective: str
    steps_per_epoch: int | None = None
    max_epochs: int = MAX_EPOCHS
    log: EpochLog | None = None
    epoch: int = 0  # the last one that was taken
    counts_from_zero: bool | None = None
    last_step: int | None = None  # of a report with the objective
    _counted: int = 0
    _ready: deque[dict[str, float]] = field(default_factory=deque)
    _joined: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def resume(self, state: Mapping[str, Any], continues: bool) -> None:
        """Go on from a state; `continues` where the script finds a checkpoint of its own."""
        self.epoch, self.counts_from_zero = state["epoch"], state["counts_from_zero"]
        self._ready.clear()
        logged = self.log.read() if self.log is not None else []
        for each in logged[self.epoch :]:
            self._ready.append(dict(each.metrics))
        if logged:
            self._last, self.counts_from_zero = dict(logged[-1].metrics), logged[-1].from_zero
        self._counted = self.known if continues else 0

    def state_dict(self) -> dict[str, Any]:
        """Return what `resume` takes."""
        return {"epoch": self.epoch, "counts_from_zero": self.counts_from_zero}

    def add(self, report: ScriptReport) -> bool:
        """Take a report; returns whether it completed an epoch that is new."""
        if report.epoch is not None and self.counts_from_zero is None:
            self.counts_from_zero = report.epoch == 0
        if self.objective not in report.metrics:
            self._joined |= report.metrics
            return False
        self.last_step = report.step
        epoch = self._epoch_of(report)
        metrics, self._joined = {**self._joined, **report.metrics}, {}
        if epoch <= self.known:
            return False
        epoch = min(epoch, max(self.known, self.max_epochs) + 1)
        before = self._last or metrics
        new = [*(dict(before) for _ in range(self.known + 1, epoch)), metrics]
        if self.log is not None:
            self.log.append(new, self.counts_from_zero)
        self._ready.extend(new)
        self._last = metrics
        return True

    def take(self) -> dict[str, float] | None:
        """Return the metrics of the next epoch, if it is complete."""
        if not self._ready:
            return None
        self.epoch += 1
        return self._ready.popleft()

    @property
    def has_more(self) -> bool:
        """Whether an epoch is complete that was not taken."""
        return bool(self._ready)

    @property
    def seen(self) -> tuple[str, ...]:
        """The names that were reported since the objective last was."""
        return tuple(self._joined)

    @property
    def known(self) -> int:
        """The last epoch that was reported."""
        return self.epoch + len(self._ready)

    def _epoch_of(self, report: ScriptReport) -> int:
        if report.step is not None and self.steps_per_epoch is not None:
            return (report.step + 1) // self.steps_per_epoch  # steps count from 0 or from 1
        if report.epoch is not None:
            self._counted = report.epoch + bool(self.counts_from_zero)
            return self._counted
        if self.steps_per_epoch is not None:
            rule = "must give the step, by which steps_per_epoch counts epochs"
            raise UserCodeError(f"a report of {', '.join(report.metrics)}: {rule}")
        self._counted += 1
        return self._counted
