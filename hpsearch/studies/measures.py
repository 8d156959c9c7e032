"""What of a search is compared: its objective, on the test split too, or how soon it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hpsearch.analysis.comparison import test_value
from hpsearch.errors import Problem
from hpsearch.formatting import show
from hpsearch.record import Record
from hpsearch.spec import SearchSpec

MeasureName = Literal["best", "test", "epochs_to_target", "seconds_to_target"]
#: those that have a target, and what they count
COUNTED: dict[MeasureName, str] = {
    "epochs_to_target": "epochs",
    "seconds_to_target": "seconds of training",
}


def measured(measure: MeasureName, target: float | None, record: Record) -> float | None:
    """Return a search's value; None if it has no best trial, or never reached the target.

    Epochs and seconds are those of the best trial, up to the first epoch with the target.
    """
    trial = record.best
    if trial is None:
        return None
    if measure == "best":
        return record.objective(trial)
    if measure == "test":
        return test_value(record)
    assert target is not None  # checked before
    objective = record.spec.objective
    sign = 1.0 if objective.direction == "maximize" else -1.0
    reached = (e for e, v in trial.metric(objective.metric).items() if sign * (v - target) >= 0)
    first = next(reached, None)
    if first is None or measure == "epochs_to_target":
        return None if first is None else float(first)
    return sum(s for epoch, s in trial.metric("seconds").items() if epoch <= first)


def name_of(measure: MeasureName, target: float | None, metric: str) -> str:
    """Return a measure as people read it.

    >>> name_of("epochs_to_target", 0.95, "val_accuracy"), name_of("test", None, "val_loss")
    ('epochs to val_accuracy 0.95', 'test_loss')
    """
    if measure in COUNTED:
        return f"{COUNTED[measure]} to {metric} {show(target)}"
    return f"test_{metric.removeprefix('val_')}" if measure == "test" else metric


def measure_problems(
    measure: MeasureName, target: float | None, spec: SearchSpec
) -> Iterator[Problem]:
    """Yield why a study's searches can't be compared by a measure."""
    is_counted = measure in COUNTED
    if is_counted and target is None:
        yield Problem("target", f"must be given with {measure}")
    if not is_counted and target is not None:
        rule = f"must be left out, unless measure is {' or '.join(COUNTED)}"
        yield Problem("target", rule, target)
    metric, is_own = spec.objective.metric, spec.trainable is not None or spec.command is not None
    if measure == "test" and (is_own or not metric.startswith("val_")):
        own = (
            "code of your own reports no test metrics"
            if is_own
            else f"{metric} has no test metric"
        )
        yield Problem("measure", f"must be another one: {own}", measure)
    if measure == "seconds_to_target" and is_own:
        rule = "must be another one: code of your own reports no seconds"
        yield Problem("measure", rule, measure)
