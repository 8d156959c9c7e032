"""What a search gained over the default configuration, which it or an earlier one tries first."""

from __future__ import annotations

from hpsearch.formatting import show, show_count, show_outcome
from hpsearch.record import Outcome, Record


def gain(record: Record) -> str | None:
    """Say how the best trial compares with the default configuration; None while that is open.

    Where the default was stopped early, both are compared at the epoch that it reached.
    """
    best, default = record.best, record.default_result
    if best is None or default is None or default.outcome is None:
        return None
    is_here = default.search == record.name
    where = f"trial {default.trial}" + ("" if is_here else f" of {default.search}")
    what = f"the default configuration ({where})"
    if is_here and best.number == default.trial:
        return f"no trial was better than {what}"
    metric = record.spec.objective.metric
    own, others = best.metric(metric), default.values
    if default.outcome is Outcome.COMPLETED and others:
        before = others[max(others)]
        return f"{_difference(own[max(own)], before, metric)} over {what}"
    shared = [epoch for epoch in others if epoch in own]
    if default.outcome is not Outcome.STOPPED_EARLY or not shared:
        return f"{what} has no result to compare with: {show_outcome(default.outcome)}"
    epoch = max(shared)
    at = f"after {show_count(epoch, 'epoch')}, where that was stopped early"
    return f"{_difference(own[epoch], others[epoch], metric)} over {what} {at}"


def _difference(value: float, before: float, metric: str) -> str:
    return f"{value - before:+.4g} in {metric} ({show(value)} against {show(before)})"
