"""Segmentation: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import IGNORED, Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import Values, register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.metrics import MetricSections, Predictions
from hpsearch.components.tasks.heads import Softmax
from hpsearch.components.tasks.parts import (
    SupervisedTask,
    Targets,
    TaskComponents,
    make_parts,
    predicted_classes,
    summed_cross_entropy,
)
from hpsearch.components.tasks.placed_classes import PlacedClasses
from hpsearch.errors import DataError
from hpsearch.registry import Recommended, register


class PixelClasses(PlacedClasses):
    """Class numbers int64 (rows, height, width); pixels that don't count are IGNORED.

    Outputs are (rows, classes, height, width).
    """

    has_places: ClassVar[bool] = True

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" into {output_size} classes of pixels"

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return masks as class numbers; DataError for what is none."""
        if x.ndim != 4 or y.shape != (len(x), *x.shape[2:]):
            raise DataError(
                "segmentation needs images (rows, channels, height, width) and a class for each "
                f"of their pixels (rows, height, width), but got {x.shape} and {y.shape}"
            )
        if len(names) < 2:
            raise DataError("segmentation needs the names of two classes at least (`classes`)")
        is_class = (y >= 0) & (y < len(names)) if y.dtype.kind in "iub" else np.zeros(1, bool)
        counts = is_class | (y == IGNORED)
        if not counts.all():
            wrong = y.flat[0] if y.dtype.kind not in "iub" else y[~counts][0]
            rule = f"pixels of masks must be numbers of the {len(names)} classes, from 0, or "
            raise DataError(f"{rule}{IGNORED} for those that don't count", wrong.item())
        return y.astype(np.int64)

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (classes, height, width)."""
        return (output_size, *input_shape[1:])

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The classes' shares of the pixels, the class of most of them, and all classes alike."""
        prior = torch.tensor(self.base_rates(y, output_size), dtype=torch.float64)
        majority = F.one_hot(prior.argmax(), output_size).double()
        named = {"prior": prior, "majority": majority}
        named["uniform"] = torch.full_like(prior, 1 / output_size)
        return {name: each[:, None, None] for name, each in named.items()}

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """See TargetEncoding; a pixel that doesn't count may be anything."""
        return super().right_outputs(targets.clamp_min(0), output_size).movedim(-1, 1)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the likeliest class of each pixel, (rows, height, width)."""
        return outputs.argmax(1)

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return the number of the class of each pixel, by its row and column."""
        _, height, width = answers.shape
        places = [(i, j) for i in range(height) for j in range(width)]
        return {f"pixel_{i}_{j}": answers[:, i, j] for i, j in places}


register_encoding("segmentation", PixelClasses())


class Segmentation(SupervisedTask):
    """Cross entropy, and scores of the regions of each class; sums are over pixels that count."""

    kind: ClassVar[Kind] = "segmentation"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "iou", "dice")
    joins_batches: ClassVar[bool] = False

    def __init__(self, parts: TaskComponents, auxiliary_weight: float) -> None:
        super().__init__(parts)
        self._auxiliary_weight = auxiliary_weight

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of pixels, and the weighted ones of outputs beside the first."""
        loss = super().loss(outputs, batch)
        for each in outputs[1:] if isinstance(outputs, tuple) else ():
            loss = loss + self._auxiliary_weight * super().loss(each, batch)
        return loss

    def count(self, batch: Batch) -> Tensor | int:
        """Return the number of pixels that count."""
        counts: Tensor = (batch.targets != IGNORED).sum()
        return counts

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (pixels, classes) and targets, those that don't count as IGNORED.

        Losses other than the usual one don't know what to ignore: they get what counts.
        """
        predicted = outputs[0] if isinstance(outputs, tuple) else outputs
        logits = in_float32(predicted).movedim(1, -1).flatten(0, 2)
        targets = batch.targets.flatten()
        if not self._parts.reports_loss:
            return logits, targets
        counts = targets != IGNORED
        return logits[counts], targets[counts]

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        """Return those of the pixels that count, each a row of a classification."""
        logits, targets = outputs.movedim(1, -1).flatten(0, 2), targets.flatten()
        return predicted_classes(self.head, logits, targets)

    def _num_compared(self, targets: Tensor) -> Tensor:
        """Return the number of pixels that count."""
        return (targets != IGNORED).sum().double().reshape(1)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses; found, predicted and true pixels, by class."""
        loss = summed_cross_entropy(self.head.logits(outputs), targets)
        classes = torch.arange(outputs.shape[1], device=outputs.device)
        predicted = outputs.argmax(1).masked_fill(targets == IGNORED, IGNORED)
        is_predicted, is_true = (each[:, None] == classes for each in (predicted, targets))
        counts = torch.stack([is_predicted & is_true, is_predicted, is_true]).sum(1)
        return torch.cat([loss.reshape(1), counts.flatten().double()])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        """Return the metrics; classes that no pixel has or gets have none."""
        found, predicted, true = np.reshape(totals[1:], (3, -1))
        both = predicted + true
        there = both > 0
        found, both = found[there], both[there]
        return {
            "loss": totals[0] / num_rows,
            "accuracy": float(found.sum() / num_rows),
            "iou": float((found / (both - found)).mean()),
            "dice": float((2 * found / both).mean()),
        }


@register("task", "segmentation")
def segmentation(
    output_size: int,
    class_counts: Sequence[int],
    folder: Path | None,
    loss: LossSection | None = None,
    metrics: MetricSections = (),
    auxiliary_weight: Annotated[float, Ge(0), Recommended(0.1, 1.0, prior=0.4)] = 0.4,
) -> Segmentation:
    """A class for each pixel, learned by cross entropy or another loss; for images with masks.

    Reports the cross entropy per pixel whatever is trained on, the accuracy of pixels, and the
    means over classes of the intersection over union `iou` and of the Dice coefficient `dice`,
    for all pixels of a split together. Pixels that masks leave out count nowhere. The value of a
    loss that is given, for each pixel, is `criterion`. To `metrics` each pixel is a row of a
    classification; all outputs of a split are kept for them. A model that gives several outputs
    while it trains, such as cascaded_unet, learns the loss of the first and `auxiliary_weight`
    times that of each other one.
    """
    targets = Targets("classification", output_size, class_counts)  # of each pixel
    parts = make_parts(targets, "cross_entropy", loss, "softmax", metrics, folder)
    return Segmentation(replace(parts, head=Softmax(axis=1)), auxiliary_weight)
