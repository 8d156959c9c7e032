"""Parallel coordinates: every trial as a line over its hyperparameters and its objective."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.scatter import MAX_TRIALS, crowding
from hpsearch.analysis.style import ACCENT, new_figure, wrap_name
from hpsearch.formatting import show
from hpsearch.record import Record, TrialRecord
from hpsearch.space import Parameter
from hpsearch.spec import Scalar

MAX_AXES = 9
#: where a line crosses an axis whose hyperparameter its trial does not have
_BELOW = -0.13
_MAX_TICKS = 8
_GREY = "#94a3b8"


@dataclass(frozen=True)
class _Group:
    """The lines of the trials up to a share of all, the leading ones first."""

    share: float
    name: str
    colour: str
    width: float
    opacity: float


_GROUPS = (
    _Group(0.1, "leading 10 %", ACCENT, 2.0, 0.9),
    _Group(0.5, "first half", _GREY, 1.0, 0.6),
    _Group(1.0, "second half", _GREY, 0.5, 0.6),
)


@dataclass(frozen=True)
class _Axis:
    """An axis: where a trial's line crosses it, from 0 to 1 (None without a value), its labels."""

    title: str
    place: Callable[[TrialRecord], float | None]
    ticks: Sequence[tuple[float, str]]


def parallel_coordinates(record: Record, parameters: Sequence[Parameter]) -> go.Figure | None:
    """Draw the trials over the first of the hyperparameters, the leading ones in colour.

    Plotly's own trace of this kind needs WebGL and code made at run time, which pages forbid.
    """
    searched = [each for each in parameters if not each.distribution.single()][:MAX_AXES]
    trials = leaders(record)[:MAX_TRIALS]
    if not searched or len(trials) < 2:
        return None
    axes = [*(_parameter_axis(each) for each in searched), _objective_axis(record, trials)]
    figure = new_figure("Configurations of the trials", "", "", height=420)
    for group, members in reversed(_grouped(trials)):
        figure.add_scatter(
            **_lines(axes, members),
            mode="lines",
            line={"color": group.colour, "width": max(group.width * crowding(record), 0.4)},
            opacity=group.opacity,
            name=group.name,
            hoverinfo="skip",
        )
    lacking = {i for i, axis in enumerate(axes) if any(axis.place(t) is None for t in trials)}
    _draw_axes(figure, axes, lacking)
    return figure


def _grouped(trials: Sequence[TrialRecord]) -> list[tuple[_Group, Sequence[TrialRecord]]]:
    """Return the groups that have trials, the leading one first."""
    ends = [math.ceil(group.share * len(trials)) for group in _GROUPS]
    parts = [trials[begin:end] for begin, end in pairwise([0, *ends])]
    return [(group, part) for group, part in zip(_GROUPS, parts, strict=True) if part]


def _lines(axes: Sequence[_Axis], trials: Sequence[TrialRecord]) -> dict[str, list[float | None]]:
    """Return the trials as one line, with a gap between two."""
    x: list[float | None] = []
    y: list[float | None] = []
    for trial in trials:
        places = [axis.place(trial) for axis in axes]
        x += [*range(len(axes)), None]
        y += [*(_BELOW if place is None else place for place in places), None]
    return {"x": x, "y": y}


def _draw_axes(figure: go.Figure, axes: Sequence[_Axis], lacking: Collection[int]) -> None:
    """Name the axes and label their ends; `lacking` has those that some trials do not have."""
    titles = [wrap_name(axis.title) for axis in axes]
    figure.update_xaxes(
        tickvals=list(range(len(axes))),
        ticktext=titles,
        ticklabeloverflow="allow",  # see `set_columns`
        range=[-0.25, len(axes) - 0.4],
        zeroline=False,
        fixedrange=True,
    )
    figure.update_yaxes(
        visible=False, range=[_BELOW - 0.04 if lacking else -0.04, 1.04], fixedrange=True
    )
    labels = [
        (column, height, label)
        for column, axis in enumerate(axes)
        for height, label in [*axis.ticks, *([(_BELOW, "none")] if column in lacking else [])]
    ]
    # At once: each that is added alone has Plotly check all.
    figure.update_layout(annotations=[_label(*each) for each in labels])


def _label(column: int, height: float, text: str) -> dict[str, Any]:
    return {
        "x": column,
        "y": height,
        "text": html.escape(text),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 3,
        "font": {"size": 11},
    }


def _parameter_axis(parameter: Parameter) -> _Axis:
    distribution = parameter.distribution
    if isinstance(distribution, CategoricalDistribution):
        return _choice_axis(parameter, distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    scale = math.log if distribution.log else float

    def place(trial: TrialRecord) -> float | None:
        value = trial.params.get(parameter.name)
        if value is None:
            return None
        return (scale(float(value)) - scale(low)) / (scale(high) - scale(low))

    ends = ((0.0, show(distribution.low)), (1.0, show(distribution.high)))
    return _Axis(parameter.name, place, ends)


def _choice_axis(parameter: Parameter, choices: Sequence[Scalar]) -> _Axis:
    def place(trial: TrialRecord) -> float | None:
        if parameter.name not in trial.params:
            return None
        number = parameter.distribution.to_internal_repr(trial.params[parameter.name])
        return float(number) / (len(choices) - 1)

    step = math.ceil(len(choices) / _MAX_TICKS)
    ticks = [(i / (len(choices) - 1), show(choices[i])) for i in range(0, len(choices), step)]
    return _Axis(parameter.name, place, ticks)


def _objective_axis(record: Record, trials: Sequence[TrialRecord]) -> _Axis:
    """The objective, the better end on top; a few values that are worse by far are cut off."""
    sign = -1.0 if record.spec.objective.direction == "maximize" else 1.0
    losses = {t.number: sign * v for t in trials if (v := record.objective(t)) is not None}
    ordered = sorted(losses.values())
    best = ordered[0]
    worst = min(ordered[-1], best + 8 * (ordered[int(0.75 * (len(ordered) - 1))] - best))
    span = (worst - best) or 1.0

    def place(trial: TrialRecord) -> float | None:
        loss = losses.get(trial.number)
        return None if loss is None else max(1.0 - (loss - best) / span, 0.0)

    ticks = ((0.0, show(sign * (best + span))), (1.0, show(sign * best)))
    return _Axis(record.spec.objective.metric, place, ticks)
