"""Scores of an order, by scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hpsearch.components.data import Kind
from hpsearch.components.metrics.base import Metric, Predictions
from hpsearch.registry import register


@register("metric", "roc_auc")
def roc_auc(multi_class: Literal["ovr", "ovo"] = "ovr") -> Metric:
    """P(score+ > score-) + ties / 2, the mean over classes or labels; `roc_auc_ovo` over pairs.

    Of two classes the second is +. It isn't reported where a class has no rows (Hand & Till, 2001,
    for pairs).
    """
    if multi_class == "ovo":
        return Metric.single("roc_auc_ovo", _one_vs_one)
    both: tuple[Kind, ...] = ("classification", "multilabel")
    return Metric.single("roc_auc", _one_vs_rest, both, needs_probabilities=False)


def _one_vs_rest(seen: Predictions) -> float | None:
    from sklearn.metrics import roc_auc_score

    if seen.kind == "multilabel":
        members, scores = seen.targets > 0.5, seen.outputs
    else:
        members = seen.classes[:, None] == np.arange(seen.outputs.shape[1])
        scores = seen.outputs
    if seen.kind == "classification" and members.shape[1] == 2:
        members, scores = members[:, 1:], scores[:, 1:] - scores[:, :1]
    if not (members.any(0) & ~members.all(0)).all():
        return None
    return float(roc_auc_score(members, scores, average="macro"))


def _one_vs_one(seen: Predictions) -> float | None:
    from sklearn.metrics import roc_auc_score

    if len(np.unique(seen.classes)) < seen.outputs.shape[1]:
        return None
    if seen.outputs.shape[1] == 2:
        return _one_vs_rest(seen)
    return float(roc_auc_score(seen.classes, seen.outputs, multi_class="ovo"))
