"""How figures look: the colour and the symbol of each outcome, the light and the dark theme."""

from __future__ import annotations

import html

import plotly.graph_objects as go

from hpsearch.analysis.endings import ending_label
from hpsearch.formatting import show, show_count
from hpsearch.record import Record, TrialRecord

ACCENT = "#3b82f6"
#: of lines that are compared, readable on both themes
LINES = (ACCENT, "#f59e0b", "#14b8a6", "#db2777", "#a855f7", "#94a3b8")
#: colour and symbol of an outcome, in the order in which they are drawn; readable on both themes,
#: and told apart by the colour-blind by their symbols too
OUTCOMES = {
    "stopped early": ("#94a3b8", "circle"),
    "cancelled": ("#a8a29e", "circle-open"),
    "running": ("#14b8a6", "circle-open"),
    "completed": (ACCENT, "circle"),
    "diverged": ("#f59e0b", "x-thin-open"),
    "out of memory": ("#a855f7", "square-open"),
    "bad configuration": ("#db2777", "diamond-open"),
    "failed": ("#ef4444", "cross-thin-open"),
}
_MAX_HOVER_LINES = 14
_LEGEND_BELOW = {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"}


def _theme(ink: str, muted: str, grid: str, paper: str) -> go.layout.Template:
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "zerolinewidth": 1,
        "tickfont": {"color": muted},
        "title": {"standoff": 8},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            # Traces without a colour of their own (the best) get the ink of the theme.
            "colorway": [ink],
            "font": {"family": "system-ui, -apple-system, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": paper,
            "plot_bgcolor": paper,
            "title": {"x": 0, "xanchor": "left", "pad": {"l": 4}, "font": {"size": 15}},
            "hoverlabel": {"align": "left", "bgcolor": paper, "bordercolor": muted},
            "xaxis": axis,
            "yaxis": axis,
            "legend": _LEGEND_BELOW,
            "margin": {"l": 12, "r": 12, "t": 44, "b": 12},
            "hovermode": "closest",
        }
    )


THEMES = {
    "light": _theme(ink="#1f2937", muted="#6b7280", grid="#e5e7eb", paper="#ffffff"),
    "dark": _theme(ink="#e5e7eb", muted="#9ca3af", grid="#30363d", paper="#161b22"),
}


def new_figure(title: str, x: str, y: str, height: int = 380) -> go.Figure:
    """Return an empty figure with a title and titled axes, of plain texts."""
    return go.Figure(
        layout={
            "template": THEMES["light"],
            "title": {"text": html.escape(title)},
            "xaxis": {"title": {"text": html.escape(x)}} if x else {},
            "yaxis": {"title": {"text": html.escape(y)}} if y else {},
            "height": height,
        }
    )


def describe(record: Record, trial: TrialRecord) -> str:
    """Return what is shown when a trial is pointed at, as Plotly's HTML."""
    found = [(each.metric, trial.last(each.metric)) for each in record.spec.all_objectives]
    result = ", ".join(
        f"no {metric}" if value is None else f"{metric} {show(value)}" for metric, value in found
    )
    lines = [
        f"<b>trial {trial.number}</b> · {html.escape(ending_label(trial))}",
        html.escape(f"{result} after {show_count(trial.epochs, 'epoch')}"),
    ]
    params = [html.escape(f"{name} = {show(value)}") for name, value in trial.params.items()]
    if len(params) > _MAX_HOVER_LINES:
        params[_MAX_HOVER_LINES:] = [f"… and {len(params) - _MAX_HOVER_LINES} more"]
    return "<br>".join([*lines, *params])


def wrap_name(name: str) -> str:
    """Break a long dotted name before its last part, for a narrow axis.

    >>> wrap_name("optimizer.adamw.weight_decay")
    'optimizer.adamw.<br>weight_decay'
    """
    head, dot, tail = name.rpartition(".")
    name = f"{head}{dot}\n{tail}" if dot and len(name) > 18 else name
    return html.escape(name).replace("\n", "<br>")
