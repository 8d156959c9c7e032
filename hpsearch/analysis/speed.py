"""How soon a search reached a value of its objective, and how fast its trials train."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.formatting import show, show_count, show_seconds
from hpsearch.record import Record, TrialRecord
from hpsearch.spec.objectives import PEAK_MEMORY

#: an epoch that took less wasn't timed
_MIN_SECONDS = 1e-9
REACHED_HEADER = ("first trial", "its epoch", "epochs of all trials", "time")
_SIGNS = {"maximize": "≥", "minimize": "≤"}


@dataclass(frozen=True)
class Reached:
    """When a search's objective first came to a target, at the end of any trial's epoch.

    `epoch` is that of the trial; `epochs` counts those of all trials until then, and `seconds` is
    the time for which the search had run. All are None where it never came to it.
    """

    target: float
    trial: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    seconds: float | None = None

    def told(self, metric: str, direction: str) -> str:
        """Say it in a line.

        >>> Reached(0.9, trial=3, epoch=2, epochs=14, seconds=31.0).told("val_f1", "maximize")
        'val_f1 ≥ 0.9: trial 3 at epoch 2, after 14 epochs of all trials and 31 s'
        """
        goal = f"{metric} {_SIGNS[direction]} {show(self.target)}"
        if self.epochs is None or self.seconds is None:
            return f"{goal}: not reached"
        epochs, time = show_count(self.epochs, "epoch"), show_seconds(self.seconds)
        where = f"trial {self.trial} at epoch {self.epoch}"
        return f"{goal}: {where}, after {epochs} of all trials and {time}"


def reached(record: Record, target: float) -> Reached:
    """Return when a search first came to a value of its (first) objective."""
    sign = 1.0 if record.spec.objective.direction == "maximize" else -1.0
    for number, epoch, value, _ in record.history():
        if sign * (value - target) >= 0:
            at = record.trials[number].reported_at[epoch]
            times = (time for trial in record.trials for time in trial.reported_at.values())
            epochs = sum(time <= at for time in times)
            return Reached(target, number, epoch, epochs, _seconds_until(record, at))
    return Reached(target)


def plain_reached(record: Record, targets: Sequence[float]) -> list[dict[str, Any]]:
    """Return when a search came to each target, as plain values."""
    return [asdict(reached(record, target)) for target in targets]


def time_to_target(record: Record, targets: Sequence[float] = ()) -> list[Section]:
    """Return how soon a search came to targets, to the default's value and to its best."""
    wanted = [*((target, "target") for target in targets), *_own_targets(record)]
    found = [(what, reached(record, target)) for target, what in wanted]
    if not found:
        return []
    rows = as_rows((what, *reached_row(record, each)) for what, each in found)
    table = Table(("what", f"`{record.spec.objective.metric}`", *REACHED_HEADER), rows)
    return [Section("Time to target", (table,))]


def reached_row(record: Record, found: Reached) -> tuple[str, ...]:
    """Return the cells of a table: the target, the trial, its epoch, all epochs, the time."""
    goal = f"{_SIGNS[record.spec.objective.direction]} {show(found.target)}"
    if found.epochs is None or found.seconds is None:
        return goal, "not reached", "–", "–", "–"
    return goal, str(found.trial), str(found.epoch), str(found.epochs), show_seconds(found.seconds)


def rows_per_second(record: Record, trial: TrialRecord) -> float | None:
    """Return the training rows over the median time of an epoch, its evaluation included.

    None where that isn't known: of a user's own code, and where an epoch isn't one pass over the
    training rows. A trial that shares a program has its share of the time.
    """
    seconds = list(trial.metric("seconds").values())
    middle = statistics.median(seconds) if seconds else 0.0
    if middle < _MIN_SECONDS or not record.data.rows or not _is_one_pass(trial.values):
        return None
    return record.data.rows / middle


def speed_columns(record: Record, trials: Sequence[TrialRecord]) -> dict[str, list[str]]:
    """Return columns of a table of trials, by header: what is known of none is left out."""
    columns = {"rows/s": [rows_per_second(record, trial) for trial in trials]}
    if record.spec.objective.metric != PEAK_MEMORY:  # which has a column of its own
        columns[f"`{PEAK_MEMORY}`"] = [trial.last(PEAK_MEMORY) for trial in trials]
    return {
        header: ["–" if value is None else f"{value:,.0f}" for value in values]
        for header, values in columns.items()
        if any(value is not None for value in values)
    }


def _own_targets(record: Record) -> Iterator[tuple[float, str]]:
    default, best = record.default_result, record.best
    if default is not None and default.values:
        yield default.values[max(default.values)], "default configuration"
    if best is not None and (value := record.objective(best)) is not None:
        yield value, "best trial"


def _seconds_until(record: Record, at: float) -> float:
    """Return for how long drivers had worked on a search at a moment."""
    spans = ((begin or 0.0, at if end is None else min(end, at)) for begin, end in record.sessions)
    return sum(max(end - begin, 0.0) for begin, end in spans)


def _is_one_pass(values: Mapping[str, Any]) -> bool:
    """Whether an epoch is one pass over all training rows."""
    tuning, scaling = (values.get(name) for name in ("finetune", "lr_scaling"))
    is_part = isinstance(tuning, Mapping) and tuning.get("name") == "subset"
    is_more = isinstance(scaling, Mapping) and bool(scaling.get("regime_adaptation"))
    return not (is_part or is_more or values.get("stages"))
