"""The pictures of a report, as Plotly figures. One that would be empty is None."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.analysis.importance import Importances
from hpsearch.analysis.lr_range_report import lr_range_drawings
from hpsearch.analysis.parallel import parallel_coordinates
from hpsearch.analysis.reliability import reliability_plot
from hpsearch.analysis.response import Response
from hpsearch.analysis.response_figures import add_dependence, strongest_interaction
from hpsearch.analysis.scatter import (
    Point,
    add_points,
    add_trials,
    clip_outliers,
    crowding,
    jitter,
    set_columns,
    shown_trials,
)
from hpsearch.analysis.stopping import rungs
from hpsearch.analysis.style import ACCENT, OUTCOMES, new_figure, wrap_name
from hpsearch.analysis.trade_offs import pareto_figures
from hpsearch.formatting import show, show_outcome
from hpsearch.record import Outcome, Record, TrialRecord
from hpsearch.space import Parameter, PowersOfTwo
from hpsearch.spec.powers import powers_of_two

MAX_SLICES = 24
_MAX_CURVE_POINTS = 40_000
_FEW_TICKS = 10


def all_figures(
    record: Record, importances: Importances, response: Response
) -> dict[str, go.Figure]:
    """Return the pictures of a search by name; the slices by importance, as `slice:NAME`."""
    figures = {name: draw() for name, draw in _drawings(record, importances, response).items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def figure_names(record: Record, importances: Importances) -> list[str]:
    """Return the names of the pictures that a search may have, without drawing any."""
    return list(_drawings(record, importances, Response(record)))


def objective_over_trials(record: Record) -> go.Figure | None:
    """Draw each trial's newest objective, and the best of the completed ones so far."""
    trials = shown_trials(record)
    figure = new_figure("Objective over trials", "trial", record.spec.objective.metric)
    if not add_trials(figure, record, [Point(t, t.number, record.objective(t)) for t in trials]):
        return None
    figure.update_xaxes(**_whole_ticks(0, len(record.trials) - 1))
    numbers, values = _best_so_far(record)
    if numbers:
        line = {"shape": "hv", "width": 2}
        figure.add_scatter(
            x=numbers, y=values, mode="lines", line=line, name="best so far", hoverinfo="skip"
        )
    return figure


def learning_curves(record: Record) -> go.Figure | None:
    """Draw each trial's objective by epoch, coloured by outcome, and mark where it ended."""
    metric = record.spec.objective.metric
    trials = [trial for trial in shown_trials(record) if trial.metric(metric)]
    if not trials or max(trial.epochs for trial in trials) == 1:
        return None
    figure = new_figure("Learning curves", "epoch", metric, height=460)
    limit = max(2, _MAX_CURVE_POINTS // len(trials))
    for label, (colour, _) in OUTCOMES.items():
        group = [trial for trial in trials if show_outcome(trial.outcome) == label]
        if group:
            figure.add_scatter(
                **_curves(group, metric, limit),
                mode="lines",
                line={"color": colour, "width": 1.5 * crowding(record)},
                opacity=0.55,
                hoverinfo="skip",
                legendgroup=label,
                showlegend=False,
            )
    add_trials(
        figure,
        record,
        [Point(t, max(t.metric(metric)), record.objective(t)) for t in trials],
        size=6,
    )
    figure.update_xaxes(**_epoch_axis(record))
    if record.best is not None:
        figure.add_scatter(
            **_curves([record.best], metric, limit), mode="lines", line={"width": 3}, name="best"
        )
    return figure


def importance_bars(importances: Importances) -> go.Figure | None:
    """Draw the share of each hyperparameter, the largest on top."""
    if not importances.shares:
        return None
    names = list(importances.shares)[::-1]
    shares = [importances.shares[name] for name in names]
    ends = [importances.intervals.get(name, (0.0, 0.0)) for name in names]
    figure = new_figure("Importance", "", "", height=110 + 36 * len(names))
    labels = [wrap_name(name) for name in names]
    figure.add_bar(x=shares, y=labels, orientation="h", marker={"color": ACCENT}, hoverinfo="skip")
    figure.add_scatter(  # the intervals, over which the numbers stand at the right
        x=[x for low, high in ends for x in (low, high, None)],
        y=[y for label in labels for y in (label, label, None)],
        mode="lines",
        line={"width": 2},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[max(share, high) for share, (_, high) in zip(shares, ends, strict=True)],
        y=labels,
        mode="text",
        text=[f"  {_told(name, importances)}" for name in names],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    longest = max(high for _, high in ends)
    figure.update_xaxes(visible=False, range=[0, max(*shares, longest) * 1.25])
    figure.update_layout(showlegend=False)
    figure.update_yaxes(showgrid=False, ticksuffix="  ")
    return figure


def _told(name: str, importances: Importances) -> str:
    share, ends = importances.shares[name], importances.intervals.get(name)
    told = "<1%" if 0 < share < 0.005 else f"{share:.0%}"
    return told if ends is None else f"{told} ({100 * ends[0]:.0f} to {ends[1]:.0%})"


def parameter_slice(record: Record, parameter: Parameter, response: Response) -> go.Figure | None:
    """Draw the newest objective over one hyperparameter, in the trials that have it, and what a
    model expects in full."""
    figure = new_figure(parameter.name, "", record.spec.objective.metric, height=290)
    _set_parameter_axis(figure, parameter.distribution)
    points = [
        Point(trial, _place(parameter, trial), record.objective(trial))
        for trial in shown_trials(record)
        if parameter.name in trial.params
    ]
    if all(point.y is None for point in points):
        return None
    if (dependence := response.dependence(parameter.name)) is not None:
        add_dependence(figure, dependence)
    add_trials(figure, record, points, legend=False)
    best = record.best
    if best is not None and parameter.name in best.params:
        figure.add_scatter(
            x=[_place(parameter, best)],
            y=[record.objective(best)],
            mode="markers",
            marker={"symbol": "star", "size": 15},
            hoverinfo="skip",
            showlegend=False,
        )
    return figure


def early_stopping_rungs(record: Record) -> go.Figure | None:
    """Draw the objective at each epoch where trials were stopped: who went on, who did not."""
    epochs = [rung.epoch for rung in rungs(record)]
    if not epochs:
        return None
    columns = [*epochs, record.spec.max_epochs]
    points: dict[str, list[Point]] = {"stopped early": [], "completed": []}
    for column, epoch in enumerate(columns):
        for trial in shown_trials(record):
            curve = trial.metric(record.spec.objective.metric)
            if epoch in curve:
                stopped = trial.epochs == epoch and trial.stopped_by is not None
                place = Point(trial, column + jitter(trial.number), curve[epoch])
                points["stopped early" if stopped else "completed"].append(place)
    figure = new_figure(
        "Objective where trials were stopped", "epoch", record.spec.objective.metric
    )
    add_points(figure, record, points["stopped early"], "stopped early", "stopped here")
    add_points(figure, record, points["completed"], "completed", "went on")
    clip_outliers(figure, record, [p.y for group in points.values() for p in group])
    set_columns(figure, [*map(str, epochs), f"{columns[-1]} (full)"])
    return figure


def _drawings(
    record: Record, importances: Importances, response: Response
) -> dict[str, Callable[[], go.Figure | None]]:
    order = {name: place for place, name in enumerate(importances.shares)}
    parameters = sorted(
        record.space.parameters, key=lambda parameter: order.get(parameter.name, len(order))
    )
    valued = [trial for trial in record.trials if record.objective(trial) is not None]
    slices = {
        f"slice:{p.name}": partial(parameter_slice, record, p, response)
        for p in parameters
        if any(p.name in trial.params for trial in valued)
    }
    return {
        **pareto_figures(record),
        "objective": partial(objective_over_trials, record),
        "curves": partial(learning_curves, record),
        "importances": partial(importance_bars, importances),
        "interaction": partial(strongest_interaction, record, response, list(order)),
        "parallel": partial(parallel_coordinates, record, parameters),
        "rungs": partial(early_stopping_rungs, record),
        "reliability": partial(reliability_plot, record),
        **lr_range_drawings(record.lr_ranges or []),
        **dict(list(slices.items())[:MAX_SLICES]),
    }


def _curves(trials: Sequence[TrialRecord], metric: str, limit: int) -> dict[str, np.ndarray]:
    """Return the curves as one line with gaps, each of at most `limit` points."""
    x: list[float] = []
    y: list[float] = []
    for trial in trials:
        curve = list(trial.metric(metric).items())
        kept = np.unique(np.linspace(0, len(curve) - 1, min(limit, len(curve))).astype(int))
        x += [*(curve[i][0] for i in kept), math.nan]
        y += [*(curve[i][1] for i in kept), math.nan]
    return {"x": np.array(x), "y": np.array(y)}


def _epoch_axis(record: Record) -> dict[str, Any]:
    """Give the rounds of successive halving the same room: each is at least as long as all
    before it."""
    epochs = [rung.epoch for rung in rungs(record)]
    if not epochs or any(later < 2 * epoch for epoch, later in pairwise(epochs)):
        return _whole_ticks(1, max((trial.epochs for trial in record.trials), default=1))
    return {"type": "log", "tickvals": sorted({1, *epochs, record.spec.max_epochs})}


def _whole_ticks(low: float, high: float) -> dict[str, Any]:
    """Keep an axis of whole numbers from ticks between them, which a short one would get."""
    return {"dtick": 1} if high - low < _FEW_TICKS else {}


def _best_so_far(record: Record) -> tuple[list[int], list[float]]:
    better = max if record.spec.objective.direction == "maximize" else min
    numbers: list[int] = []
    values: list[float] = []
    for trial in record.trials:
        value = record.objective(trial)
        competes = trial.outcome is Outcome.COMPLETED and not record.broken(trial)
        if competes and value is not None:
            numbers.append(trial.number)
            values.append(better([value, *values[-1:]]))
    if numbers:
        numbers.append(len(record.trials) - 1)
        values.append(values[-1])
    return numbers, values


def _place(parameter: Parameter, trial: TrialRecord) -> float:
    """Where a trial stands on a parameter's axis; a choice is a column."""
    place = float(parameter.distribution.to_internal_repr(trial.params[parameter.name]))
    is_column = isinstance(parameter.distribution, CategoricalDistribution)
    return place + jitter(trial.number) if is_column else place


def _set_parameter_axis(figure: go.Figure, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        set_columns(figure, [wrap_name(show(choice)) for choice in distribution.choices])
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high = math.log10(low), math.log10(high)
        figure.update_xaxes(type="log")
        if isinstance(distribution, PowersOfTwo):
            figure.update_xaxes(tickvals=powers_of_two(distribution.low, distribution.high))
        elif high - low > 1.5:  # else a tick a power of ten would leave hardly any
            figure.update_xaxes(dtick=1)
        if low < -2:
            figure.update_xaxes(tickformat=".0e")  # 1e-4, as in a spec
    elif isinstance(distribution, IntDistribution):
        figure.update_xaxes(**_whole_ticks(low, high))
    pad = 0.04 * (high - low)
    figure.update_xaxes(range=[low - pad, high + pad])
