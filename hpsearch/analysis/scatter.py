"""Trials as points of a figure, coloured by outcome, each described when it is pointed at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.style import OUTCOMES, describe
from hpsearch.formatting import show_outcome
from hpsearch.record import Record, TrialRecord

MAX_TRIALS = 1500  # more are thinned out, so that a page stays quick
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Point:
    """Where a trial is drawn; without a value `y` it stands at the worse edge."""

    trial: TrialRecord
    x: float
    y: float | None


def shown_trials(record: Record) -> list[TrialRecord]:
    """Return the trials that are drawn: all, or the leaders and an even sample of the others."""
    if len(record.trials) <= MAX_TRIALS:
        return list(record.trials)
    chosen = {trial.number for trial in leaders(record)[: MAX_TRIALS // 2]}
    others = [trial.number for trial in record.trials if trial.number not in chosen]
    step = math.ceil(len(others) / (MAX_TRIALS - len(chosen)))
    chosen |= set(others[::step])
    return [trial for trial in record.trials if trial.number in chosen]


def add_trials(
    figure: go.Figure,
    record: Record,
    points: Sequence[Point],
    *,
    size: float = 8,
    legend: bool = True,
) -> bool:
    """Add a trace for each outcome; False if there is no trial to draw."""
    for label in OUTCOMES:
        group = [point for point in points if show_outcome(point.trial.outcome) == label]
        with_value = [point for point in group if point.y is not None]
        without = [point for point in group if point.y is None]
        total = sum(show_outcome(trial.outcome) == label for trial in record.trials)
        name = f"{label} ({total})"
        if with_value:
            add_points(figure, record, with_value, label, name, size=size, legend=legend)
        if without:
            _add_valueless(figure, record, without, label, name, legend and not with_value)
    clip_outliers(figure, record, [point.y for point in points])
    return bool(points)


def add_points(
    figure: go.Figure,
    record: Record,
    points: Sequence[Point],
    label: str,
    name: str,
    *,
    size: float = 8,
    legend: bool = True,
    yaxis: str = "y",
) -> None:
    """Add one trace of points in the colour of an outcome."""
    colour, symbol = OUTCOMES[label]
    width = 2 if symbol.endswith("-open") else 0
    shrink = crowding(record) if label == "stopped early" else math.sqrt(crowding(record))
    figure.add_scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        mode="markers",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": size * shrink,
            "line": {"width": width},
        },
        opacity=0.7 if label == "stopped early" else 0.9,
        name=name,
        legendgroup=label,
        showlegend=legend,
        customdata=[point.trial.number for point in points],
        text=[describe(record, point.trial) for point in points],
        hovertemplate="%{text}<extra></extra>",
        yaxis=yaxis,
    )


@np.errstate(over="ignore")  # a limit that is infinite clips nothing
def clip_outliers(figure: go.Figure, record: Record, values: Iterable[float | None]) -> None:
    """Keep a few values that are worse by far, such as a huge loss, from flattening the rest."""
    finite = np.array([value for value in values if value is not None])
    sign = -1.0 if record.spec.objective.direction == "maximize" else 1.0
    losses = np.sort(sign * finite)
    if len(losses) < 4 or (finite.min() >= 0 and finite.max() <= 1):
        return
    span = losses[int(0.75 * (len(losses) - 1))] - losses[0]
    limit = losses[0] + 8 * span
    outside = int((losses > limit).sum())
    if not span or not outside:
        return
    shown = losses[losses <= limit]
    pad = 0.06 * (shown[-1] - shown[0])
    ends = sorted([sign * (shown[0] - pad), sign * (shown[-1] + pad)])
    figure.update_layout(yaxis={"range": ends})
    figure.add_annotation(
        text=f"{outside} far worse: double-click to see",
        x=1,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )


def set_columns(figure: go.Figure, labels: Sequence[str]) -> None:
    """Make the x axis one of columns, at 0, 1, 2 …"""
    figure.update_xaxes(
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
        ticklabeloverflow="allow",  # else the last one is dropped where labels are turned
        range=[-0.5, len(labels) - 0.5],
        showgrid=False,
        zeroline=False,
    )


def crowding(record: Record) -> float:
    """Return the factor by which marks shrink when there are many: 1 up to 100 trials."""
    return math.sqrt(10 / max(math.sqrt(len(record.trials)), 10))


def jitter(number: int) -> float:
    """Return a trial's place within a column, the same in every figure: -0.3 to 0.3."""
    return ((number * _GOLDEN_RATIO) % 1 - 0.5) * 0.6


def _add_valueless(
    figure: go.Figure, record: Record, points: Sequence[Point], label: str, name: str, legend: bool
) -> None:
    """Put trials without a value along the worse edge, on an axis of their own."""
    edge = 0.02 if record.spec.objective.direction == "maximize" else 0.98
    at_edge = [Point(point.trial, point.x, edge) for point in points]
    add_points(figure, record, at_edge, label, name, legend=legend, yaxis="y2")
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    )
