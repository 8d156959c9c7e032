"""Scores of a regression, in the targets' units."""

from __future__ import annotations

import numpy as np

from hpsearch.components.metrics.base import Metric, Predictions
from hpsearch.registry import register


@register("metric", "mae")
def mae() -> Metric:
    """Mean absolute error; the mean over targets."""
    return Metric.single("mae", _mae, ("regression",), needs_probabilities=False)


@register("metric", "rmse")
def rmse() -> Metric:
    """Root of the mean squared error; the mean over targets."""
    return Metric.single("rmse", _rmse, ("regression",), needs_probabilities=False)


def _mae(seen: Predictions) -> float:
    return float(np.abs(seen.outputs - seen.targets).mean())


def _rmse(seen: Predictions) -> float:
    return float(np.sqrt(((seen.outputs - seen.targets) ** 2).mean(0)).mean())
