"""Metric learning: embeddings in which the rows of a class are near each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.examples import Arrays
from hpsearch.components.losses import LossSection
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.errors import DataError
from hpsearch.registry import Recommended, register

KIND: Kind = "metric_learning"
#: rows whose nearest neighbours are sought at a time
_ROWS = 1024


class Classes(NumberedValues):
    """Int64 (rows,): the classes of rows. Outputs are embeddings, whose size the task says."""

    reads_targets: ClassVar[bool] = False
    made_of: ClassVar[str] = "classification"
    has_means: ClassVar[bool] = False
    is_embedding: ClassVar[bool] = True

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return " by classes"

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return 1: an embedding has the size that the task says."""
        return 1

    def examples(self, rows: Arrays) -> Arrays:
        """Return the rows of a split; DataError where they have no class each."""
        if rows.y.ndim > 1:
            raise DataError(
                "metric learning needs one class a row, but the targets are shares of classes"
            )
        return rows

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """Return a place of its own for each class."""
        return F.one_hot(targets).float()


register_encoding(KIND, Classes())


class Normalized(nn.Module):
    """Embeddings of length 1."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (rows, D)."""
        return F.normalize(embeddings)


class MetricLearning(SupervisedTask):
    """The loss of whole batches, and how often the nearest other row of a split is of the class.

    Batches have several rows of a class: `rows_per_class` of each that they have any of, but for
    what is left over.
    """

    kind: ClassVar[Kind] = KIND
    own_metrics: ClassVar[tuple[str, ...]] = ("loss",)
    scores: ClassVar[tuple[str, ...]] = ("recall_at_1",)
    joins_batches: ClassVar[bool] = False
    needs_whole_batches: ClassVar[bool] = True

    def __init__(
        self, parts: TaskComponents, embedding_size: int, rows_per_class: int, normalize: bool
    ) -> None:
        super().__init__(parts)
        self.num_outputs = embedding_size
        self.rows_per_class, self._normalizes = rows_per_class, normalize

    def last_layers(self) -> list[nn.Module]:
        """Return what an exported model makes of outputs."""
        return [Normalized()] if self._normalizes else []

    @torch.no_grad()
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of rows whose nearest other row is of their class."""
        if len(outputs) < 2:
            return {}
        return {"recall_at_1": recall_at_1(self._embeddings(outputs), targets)}

    def _embeddings(self, outputs: Tensor) -> Tensor:
        return F.normalize(outputs) if self._normalizes else outputs

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        embeddings, classes = super()._compared(outputs, batch)
        return self._embeddings(embeddings), classes

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.criterion(outputs, targets)
        return (loss.double() * len(targets)).reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        return {"loss": totals[0] / num_rows}


def recall_at_1(embeddings: Tensor, classes: Tensor) -> float:
    """Return the share of rows (N, D) whose nearest other row is of their class (N,).

    >>> recall_at_1(torch.tensor([[0.0], [1.0], [1.5], [9.0]]), torch.tensor([0, 1, 1, 0]))
    0.5
    """
    right = 0
    for start in range(0, len(embeddings), _ROWS):
        part = embeddings[start : start + _ROWS]
        distances = torch.cdist(part, embeddings)
        own = torch.arange(len(part), device=part.device)
        distances[own, start + own] = torch.inf
        nearest = classes[distances.argmin(1)]
        right += int((nearest == classes[start : start + _ROWS]).sum())
    return right / len(embeddings)


@register("task", KIND)
def metric_learning(
    folder: Path | None,
    loss: LossSection | None = None,
    embedding_size: Annotated[int, Ge(1), Recommended(8, 128, log=True)] = 32,
    rows_per_class: Annotated[int, Ge(2), Recommended(2, 8, log=True)] = 4,
    normalize: bool = True,
) -> MetricLearning:
    """Embeddings of `embedding_size` numbers, by the triplet loss or another one of a whole batch
    (embeddings, classes); for data sets with classes, and any model that gives vectors.

    An epoch has each training row once, in groups of `rows_per_class` of one class, in random
    order. With `normalize` embeddings have the length 1 (Schroff et al., 2015). Evaluation judges
    by `recall_at_1`, the share of rows of a split whose nearest other row is of the same class:
    compare by it. Its `loss` is of batches in the order of the split.
    """
    parts = make_parts(Targets(KIND, embedding_size), "triplet", loss, "linear", (), folder)
    return MetricLearning(parts, embedding_size, rows_per_class, normalize)
