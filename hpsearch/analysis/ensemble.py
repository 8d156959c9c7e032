"""What the mean of the best trials comes to beside the best one (`search.ensemble`)."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.formatting import show, show_count
from hpsearch.record import EnsembleNote, Record


def ensemble_told(record: Record) -> str | None:
    """Say what the ensemble comes to, in the objective, or why there is none; None where none is
    asked for, or not yet made."""
    made, metric = record.ensemble, record.spec.objective.metric
    if made is None:
        return _why_none(record)
    scores = dict(_compared(record, made))
    told = [
        f"{name} {show(scores[name][0])} ({_against(scores[name][1])})"
        for name in (metric, f"test_{metric.removeprefix('val_')}")
        if name in scores
    ]
    return f"{_taken(made)}: {', '.join(told)}"


def ensemble_section(record: Record) -> list[Section]:
    """Return the ensemble's scores beside those of the best trial, if one was made."""
    made, best = record.ensemble, record.best
    if made is None or best is None:
        why = _why_none(record)
        return [] if why is None else [Section("Ensemble", (f"There is {why}.",))]
    text = f"{_registered(made)} is registered as `models:/{record.name}@ensemble`."
    if len(made.counts) > 1:
        text += (
            f" A prediction takes {len(made.counts)} models in place of one, so `@best` stays the "
            "best trial."
        )
    if made.test_metrics:
        text += " Compare them on the test split: the trials were chosen by the validation split."
    rows = as_rows(
        (f"`{name}`", show(value), "–" if other is None else show(other))
        for name, (value, other) in _compared(record, made)
    )
    table = Table(
        ("metric", f"mean of {show_count(len(made.counts), 'trial')}", f"trial {best.number}"),
        rows,
    )
    return [Section("Ensemble", (text, table))]


def _why_none(record: Record) -> str | None:
    is_asked_for = record.spec.search.ensemble is not None and record.state == "finished"
    if not is_asked_for or len(record.members()) > 1:
        return None
    return "none: fewer than two trials were trained in full"


def _compared(
    record: Record, made: EnsembleNote
) -> Iterator[tuple[str, tuple[float, float | None]]]:
    """Yield each metric with the ensemble's value and the best trial's."""
    best = record.best
    own = {} if best is None else best.curve[best.epochs]
    test = record.result.get("test_metrics") or {}
    for name, value in {**made.metrics, **made.test_metrics}.items():
        yield name, (value, own.get(name, test.get(name)))


def _taken(made: EnsembleNote) -> str:
    if len(made.counts) == 1:
        return f"trial {made.trials[0]} alone, which no other makes better"
    return f"mean of trials {_members(made)}"


def _registered(made: EnsembleNote) -> str:
    if len(made.counts) == 1:
        return f"No other trial makes the mean better than trial {made.trials[0]} alone, which"
    return f"The mean of the predictions of trials {_members(made)}"


def _members(made: EnsembleNote) -> str:
    """Return `3, 7 (twice), 1 (3 times)`."""
    times = {1: "", 2: " (twice)"}
    return ", ".join(
        f"{number}{times.get(count, f' ({count} times)')}" for number, count in made.counts.items()
    )


def _against(value: float | None) -> str:
    return "of the best trial unknown" if value is None else f"best trial {show(value)}"
