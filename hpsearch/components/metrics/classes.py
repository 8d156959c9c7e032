"""Scores of answers, by scikit-learn; of soft targets the likeliest class counts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from hpsearch.components.metrics.base import Metric, Predictions
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register


@register("metric", "balanced_accuracy")
def balanced_accuracy() -> Metric:
    """The mean of the classes' recalls, over the classes that are there."""

    def measure(seen: Predictions) -> float:
        return float(np.mean([recall for recall in _recalls(seen) if recall is not None]))

    return Metric.single("balanced_accuracy", measure, needs_probabilities=False)


@register("metric", "recall_per_class")
def recall_per_class(output_size: int) -> Metric:
    """The recall of each class, as `recall_0`, `recall_1` and so on."""
    names = tuple(f"recall_{number}" for number in range(output_size))
    return Metric(names, _recalls, needs_probabilities=False)


@register("metric", "f1")
def f1(average: Literal["macro", "micro", "weighted"] = "macro") -> Metric:
    """2 precision recall / (precision + recall) of each class, averaged, as `f1_macro` …

    `micro` adds up all classes first, which here is the accuracy; a class that is neither there
    nor answered counts 0.
    """

    def measure(seen: Predictions) -> float:
        classes = {"labels": np.arange(seen.outputs.shape[1]), "zero_division": 0.0}
        score = _sklearn().f1_score(seen.classes, seen.answers, average=average, **classes)
        return float(score)

    return Metric.single(f"f1_{average}", measure, needs_probabilities=False)


@register("metric", "mcc")
def mcc() -> Metric:
    """Matthews' correlation of answers and classes, from -1 to 1; 0 for a constant answer."""

    def measure(seen: Predictions) -> float:
        return float(_sklearn().matthews_corrcoef(seen.classes, seen.answers))

    return Metric.single("mcc", measure, needs_probabilities=False)


@register("metric", "top_k_accuracy")
def top_k_accuracy(output_size: int, k: Annotated[int, Ge(1)] = 3) -> Metric:
    """The share of rows whose class is among the k likeliest, as `top_3_accuracy`."""
    if k >= output_size:
        raise BadConfigurationError(
            f"top_k_accuracy needs a k below the {output_size} classes", k, keyword="k"
        )

    def measure(seen: Predictions) -> float:
        rank = (seen.outputs > _of_class(seen)[:, None]).sum(1)
        return float((rank < k).mean())

    return Metric.single(f"top_{k}_accuracy", measure, needs_probabilities=False)


def _of_class(seen: Predictions) -> Any:
    return np.take_along_axis(seen.outputs, seen.classes[:, None], 1)[:, 0]


def _recalls(seen: Predictions) -> list[float | None]:
    classes = {"labels": np.arange(seen.outputs.shape[1]), "zero_division": np.nan}
    found = _sklearn().recall_score(seen.classes, seen.answers, average=None, **classes)
    return [None if np.isnan(recall) else float(recall) for recall in found]


def _sklearn() -> Any:
    import sklearn.metrics

    return sklearn.metrics
