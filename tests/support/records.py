"""Records of trials that nobody trained."""

from __future__ import annotations

from typing import Any

from hpsearch.outcome import StoppedBy
from hpsearch.record import Outcome, Record, TrialRecord
from hpsearch.spec import SearchSpec, draft_spec

SPACE = {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "width": {"choices": [64, 128]}}
ASHA = {"name": "asha", "max_epochs": 9}
STOPPED = Outcome.STOPPED_EARLY


def make_spec(space: Any = None, direction: str = "maximize", **search: Any) -> SearchSpec:
    draft = draft_spec(
        {
            "name": "demo",
            "objective": {"metric": "score", "direction": direction},
            "trainable": "train.py:train",
            "space": SPACE if space is None else space,
            "search": {"trials": 20, "early_stopping": ASHA, **search},
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec


def add(
    record: Record,
    values: list[float],
    outcome: Outcome | None = Outcome.COMPLETED,
    note: str | None = None,
    **params: Any,
) -> TrialRecord:
    """Put a trial into the record's mirror: it starts at second 1000, an epoch takes two."""
    trial = TrialRecord(
        number=len(record.trials),
        params=params or {"lr": 0.1, "width": 64},
        values={},
        started_at=1000.0,
        curve={epoch: {"score": value} for epoch, value in enumerate(values, start=1)},
        reported_at={epoch: 1000.0 + 2 * epoch for epoch in range(1, len(values) + 1)},
        outcome=outcome,
        note=note,
    )
    if outcome is STOPPED and note is None:
        trial.stopped_by = StoppedBy("asha", trial.epochs)
    trial.ended_at = None if outcome is None else 1000.0 + 2 * len(values)
    record.trials.append(trial)
    return trial
