"""A record as pandas data frames."""

from __future__ import annotations

import pandas as pd

from hpsearch.record import Outcome, Record, TrialRecord
from hpsearch.spec import Scalar

_TRIAL_COLUMNS = ("number", "outcome", "reason", "epochs", "objective", "seconds")


def trials_frame(record: Record) -> pd.DataFrame:
    """Return one row a trial: how it ended, its newest objective, and its hyperparameters.

    A hyperparameter that a trial does not have is missing there; one whose name another column
    has is called `params.NAME`.
    """
    names = [parameter.name for parameter in record.space.parameters]
    rows = [
        {
            "number": trial.number,
            "outcome": outcome_label(trial.outcome),
            "reason": trial.reason,
            "epochs": trial.epochs,
            "objective": record.objective(trial),
            "seconds": _seconds(trial),
            **{_column(name): trial.params.get(name) for name in names},
        }
        for trial in record.trials
    ]
    return pd.DataFrame(rows, columns=[*_TRIAL_COLUMNS, *map(_column, names)])


def curves_frame(record: Record) -> pd.DataFrame:
    """Return one row a trial and epoch, with a column for every metric."""
    rows = [
        {**metrics, "number": trial.number, "epoch": epoch}
        for trial in record.trials
        for epoch, metrics in sorted(trial.curve.items())
    ]
    metrics = sorted({name for row in rows for name in row} - {"number", "epoch"})
    return pd.DataFrame(rows, columns=["number", "epoch", *metrics])


def outcome_label(outcome: Outcome | None) -> str:
    """Return how a trial ended, in words.

    >>> outcome_label(Outcome.STOPPED_EARLY), outcome_label(None)
    ('stopped early', 'running')
    """
    return "running" if outcome is None else outcome.replace("_", " ")


def active_names(record: Record, trials: list[TrialRecord]) -> list[str]:
    """Return the hyperparameters that at least one of the trials has, in the space's order."""
    return [
        parameter.name
        for parameter in record.space.parameters
        if any(parameter.name in trial.params for trial in trials)
    ]


def show(value: Scalar) -> str:
    """Return a value as people read it, a number to four digits.

    >>> show(0.000123456), show(64), show(None), show(0.98765)
    ('0.0001235', '64', 'none', '0.9877')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def show_seconds(seconds: float) -> str:
    """Return a duration as people read it.

    >>> show_seconds(0.25), show_seconds(75), show_seconds(7260)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _column(name: str) -> str:
    return f"params.{name}" if name in _TRIAL_COLUMNS else name


def _seconds(trial: TrialRecord) -> float | None:
    ends = [*trial.reported_at.values()] if trial.ended_at is None else [trial.ended_at]
    return max(ends) - trial.started_at if ends else None
