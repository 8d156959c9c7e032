"""Classification: one class of each row is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import LossSection, class_shares
from hpsearch.components.losses.classification import Smoothing
from hpsearch.components.metrics import MetricSections
from hpsearch.components.tasks.heads import HeadSection
from hpsearch.components.tasks.parts import (
    SupervisedTask,
    Targets,
    make_parts,
    smoothed_cross_entropy,
    summed_cross_entropy,
)
from hpsearch.registry import register


class Classes(TargetEncoding):
    """Class numbers int64 (rows,), or shares of classes float32 (rows, classes)."""

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" into {output_size} classes"

    def class_counts(self, y: Values, output_size: int) -> tuple[int, ...]:
        """See TargetEncoding."""
        if y.dtype.kind == "f":
            return tuple(np.rint(y.sum(0)).astype(int).tolist())
        return tuple(np.bincount(y, minlength=output_size).tolist())

    def base_rates(self, y: Values, output_size: int) -> tuple[float, ...]:
        """See TargetEncoding."""
        counts = np.array(self.class_counts(y, output_size)) + 0.5
        return tuple((counts / counts.sum()).tolist())

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The rows' shares of the classes, the class of most of them, and all classes alike."""
        shares = class_shares(torch.from_numpy(y.copy()), torch.zeros(1, output_size).double())
        prior = shares.mean(0)
        return {
            "prior": prior,
            "majority": class_shares(prior.argmax()[None], prior)[0],
            "uniform": torch.full_like(prior, 1 / output_size),
        }

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the likeliest classes (rows,)."""
        return outputs.argmax(1)

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """See TargetEncoding."""
        all_shares = {f"{share}_{n}": v for n, v in zip(names, shares.T, strict=True)}
        return {"prediction": labels_of(names)[answers], **all_shares}


def labels_of(names: Sequence[str]) -> Values:
    """Return classes as they are in the data: whole numbers, else texts.

    >>> labels_of(["0", "10"]), labels_of(["0", "ten"])
    (array([ 0, 10]), array(['0', 'ten'], dtype=object))
    """
    if all(name.lstrip("-").isdecimal() and str(int(name)) == name for name in names):
        return np.array([int(name) for name in names])
    return np.array(names, dtype=object)


register_encoding("classification", Classes())


class Classification(SupervisedTask):
    """Cross entropy and accuracy; of soft targets, the likeliest class is the right answer."""

    kind: ClassVar[Kind] = "classification"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = self.head.logits(outputs)
        loss = summed_cross_entropy(logits, targets)
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
    in_order: bool = False,
) -> Classification:
    """Classes, hard or soft, learned by cross entropy or another loss; reports loss and accuracy.

    The loss that is reported is the cross entropy without smoothing or weights whatever is
    trained on, so that trials can be compared (of svm's scores, as if they were logits). The
    value of a loss that is given is `criterion`. The head is the loss's own unless it is given.
    With `in_order` rows are trained on in their order: training metrics of the first epoch are
    then those of test-then-train (prequential), as each batch is predicted before it is learned.
    """
    default = smoothed_cross_entropy(label_smoothing, loss)
    targets = Targets("classification", output_size, class_counts, soft_targets)
    task = Classification(make_parts(targets, default, loss, head, metrics, folder))
    task.in_order = in_order
    return task
