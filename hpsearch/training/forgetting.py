"""What fine-tuning on a subset makes a model forget of the other rows."""

from __future__ import annotations

from collections.abc import Mapping

from hpsearch.components.monitored_metric import check_watched, sign_of
from hpsearch.components.tasks import Task

FORGETTING = "forgetting"


class ForgettingMeter:
    """Compares a metric of the rest with what it was before the first step.

    Without a name the metric is the task's first that isn't a loss, such as accuracy or R².
    """

    def __init__(self, task: Task, metric: str | None) -> None:
        others = [name for name in task.metrics if not name.endswith("loss")]
        name = metric or (others or list(task.metrics))[0]
        check_watched(name, task.metrics)
        self._metric, self._sign = f"rest_{name}", sign_of(name, None)
        self.before: float | None = None

    def begin(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of the rest before training."""
        self.before = metrics[self._metric]

    def measure(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics of the rest, and by how much they are worse than before."""
        assert self.before is not None
        worse = self._sign * (metrics[self._metric] - self.before)
        return {**metrics, FORGETTING: worse}
