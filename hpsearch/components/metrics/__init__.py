"""Metrics by name, for the `metrics` keyword of tasks: scores of all rows of a split at once.

A factory gets `output_size` and `class_counts` and returns a `Metric`. scikit-learn, which many
come from, is imported where it is used: it takes seconds, and every worker imports this module.
"""

from __future__ import annotations

from hpsearch.components.metrics import classes, probabilities, ranking, regression
from hpsearch.components.metrics.base import METRICS, Metric, MetricSections, Predictions
from hpsearch.components.metrics.bins import Bins, equal_mass_bins, equal_width_bins

__all__ = [
    "METRICS",
    "Bins",
    "Metric",
    "MetricSections",
    "Predictions",
    "classes",
    "equal_mass_bins",
    "equal_width_bins",
    "probabilities",
    "ranking",
    "regression",
]
