"""What the mean of the best trials comes to beside the best one (`search.ensemble`)."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.formatting import show
from hpsearch.record import EnsembleNote, Record


def ensemble_told(record: Record) -> str | None:
    """Say what the ensemble comes to, in the objective; None where there is none."""
    made, metric = record.ensemble, record.spec.objective.metric
    if made is None:
        return None
    scores = dict(_compared(record, made))
    told = [
        f"{name} {show(scores[name][0])} ({_against(scores[name][1])})"
        for name in (metric, f"test_{metric.removeprefix('val_')}")
        if name in scores
    ]
    return f"mean of trials {_members(made)}: {', '.join(told)}"


def ensemble_section(record: Record) -> list[Section]:
    """Return the ensemble's scores beside those of the best trial, if one was made."""
    made, best = record.ensemble, record.best
    if made is None or best is None:
        return []
    text = (
        f"The mean of the predictions of the best trials, {_members(made)}, is registered as "
        f"`models:/{record.name}@ensemble`. A prediction takes {len(made.trials)} models in place "
        "of one, so `@best` stays the best trial."
    )
    if made.test_metrics:
        text += " Compare them on the test split: the trials were chosen by the validation split."
    rows = as_rows(
        (f"`{name}`", show(value), "–" if other is None else show(other))
        for name, (value, other) in _compared(record, made)
    )
    table = Table(("metric", f"mean of {len(made.trials)} trials", f"trial {best.number}"), rows)
    return [Section("Ensemble", (text, table))]


def _compared(
    record: Record, made: EnsembleNote
) -> Iterator[tuple[str, tuple[float, float | None]]]:
    """Yield each metric with the ensemble's value and the best trial's."""
    best = record.best
    own = {} if best is None else best.curve[best.epochs]
    test = record.result.get("test_metrics") or {}
    for name, value in {**made.metrics, **made.test_metrics}.items():
        yield name, (value, own.get(name, test.get(name)))


def _members(made: EnsembleNote) -> str:
    return ", ".join(map(str, made.trials))


def _against(value: float | None) -> str:
    return "of the best trial unknown" if value is None else f"best trial {show(value)}"
