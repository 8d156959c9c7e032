"""The reliability plot of a calibrated model (Murphy & Winkler, 1977)."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpsearch.analysis.style import ACCENT, OUTCOMES, new_figure
from hpsearch.record import Record

_COLOURS = {"before": OUTCOMES["stopped early"][0], "after": ACCENT}
#: diameter of the mark of a bin that holds all rows
_LARGEST = 24


def reliability_plot(record: Record) -> go.Figure | None:
    """Draw accuracy over confidence on the test split, before and after the calibration."""
    calibration = record.result.get("calibration") or {}
    if "after" not in calibration:
        return None
    figure = new_figure("Reliability", "confidence", "accuracy")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "width": 1}, name="calibrated"
    )
    for name, colour in _COLOURS.items():
        figure.add_scatter(**_bins(calibration[name]["bins"]), name=name, line={"color": colour})
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[-0.02, 1.02])
    return figure


def _bins(bins: dict[str, list[float]]) -> dict[str, Any]:
    """A mark a bin, whose area is its share of the rows."""
    return {
        "x": bins["confidence"],
        "y": bins["accuracy"],
        "mode": "lines+markers",
        "cliponaxis": False,
        "marker": {"size": [4 + _LARGEST * share**0.5 for share in bins["share"]]},
        "text": [f"{share:.0%} of the rows" for share in bins["share"]],
        "hovertemplate": "confidence %{x:.3f}<br>accuracy %{y:.3f}<br>%{text}",
    }
