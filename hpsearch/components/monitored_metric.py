"""A metric that a schedule or a callback looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from hpsearch.errors import BadConfigurationError, nearest_names
from hpsearch.registry import MetricName

Watched = Annotated[str, MetricName()]
Mode = Literal["min", "max"]


def watched(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a metric; None for one of validation where nothing is validated, as in a refit.

    Raises BadConfigurationError for a name that no epoch reports.
    """
    if name.startswith("val_") and not any(known.startswith("val_") for known in metrics):
        return None
    check_watched(name, metrics)
    return metrics[name]


def check_watched(name: str, metrics: Iterable[str]) -> None:
    """Raise BadConfigurationError for a metric that is none of those that every epoch reports."""
    known = list(metrics)
    if name not in known:
        rule = f"must be a metric of every epoch ({', '.join(known)})"
        near = nearest_names(name, known)
        raise BadConfigurationError(rule, name, keyword="metric", nearest=near)


def sign_of(name: str, mode: Mode | None) -> float:
    """Return the factor that makes less better: losses are minimised unless `mode` says."""
    is_loss = name.endswith("loss") if mode is None else mode == "min"
    return 1.0 if is_loss else -1.0
