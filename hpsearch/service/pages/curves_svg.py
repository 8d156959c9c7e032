"""The learning curves as a still picture, for readers without JavaScript."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from hpsearch.analysis.scatter import shown_trials
from hpsearch.formatting import show, show_count, show_outcome
from hpsearch.record import Record

WIDTH, HEIGHT = 640, 260
#: points of all curves together, so that a page stays small
MAX_POINTS = 6000
_MARGIN = 24


@dataclass(frozen=True)
class _Axes:
    """The objective from `low` to `high`, over the epochs from 1 to `last`, logarithmic."""

    low: float
    high: float
    last: int

    def point(self, epoch: int, value: float) -> str:
        x = _MARGIN + (WIDTH - 2 * _MARGIN) * math.log(epoch) / math.log(self.last)
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        y = HEIGHT - _MARGIN - (HEIGHT - 2 * _MARGIN) * min(max(share, 0.0), 1.0)
        return f"{x:.1f},{y:.1f}"

    def labels(self, metric: str) -> Markup:
        text = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
        below = HEIGHT - 8
        return (
            text.format(2, 14, "start", f"{metric} {show(self.high)}")
            + text.format(2, below, "start", f"{show(self.low)}, epoch 1")
            + text.format(WIDTH - 2, below, "end", f"epoch {self.last}")
        )


def curves_svg(record: Record) -> Markup:
    """Return the objective of each trial by epoch as SVG; empty where there is none."""
    metric = record.spec.objective.metric
    found = [(trial, trial.metric(metric)) for trial in shown_trials(record)]
    curves = [(trial, curve) for trial, curve in found if curve]
    if not curves:
        return Markup("")
    axes = _axes(record, [curve for _, curve in curves])
    step = math.ceil(sum(len(curve) for _, curve in curves) / MAX_POINTS)
    line = Markup('<polyline class="{}" points="{}"/>')
    lines = Markup("").join(
        line.format(
            show_outcome(trial.outcome).replace(" ", "-"),
            " ".join(axes.point(*entry) for entry in list(curve.items())[::-step]),
        )
        for trial, curve in curves
    )
    picture = Markup('<svg class="still" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    title = f"{metric} of {show_count(len(curves), 'trial')} by epoch"
    return picture.format(WIDTH, HEIGHT, title, lines + axes.labels(metric))


def _axes(record: Record, curves: list[dict[int, float]]) -> _Axes:
    """Cut off the worst hundredth of the values: a few huge losses must not flatten the rest."""
    values = sorted(value for curve in curves for value in curve.values())
    last = max(2, max(epoch for curve in curves for epoch in curve))
    worst = len(values) // 100
    if record.spec.objective.direction == "maximize":
        return _Axes(values[worst], values[-1], last)
    return _Axes(values[0], values[-1 - worst], last)
