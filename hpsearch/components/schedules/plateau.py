"""The schedule that lowers the rate when a metric stops getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge

from hpsearch.components.monitored_metric import Mode, Watched, sign_of, watched
from hpsearch.components.schedules.progress import Fraction, Gamma, Progress, Schedule
from hpsearch.registry import KerasDefault, Recommended, register


class Plateau:
    """Times gamma after more than `patience` epochs without a better metric."""

    def __init__(
        self,
        metric: str,
        sign: float,
        gamma: float,
        patience: int,
        threshold: float,
        min_factor: float,
    ) -> None:
        self._metric, self._sign = metric, sign
        self._gamma, self._patience, self._threshold = gamma, patience, threshold
        self._min_factor = min_factor
        self._factor, self._best, self._num_bad = 1.0, math.inf, 0

    def __call__(self, progress: Progress) -> float:
        """Return the factor of the learning rate."""
        return self._factor

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of an epoch."""
        found = watched(metrics, self._metric)
        if found is None:
            return
        value = self._sign * found
        if value < self._best - self._threshold * abs(self._best) or math.isinf(self._best):
            self._best, self._num_bad = value, 0
            return
        self._num_bad += 1
        if self._num_bad > self._patience:
            self._factor = max(self._factor * self._gamma, self._min_factor)
            self._num_bad = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen."""
        return {"factor": self._factor, "best": self._best, "num_bad": self._num_bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._factor, self._best = state["factor"], state["best"]
        self._num_bad = state["num_bad"]


@register("lr_schedule", "plateau")
def plateau(
    metric: Watched = "val_loss",
    mode: Mode | None = None,
    factor: Gamma = 0.1,
    patience: Annotated[int, Ge(0), Recommended(1, 10), KerasDefault(9)] = 10,
    threshold: Annotated[float, Ge(0)] = 1e-4,
    min_factor: Fraction = 0.0,
) -> Schedule:
    """Times `factor` when a metric hasn't got better for more than `patience` epochs.

    torch's ReduceLROnPlateau: better is by a part `threshold` of the best. Keras counts from one
    epoch earlier, and takes its threshold as an amount. `mode` is min for losses, else max.
    """
    return Plateau(metric, sign_of(metric, mode), factor, patience, threshold, min_factor)
