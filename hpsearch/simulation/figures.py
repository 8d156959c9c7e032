"""What simulations found, as a table and as figures: quality against time and against budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.style import LINES, new_figure
from hpsearch.formatting import show, show_seconds
from hpsearch.simulation.compare import Reached, Simulated
from hpsearch.simulation.simulate import Better
from hpsearch.spec import Objective

#: of lines, once all colours are used
DASHES = ("solid", "dash", "dot")
#: opacity of a band, as hexadecimal digits of a colour
_BAND = "26"
BY_TIME, BY_EPOCHS = "best_by_time", "best_by_epochs"


def results_table(
    results: Sequence[Simulated], levels: Sequence[float], objective: Objective
) -> Table:
    """Return a row for each simulated search: medians, and time and epochs to each quality."""
    sign = "≥" if objective.direction == "maximize" else "≤"
    reach = (f"{sign} {show(float(level))}" for level in levels)
    names = (path.rpartition(".")[2] for path in results[0].settings)
    header = *names, "workers", "trials", "in full", "epochs", "time", "best", *reach
    return Table(header, as_rows(map(_row, results)))


def results_sections(
    results: Sequence[Simulated], levels: Sequence[float], objective: Objective
) -> list[Section]:
    """Return the sections of a page."""
    told = (
        f"Lines are medians over seeds of the best `{objective.metric}` of a trial trained in "
        "full, bands hold all seeds. A line begins where each seed has such a trial."
    )
    table = results_table(results, levels, objective)
    return [
        Section("Quality against time and budget", (told,), (BY_TIME, BY_EPOCHS)),
        Section("Medians, and time and epochs to each quality", (table,)),
    ]


def results_figures(results: Sequence[Simulated], objective: Objective) -> dict[str, go.Figure]:
    """Draw the best so far over the time and over the epochs of all trials."""
    time = _best_so_far(
        results,
        "Best by time",
        "seconds since the start of the search",
        objective,
        lambda b: b.seconds,
        lambda s: s.seconds,
    )
    epochs = _best_so_far(
        results,
        "Best by budget",
        "epochs of all trials",
        objective,
        lambda b: b.epochs,
        lambda s: s.epochs,
    )
    return {BY_TIME: time, BY_EPOCHS: epochs}


def _best_so_far(
    results: Sequence[Simulated],
    title: str,
    axis: str,
    objective: Objective,
    used: Callable[[Better], float],
    used_in_all: Callable[[Simulated], float],
) -> go.Figure:
    figure = new_figure(title, axis, objective.metric)
    figure.update_xaxes(type="log")
    figure.update_layout(showlegend=True)
    for number, each in enumerate(results):
        if not all(each.better):
            continue  # a seed completed no trial
        at, values = _by_seed(each.better, used, used_in_all(each))
        color, dash = LINES[number % len(LINES)], DASHES[number // len(LINES) % len(DASHES)]
        line = {"color": color, "shape": "hv"}
        group = {"legendgroup": str(number), "hoverinfo": "skip", "showlegend": False}
        edge = {"mode": "lines", "line": {"shape": "hv", "width": 0}, **group}
        figure.add_scatter(x=at, y=values.min(axis=0), **edge)
        figure.add_scatter(
            x=at, y=values.max(axis=0), fill="tonexty", fillcolor=f"{color}{_BAND}", **edge
        )
        figure.add_scatter(
            x=at,
            y=np.median(values, axis=0),
            mode="lines",
            line={**line, "dash": dash, "width": 2},
            name=_label(each),
            legendgroup=str(number),
        )
    return figure


def _by_seed(
    better: Sequence[Sequence[Better]], used: Callable[[Better], float], end: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where a value changes, and each seed's best there, (num_seeds, num_changes).

    It begins where each seed has a value, and goes to `end`, or to the last change.
    """
    first = max(used(found[0]) for found in better)
    changes = {used(each) for found in better for each in found} | {end}
    at = np.array(sorted(change for change in changes if change >= first))
    values = []
    for found in better:
        newest = np.searchsorted([used(each) for each in found], at, side="right") - 1
        values.append(np.array([each.value for each in found])[newest])
    return at, np.array(values)


def _row(each: Simulated) -> tuple[str, ...]:
    counts = (f"{number:g}" for number in (each.trials, each.trained_in_full, each.epochs))
    best = "none" if each.best is None else show(each.best)
    reached = map(_reached, each.reached)
    varied = each.settings.values()
    return *varied, str(each.workers), *counts, show_seconds(each.seconds), best, *reached


def _reached(reached: Reached) -> str:
    if reached.seconds is None:
        return "never"
    return f"{show_seconds(reached.seconds)}, {reached.epochs:g}"


def _label(each: Simulated) -> str:
    """`reduction_factor 3, 8 workers`."""
    varied = [f"{path.rpartition('.')[2]} {value}" for path, value in each.settings.items()]
    workers = f"{each.workers} worker" if each.workers == 1 else f"{each.workers} workers"
    return ", ".join([*varied, workers])
