"""Barlow Twins (Zbontar et al., 2021, arXiv 2103.03230): features that two views have in common.

Shapes: B rows, D numbers of a projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.examples import Arrays
from hpsearch.components.pairs import Views
from hpsearch.components.tasks.heads import Head, Linear
from hpsearch.registry import Recommended, register

#: added to variances, as batch norm does
_LEAST_VARIANCE = 1e-5


class TwoViews(NumberedValues):
    """Targets are ignored; an example is two views of it, which augmentations make."""

    reads_targets: ClassVar[bool] = False
    made_of: ClassVar[str] = "classification"
    takes_any: ClassVar[bool] = True
    num_inputs: ClassVar[int] = 2
    needs_augmentations: ClassVar[bool] = True
    is_embedding: ClassVar[bool] = True

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return 1: a model's outputs have the size that its own keywords say."""
        return 1

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (), any."""
        return ()

    def examples(self, rows: Arrays) -> Views:
        """Return each row twice."""
        return Views(rows.x, rows.y)


register_encoding("barlow_twins", TwoViews())


class CrossCorrelation(nn.Module):
    """Σ (C_ii - 1)² + λ Σ_{i≠j} C_ij² of the cross-correlation C of two views' projections."""

    weight: Tensor

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of a batch (equation 1)."""
        correlation = _standardized(first).T @ _standardized(second) / len(first)
        diagonal = correlation.diagonal()
        others = correlation.square().sum() - diagonal.square().sum()
        loss: Tensor = (diagonal - 1).square().sum() + self.weight * others
        return loss


class BarlowTwinsTask:
    """The loss of whole batches, and how far apart projections are: 0 where all are the same."""

    kind: ClassVar[Kind] = "barlow_twins"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "spread")
    scores: ClassVar[tuple[str, ...]] = ()
    joins_batches: ClassVar[bool] = False
    needs_whole_batches: ClassVar[bool] = True

    def __init__(self, redundancy_weight: float) -> None:
        self.criterion: nn.Module = CrossCorrelation(redundancy_weight)
        self.head: Head = Linear()

    def count(self, batch: Batch) -> int:
        """Return the number of rows."""
        return len(batch)

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the loss of a batch's projections (B, 2, D)."""
        loss: Tensor = self.criterion(*in_float32(outputs).unbind(1))
        return loss

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the batch's loss and spread, each times its rows, and these."""
        projections = nn.functional.normalize(in_float32(outputs).flatten(0, 1), dim=1)
        size = projections.shape[1]
        spread = projections.std(0, correction=0).mean() * size**0.5
        sums = torch.stack([self.loss(outputs, batch), spread]).double() * len(batch)
        return torch.cat([sums, sums.new_full((1,), len(batch))])

    def summary(self, totals: Sequence[float]) -> dict[str, float]:
        """Return the means over batches, by their rows."""
        loss, spread, num_rows = totals
        return {"loss": loss / num_rows, "spread": spread / num_rows}

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return no scores."""
        return {}


def _standardized(projections: Tensor) -> Tensor:
    """Return projections (B, D) of mean 0 and variance 1, as batch norm has it."""
    centred = projections - projections.mean(0)
    deviations: Tensor = (centred.square().mean(0) + _LEAST_VARIANCE).sqrt()
    return centred / deviations


@register("task", "barlow_twins")
def barlow_twins(
    redundancy_weight: Annotated[float, Gt(0), Recommended(1e-3, 0.1, log=True)] = 0.0051,
) -> Any:
    """Features without targets: two views of a row, which augmentations make, are to have the
    same, and no two features are to say the same (Zbontar et al., 2021).

    For models of views (barlow_twins) and any data in memory; a first stage of `stages`, after
    which others use the encoder. The loss is of the cross-correlation over each batch, so it
    depends on the batch size; `redundancy_weight` (λ of the paper, about 1 / D) weighs its parts
    off the diagonal. `spread` is the standard deviation of normalised projections times √D: 1
    where they are spread evenly, 0 where all rows have one (collapse). Evaluation has views, too.
    """
    return BarlowTwinsTask(redundancy_weight)
