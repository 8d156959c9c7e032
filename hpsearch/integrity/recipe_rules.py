"""What must hold between the trials of the disciplined plan: each follows from those before."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.analysis.recipe import decided, plan_of
from hpsearch.errors import Problem
from hpsearch.outcome import Outcome
from hpsearch.record import Record

#: what a sampler isn't shown: what such a trial had reached may have decided, too
_UNSEEN = (Outcome.FAILED, Outcome.CANCELLED)


def recipe_problems(record: Record) -> Iterator[Problem]:
    """Yield the trials that don't follow from what those of the phases before had reached."""
    sampler = plan_of(record)
    if sampler is None:
        return
    chosen = [trial for trial in record.trials if trial.origin is None]
    if any(trial.outcome in _UNSEEN for trial in chosen):
        return
    for trial, params in zip(chosen, decided(record, sampler), strict=False):
        if trial.params != params:
            rule = f"must be the one that follows from the phases before: {params}"
            yield Problem(f"trial {trial.number}: params", rule, dict(trial.params))
