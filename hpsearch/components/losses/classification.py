"""Losses of probabilities, for targets that are class numbers or shares of classes.

Shares, float (rows, classes), may come from the data (soft labels) or from mixup. Each loss is
linear in them or, as the Brier score, a proper score of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from annotated_types import Gt, Interval
from torch import Tensor

from hpsearch.components.batch import IGNORED
from hpsearch.components.data import Kind
from hpsearch.components.losses.base import Loss, class_shares
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Smoothing = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.2)]


class CrossEntropy(Loss):
    """-sum t log softmax(z), t smoothed towards 1 / classes and weighted by class."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)
    heads: ClassVar[tuple[str, ...]] = ("softmax",)

    label_smoothing: Tensor
    class_weights: Tensor

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] = ()) -> None:
        super().__init__()
        #: a program that is shared with other rates sets it
        self.active = label_smoothing > 0 or len(class_weights) > 0
        self._set_constants(label_smoothing=label_smoothing, class_weights=class_weights or 1.0)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows that aren't IGNORED; weights aren't divided by their sum
        over the batch."""
        if not self.active:  # one fused call, which also takes shares
            return F.cross_entropy(outputs, targets)
        num_classes = outputs.shape[-1]
        shares = class_shares(targets, outputs)
        shares = shares + self.label_smoothing * (1 / num_classes - shares)
        losses = -(self.class_weights * shares * outputs.log_softmax(-1)).sum(-1)
        if targets.shape != losses.shape:  # shares
            return losses.mean()
        counts = targets != IGNORED
        return (losses * counts).sum() / counts.sum()


class SoftCrossEntropy(CrossEntropy):
    """Cross entropy for data with soft labels only."""

    needs_soft_targets: ClassVar[bool] = True


class SoftBinaryCrossEntropy(Loss):
    """-t log s(z) - (1 - t) log(1 - s(z)), the mean over outputs."""

    kinds: ClassVar[tuple[Kind, ...]] = ("multilabel", "classification")
    heads: ClassVar[tuple[str, ...]] = ("sigmoid",)

    pos_weight: Tensor

    def __init__(self, pos_weight: float = 1.0) -> None:
        super().__init__()
        self._set_constants(pos_weight=pos_weight)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and outputs."""
        shares = class_shares(targets, outputs)
        return F.binary_cross_entropy_with_logits(outputs, shares, pos_weight=self.pos_weight)


class Brier(Loss):
    """sum (p - t)²; half of it for two classes, as scikit-learn has it."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)
    heads: ClassVar[tuple[str, ...]] = ("softmax",)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows."""
        errors = (outputs.softmax(-1) - class_shares(targets, outputs)).square()
        return errors.sum(-1).mean() * (0.5 if outputs.shape[-1] == 2 else 1.0)


@register("loss", "cross_entropy")
def cross_entropy(
    class_counts: Sequence[int],
    label_smoothing: Smoothing = 0.0,
    class_weights: Literal["none", "balanced"] = "none",
) -> Loss:
    """-sum t log softmax(z), t hard, soft or smoothed labels (Szegedy et al., 2016).

    Smoothed, t is (1 - label_smoothing) t + label_smoothing / classes. `balanced` weighs a class
    by rows / (classes * its rows), as scikit-learn does. The weighted losses are divided by the
    rows of a batch, as in Keras; torch divides by the sum of their weights. Outputs are logits;
    Keras takes probabilities by default.
    """
    weights = [] if class_weights == "none" else _balanced(class_counts)
    return CrossEntropy(label_smoothing, weights)


@register("loss", "soft_ce")
def soft_ce(label_smoothing: Smoothing = 0.0) -> Loss:
    """-sum t log softmax(z) for a data set of soft labels: least where softmax(z) = t.

    Its minimum is the labels' entropy; the metric `kl_to_labels` is what is above that.
    """
    return SoftCrossEntropy(label_smoothing)


@register("loss", "soft_bce")
def soft_bce(
    pos_weight: Annotated[float, Gt(0), Recommended(0.1, 10.0, log=True)] = 1.0,
) -> Loss:
    """-t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid, t in [0, 1]: each output by itself.

    The mean over outputs. `pos_weight` is the weight of the first term, for labels that are
    rare. In a classification it is one-vs-rest.
    """
    return SoftBinaryCrossEntropy(pos_weight)


@register("loss", "brier")
def brier() -> Loss:
    """sum (softmax(z) - t)², whose gradient is bounded (Brier, 1950); half of it for 2 classes."""
    return Brier()


def _balanced(class_counts: Sequence[int]) -> list[float]:
    if not class_counts:
        raise BadConfigurationError(
            "balanced needs the rows of each class, which are known of arrays only, but got a "
            "Dataset",
            keyword="class_weights",
        )
    counts = np.maximum(class_counts, 1)  # a class without rows is never weighted in training
    weights: list[float] = (sum(class_counts) / (len(counts) * counts)).tolist()
    return weights
