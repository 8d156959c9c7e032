"""Classification: one class of each row is true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.losses import LossSection
from hpsearch.components.losses.classification import Smoothing
from hpsearch.components.metrics import MetricSections
from hpsearch.components.tasks.heads import HeadSection
from hpsearch.components.tasks.parts import SupervisedTask, Targets, make_parts
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register


class Classification(SupervisedTask):
    """Cross entropy and accuracy; of soft targets, the likeliest class is the right answer."""

    kind: ClassVar[Kind] = "classification"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = self.head.logits(outputs)
        loss = F.cross_entropy(logits, targets, reduction="sum").double()
        classes = targets.argmax(1) if targets.is_floating_point() else targets
        num_correct = (outputs.argmax(1) == classes).sum().double()
        return torch.stack([loss, num_correct])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        loss, num_correct = totals
        return {"loss": loss / num_rows, "accuracy": num_correct / num_rows}


@register("task", "classification")
def classification(
    output_size: int,
    class_counts: Sequence[int],
    soft_targets: bool,
    folder: Path | None,
    label_smoothing: Smoothing = 0.0,
    loss: LossSection | None = None,
    head: HeadSection = None,
    metrics: MetricSections = (),
) -> Classification:
    """Classes, hard or soft, learned by cross entropy or another loss; reports loss and accuracy.

    The loss that is reported is the cross entropy without smoothing or weights whatever is
    trained on, so that trials can be compared (of svm's scores, as if they were logits). The
    value of a loss that is given is `criterion`. The head is the loss's own unless it is given.
    """
    if loss is not None and label_smoothing:
        raise BadConfigurationError(
            "must be set on `loss` when a loss is given",
            label_smoothing,
            keyword="label_smoothing",
        )
    default = {"name": "cross_entropy", "label_smoothing": label_smoothing}
    targets = Targets("classification", output_size, class_counts, soft_targets)
    return Classification(make_parts(targets, default, loss, head, metrics, folder))
