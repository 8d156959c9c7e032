"""The learning curves as a still picture, for readers without JavaScript."""

from __future__ import annotations

import math

from markupsafe import Markup

from hpsearch.analysis.frames import outcome_label, show
from hpsearch.analysis.scatter import shown_trials
from hpsearch.record import Record

WIDTH, HEIGHT = 640, 260
#: points of all curves together, so that a page stays small
MAX_POINTS = 6000
_MARGIN = 24


def curves_svg(record: Record) -> Markup:
    """Return the objective of each trial by epoch as SVG; empty where there is none.

    The epochs are on a logarithmic axis. The worst hundredth of the values is cut off, so that a
    few huge losses don't flatten the rest.
    """
    metric = record.spec.objective.metric
    curves = [(trial, trial.metric(metric)) for trial in shown_trials(record)]
    values = sorted(value for _, curve in curves for value in curve.values())
    if not values:
        return Markup("")
    low, high, worst = values[0], values[-1], len(values) // 100
    if record.spec.objective.direction == "maximize":
        low = values[worst]
    else:
        high = values[-1 - worst]
    last = max(2, max(epoch for _, curve in curves for epoch in curve))
    step = math.ceil(len(values) / MAX_POINTS)

    def point(epoch: int, value: float) -> str:
        x = _MARGIN + (WIDTH - 2 * _MARGIN) * math.log(epoch) / math.log(last)
        share = (value - low) / ((high - low) or 1.0)
        y = HEIGHT - _MARGIN - (HEIGHT - 2 * _MARGIN) * min(max(share, 0.0), 1.0)
        return f"{x:.1f},{y:.1f}"

    lines = [
        Markup('<polyline class="{}" points="{}"/>').format(
            outcome_label(trial.outcome).replace(" ", "-"),
            " ".join(point(*entry) for entry in [*curve.items()][::-step][::-1]),
        )
        for trial, curve in curves
        if curve
    ]
    label = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    labels = [
        label.format(2, 14, "start", f"{metric} {show(high)}"),
        label.format(2, HEIGHT - 8, "start", f"{show(low)}, epoch 1"),
        label.format(WIDTH - 2, HEIGHT - 8, "end", f"epoch {last}"),
    ]
    return Markup(
        '<svg class="still" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(
        WIDTH, HEIGHT, f"{metric} of {len(lines)} trials by epoch", Markup("").join(lines + labels)
    )
