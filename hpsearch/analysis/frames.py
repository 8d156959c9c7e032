"""A record as pandas data frames."""

from __future__ import annotations

import pandas as pd

from hpsearch.analysis.speed import rows_per_second
from hpsearch.formatting import show_outcome
from hpsearch.record import Record, TrialRecord

_RATE = "rows_per_second"
_TRIAL_COLUMNS = ("number", "outcome", "reason", "epochs", "objective", "seconds", _RATE)


def trials_frame(record: Record) -> pd.DataFrame:
    """Return one row a trial: how it ended, its newest objective, and its hyperparameters.

    A hyperparameter that a trial does not have is missing there; one whose name another column
    has is called `params.NAME`.
    """
    names = [parameter.name for parameter in record.space.parameters]
    rows = [
        {
            "number": trial.number,
            "outcome": show_outcome(trial.outcome),
            "reason": trial.reason,
            "epochs": trial.epochs,
            "objective": record.objective(trial),
            "seconds": _seconds(trial),
            _RATE: rows_per_second(record, trial),
            **{_column(name): trial.params.get(name) for name in names},
        }
        for trial in record.trials
    ]
    frame = pd.DataFrame(rows, columns=[*_TRIAL_COLUMNS, *map(_column, names)])
    return frame.astype({_RATE: float})


def curves_frame(record: Record) -> pd.DataFrame:
    """Return one row a trial and epoch, with a column for every metric."""
    rows = [
        {**metrics, "number": trial.number, "epoch": epoch}
        for trial in record.trials
        for epoch, metrics in sorted(trial.curve.items())
    ]
    metrics = sorted({name for row in rows for name in row} - {"number", "epoch"})
    return pd.DataFrame(rows, columns=["number", "epoch", *metrics])


def active_names(record: Record, trials: list[TrialRecord]) -> list[str]:
    """Return the hyperparameters that at least one of the trials has, in the space's order."""
    return [
        parameter.name
        for parameter in record.space.parameters
        if any(parameter.name in trial.params for trial in trials)
    ]


def _column(name: str) -> str:
    return f"params.{name}" if name in _TRIAL_COLUMNS else name


def _seconds(trial: TrialRecord) -> float | None:
    ends = [*trial.reported_at.values()] if trial.ended_at is None else [trial.ended_at]
    return max(ends) - trial.started_at if ends else None
