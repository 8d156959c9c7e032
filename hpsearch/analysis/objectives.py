"""Objectives and constraints of a search, and what trials have of them, as texts."""

from __future__ import annotations

from hpsearch.formatting import show, show_count
from hpsearch.record import Record, TrialRecord
from hpsearch.spec import Constraint, SearchSpec


def goal(spec: SearchSpec) -> str:
    """Return what a search looks for: `maximizes val_accuracy and minimizes latency_ms`."""
    objectives = " and ".join(f"{each.direction}s `{each.metric}`" for each in spec.all_objectives)
    bounds = " and ".join(map(quoted, spec.constraints))
    return f"{objectives}, with {bounds}," if bounds else objectives


def quoted(constraint: Constraint) -> str:
    """Return a constraint with its metric marked as a name."""
    return f"`{constraint.metric}`{str(constraint).removeprefix(constraint.metric)}"


def shown_objectives(record: Record, trial: TrialRecord) -> str:
    """Return the newest values of all objectives as a text."""
    return ", ".join(show(trial.last(each.metric)) for each in record.spec.all_objectives)


def broken_told(record: Record) -> list[str]:
    """Say of each constraint how many of the trials with a report break it."""
    reported = [trial for trial in record.trials if trial.curve]
    lines = []
    for constraint in record.spec.constraints:
        count = sum(constraint in record.broken(trial) for trial in reported)
        lines.append(f"{constraint}: broken by {count} of {show_count(len(reported), 'trial')}")
    return lines
