"""Pictures of what a model expects: partial dependences, and the strongest interaction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution

from hpsearch.analysis.response import Dependence, Response
from hpsearch.analysis.style import new_figure
from hpsearch.formatting import show
from hpsearch.record import Record
from hpsearch.samplers.unit_cube import Array, value_at
from hpsearch.space import Parameter

_LINE = "#14b8a6"
_BAND = "rgba(20, 184, 166, 0.18)"


def add_dependence(figure: go.Figure, dependence: Dependence) -> None:
    """Draw a line with a band of 90 % under what the figure gets later; over choices, bars."""
    quiet = {"hoverinfo": "skip", "showlegend": False}
    if isinstance(dependence.parameter.distribution, CategoricalDistribution):
        half = {"array": dependence.high - dependence.mean, "color": _LINE, "width": 8}
        dash = {"symbol": "line-ew", "size": 22, "line": {"color": _LINE, "width": 3}}
        x = np.arange(len(dependence.mean))
        figure.add_scatter(
            x=x, y=dependence.mean, mode="markers", marker=dash, error_y=half, **quiet
        )
        return
    edge = {"mode": "lines", "line": {"width": 0}, **quiet}
    values = dependence.values
    figure.add_scatter(x=values, y=dependence.low, **edge)
    figure.add_scatter(x=values, y=dependence.high, fill="tonexty", fillcolor=_BAND, **edge)
    line = {"color": _LINE, "width": 2}
    figure.add_scatter(x=values, y=dependence.mean, mode="lines", line=line, **quiet)


def strongest_interaction(
    record: Record, response: Response, names: Sequence[str]
) -> go.Figure | None:
    """Draw what a model expects over the two hyperparameters that interact most."""
    found = response.interactions(names)
    if not found:
        return None
    first, second = found[0].parameters
    title = f"Interaction of {first.name} and {second.name}"
    figure = new_figure(title, first.name, second.name, height=420)
    x, y = (_labels(*each) for each in zip((first, second), found[0].coordinates, strict=True))
    figure.add_heatmap(
        x=np.arange(len(x)),
        y=np.arange(len(y)),
        z=found[0].mean.T,
        colorscale="Viridis",
        reversescale=record.spec.objective.direction == "minimize",
        colorbar={
            "title": {"text": record.spec.objective.metric, "side": "top"},
            "orientation": "h",  # a phone has no room at the side
            "thickness": 12,
            "outlinewidth": 0,
        },
        hovertemplate="%{z:.4g}<extra></extra>",
    )
    figure.update_xaxes(tickvals=list(range(len(x))), ticktext=x, showgrid=False)
    figure.update_yaxes(tickvals=list(range(len(y))), ticktext=y, showgrid=False)
    return figure


def _labels(parameter: Parameter, coordinates: Array) -> list[str]:
    return [show(value_at(parameter.distribution, float(each))) for each in coordinates]
