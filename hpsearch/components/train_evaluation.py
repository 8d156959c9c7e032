"""The training rows as the validation rows are evaluated: what is left of a gap is overfitting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.utils.data import IterableDataset

from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.data import Data
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

#: how the metrics of this evaluation begin
TRAIN_EVAL = "train_eval"


@register("callback", "train_evaluation")
@dataclass(frozen=True)
class TrainEvaluation(BaseCallback):
    """Evaluates the training rows too, each epoch: `train_eval_loss`, `train_eval_accuracy`.

    Training metrics are means over an epoch's batches, with dropout and augmentations, while the
    weights change; these are of the epoch's weights, in evaluation mode, as those of validation.
    `loss_gap`, `accuracy_gap` and so on are training less validation. On `rows` of the training
    split, the same ones in each epoch of each trial; by default all. Costs a forward pass of them.
    """

    rows: Annotated[int, Ge(1)] | None = None

    metrics: ClassVar[tuple[str, ...]] = (f"{TRAIN_EVAL}_{{metric}}", "{metric}_gap")

    def check_data(self, data: Data) -> None:
        """Refuse to draw rows of a stream, which have no numbers."""
        if self.rows is not None and isinstance(data.train, IterableDataset):
            rule = "must not be given for an IterableDataset, which has no rows by number"
            raise BadConfigurationError(rule, self.rows, keyword="rows")

    def drawn(self, among: Tensor | int, seed: int) -> Tensor | None:
        """Return the rows to evaluate, int64 (rows,), of these or of so many; None for all."""
        if self.rows is None:
            return None if isinstance(among, int) else among
        numbers = torch.arange(among) if isinstance(among, int) else among
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(numbers), generator=generator)[: self.rows]
        return numbers[order.sort().values]


def gaps(metrics: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Return by how much metrics are larger on training than on validation rows.

    >>> gaps({"train_eval_accuracy": 0.75, "val_accuracy": 0.5}, ["accuracy"])
    {'accuracy_gap': 0.25}
    """
    return {
        f"{name}_gap": metrics[f"{TRAIN_EVAL}_{name}"] - metrics[f"val_{name}"]
        for name in names
        if f"{TRAIN_EVAL}_{name}" in metrics and f"val_{name}" in metrics
    }
