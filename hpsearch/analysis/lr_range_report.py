"""Range tests of the learning rate in reports: a figure an optimizer, a table, a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go

from hpsearch.analysis.blocks import Section, Table
from hpsearch.analysis.lr_range import read_lr_range, smoothed
from hpsearch.analysis.style import LINES, new_figure
from hpsearch.formatting import show
from hpsearch.record import LrCurve, LrRangeNote

#: prefix of the names of the figures
FIGURE = "lr_range"
#: of the fall of the loss, above its first level: more of a divergence isn't shown
SHOWN_RISE = 0.3
_DASHES = ("solid", "dot", "dash", "dashdot")


def lr_range_drawings(notes: Sequence[LrRangeNote]) -> dict[str, Callable[[], go.Figure]]:
    """Return what draws the figure of each optimizer's tests, by `lr_range:NAME`."""
    drawn = (note for note in notes if note.curves)
    return {f"{FIGURE}:{note.name}": partial(lr_range_figure, note) for note in drawn}


def lr_range_figures(notes: Sequence[LrRangeNote]) -> dict[str, go.Figure]:
    """Return the figure of each optimizer's tests, by `lr_range:NAME`."""
    return {name: draw() for name, draw in lr_range_drawings(notes).items()}


def lr_range_figure(note: LrRangeNote) -> go.Figure:
    """Draw the loss over the learning rate, as measured and smoothed, and the range."""
    figure = new_figure(f"Range test of {note.name}", "learning rate", "training loss", height=420)
    lows, highs = [], []
    for number, curve in enumerate(note.curves):
        dash = _DASHES[number // len(LINES) % len(_DASHES)]
        line = {"color": LINES[number % len(LINES)], "dash": dash}
        rates, losses = np.array(curve.rates), np.array(curve.losses)
        level = smoothed(losses)
        figure.add_scatter(
            x=rates,
            y=losses,
            mode="lines",
            line={**line, "width": 1},
            opacity=0.25,
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=rates, y=level, mode="lines", line={**line, "width": 2}, name=label_of(curve)
        )
        fall = float(level[0] - level.min())
        lows.append(float(level.min()) - 0.1 * fall)
        highs.append(float(level[0]) + SHOWN_RISE * fall)
    if note.is_found:
        figure.add_vrect(x0=note.low, x1=note.high, fillcolor=LINES[0], opacity=0.12, line_width=0)
    figure.update_xaxes(type="log", dtick=1, tickformat=".0e")
    figure.update_yaxes(range=[min(lows), max(highs)])
    return figure


def lr_range_section(notes: Sequence[LrRangeNote] | None) -> list[Section]:
    """Return what range tests found, if there were any."""
    if not notes:
        return []
    rows = [
        (f"`{note.name}`", label_of(curve), *_rates(curve))
        for note in notes
        for curve in note.curves
    ]
    header = ("optimizer", "test", "fastest fall", "least loss", "a tenth of it", "turns up")
    texts = [f"`{note.name}`{str(note).removeprefix(note.name)}." for note in notes]
    table = [Table(header, tuple(rows))] if rows else []
    return [Section("Learning-rate range test", (*texts, *table), (FIGURE,))]


def label_of(curve: LrCurve) -> str:
    """`batch size 64, weight decay 0.0001`."""
    told = [f"{name.replace('_', ' ')} {show(value)}" for name, value in curve.settings.items()]
    return ", ".join(told)


def _rates(curve: LrCurve) -> tuple[str, str, str, str]:
    verdict = read_lr_range(curve.rates, curve.losses)
    if verdict is None:
        return "nowhere", "–", "–", "–"
    diverges = "–" if verdict.diverges is None else f"{verdict.diverges:.2g}"
    steepest, minimum = f"{verdict.steepest:.2g}", f"{verdict.minimum:.2g}"
    return steepest, minimum, f"{verdict.suggested:.2g}", diverges
