"""The parts and the pictures of a report on several objectives, and on constraints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import plotly.graph_objects as go

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.frames import active_names
from hpsearch.analysis.objectives import quoted
from hpsearch.analysis.scatter import Point, add_points, shown_trials
from hpsearch.analysis.style import OUTCOMES, new_figure
from hpsearch.formatting import show, show_count, show_outcome
from hpsearch.record import Outcome, Record

#: rows of the table of the front
MAX_ROWS = 30
PICTURE = "pareto"


def pareto_section(record: Record) -> list[Section]:
    """Return the trials that no other beats in every objective, if there are several."""
    if not record.spec.objectives:
        return []
    front = record.pareto_front()
    if not front:
        return [Section("Pareto front", ("No trial is on it yet.",), (PICTURE,))]
    text = (
        f"{show_count(len(front), 'completed trial')} that no other beats in every objective. "
        f"Trial {front[0].number} is the best in `{record.spec.objective.metric}`; it is the one "
        "that this report calls the best."
    )
    names = active_names(record, front)
    rows = as_rows(
        (
            str(trial.number),
            *(show(trial.last(each.metric)) for each in record.spec.objectives),
            *(show(trial.params[name]) if name in trial.params else "–" for name in names),
        )
        for trial in front[:MAX_ROWS]
    )
    metrics = (f"`{each.metric}`" for each in record.spec.objectives)
    table = Table(("trial", *metrics, *(f"`{name}`" for name in names)), rows)
    more = (f"And {len(front) - MAX_ROWS} more.",) if len(front) > MAX_ROWS else ()
    return [Section("Pareto front", (text, table, *more), (PICTURE,))]


def constraints_section(record: Record) -> list[Section]:
    """Return how many trials break each constraint, if there are any."""
    if not record.spec.constraints:
        return []
    rows = as_rows(_constraint_rows(record))
    header = ("constraint", "trials that break it", "of those completed", "best trial")
    text = "A trial that breaks a constraint is never the best."
    return [Section("Constraints", (text, Table(header, rows)))]


def pareto_figures(record: Record) -> dict[str, partial[go.Figure | None]]:
    """Return what draws each further objective over the first, by the picture's name."""
    return {
        f"{PICTURE}:{each.metric}": partial(_over_first, record, index)
        for index, each in enumerate(record.spec.objectives)
        if index
    }


def _over_first(record: Record, index: int) -> go.Figure | None:
    """Draw an objective over the first: every trial, and the front as a line."""
    first, other = record.spec.objectives[0], record.spec.objectives[index]
    figure = new_figure("Pareto front", first.metric, other.metric)
    points = [
        Point(trial, x, y)
        for trial in shown_trials(record)
        if (x := trial.last(first.metric)) is not None
        and (y := trial.last(other.metric)) is not None
    ]
    if not points:
        return None
    for label in OUTCOMES:
        group = [each for each in points if show_outcome(each.trial.outcome) == label]
        if group:
            add_points(figure, record, group, label, f"{label} ({len(group)})")
    front = {trial.number for trial in record.pareto_front()}
    on_front = sorted((each for each in points if each.trial.number in front), key=_x)
    if on_front:
        figure.add_scatter(
            x=[each.x for each in on_front],
            y=[each.y for each in on_front],
            mode="lines+markers" if len(record.spec.objectives) == 2 else "markers",
            line={"width": 2},
            marker={"symbol": "star", "size": 13},
            name=f"Pareto front ({len(on_front)})",
            hoverinfo="skip",
        )
    return figure


def _x(point: Point) -> float:
    return point.x


def _constraint_rows(record: Record) -> Iterator[tuple[str, ...]]:
    reported = [trial for trial in record.trials if trial.curve]
    completed = [trial for trial in reported if trial.outcome is Outcome.COMPLETED]
    best = record.best
    for constraint in record.spec.constraints:
        yield (
            quoted(constraint),
            f"{sum(constraint in record.broken(trial) for trial in reported)} of {len(reported)}",
            f"{sum(constraint in record.broken(each) for each in completed)} of {len(completed)}",
            "–" if best is None else show(best.last(constraint.metric)),
        )
