"""What user code reports, as metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch

from hpsearch.errors import DivergedError, UserCodeError, nearest_names
from hpsearch.outcome import CheckWarning
from hpsearch.spec import METRIC_NAME_RULE, is_metric_name


def read_metrics(report: Any, epoch: int) -> dict[str, float]:
    """Turn what user code reports into metrics; DivergedError for one that isn't finite."""
    metrics = read_numbers(report, epoch)
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} at epoch {epoch}")
    return metrics


def read_numbers(report: Any, epoch: int) -> dict[str, float]:
    """Turn what user code reports into numbers; numpy's and torch's scalars are numbers too.

    >>> read_numbers({"loss": np.float32(0.5)}, epoch=1)
    {'loss': 0.5}
    """
    place = f"the report of epoch {epoch}"
    if not isinstance(report, Mapping):
        raise UserCodeError(f"{place}: must map names to numbers, but got {report!r}")
    metrics = {name: _number(name, value, place) for name, value in report.items()}
    if metrics.get("epoch", epoch) != epoch:
        rule = f"{place}: its 'epoch' must be {epoch}"
        raise UserCodeError(f"{rule} (epochs count from 1), but got {metrics['epoch']:g}")
    metrics.pop("epoch", None)
    return metrics


class Objective:
    """The objective in the reports of a trial; one that lacks it gets the last value."""

    def __init__(self, metric: str | None) -> None:
        self.last: float | None = None
        self._metric = metric
        self._seen: set[str] = set()
        self._is_said = False

    def fill_in(self, metrics: dict[str, float], epoch: int) -> CheckWarning | None:
        """Complete a report; returns what to say of that, the first time.

        Before the objective has come there is nothing to fill in.
        """
        if self._metric is None:
            return None
        self._seen |= metrics.keys()
        if self._metric in metrics:
            self.last = metrics[self._metric]
            return None
        if self.last is not None:
            metrics[self._metric] = self.last
        return self._first_lack(epoch)

    def require(self, place: str) -> None:
        """Raise UserCodeError if the objective never came."""
        if self._metric is None or self.last is not None:
            return
        got = ", ".join(map(repr, sorted(self._seen))) or "nothing"
        nearest = nearest_names(self._metric, sorted(self._seen))
        rule = f"{place}: no report held the objective {self._metric!r}, only {got}"
        raise UserCodeError(rule, nearest=nearest)

    def _first_lack(self, epoch: int) -> CheckWarning | None:
        if self._is_said:
            return None
        self._is_said = True
        fact = f"the report of epoch {epoch} lacks the objective {self._metric!r}"
        return CheckWarning("report", f"{fact}: the last value is used, once there is one")


def _number(name: Any, value: Any, place: str) -> float:
    if not is_metric_name(name):
        raise UserCodeError(f"{place}: a metric's name {METRIC_NAME_RULE}, but got {name!r}")
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise UserCodeError(f"{place}: {name} must be a number, but got {value!r}")
    return float(value)
