"""Pair similarity: are two examples of one class? Learned from distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.examples import Arrays
from hpsearch.components.losses import Loss, LossSection
from hpsearch.components.pairs import Pairs
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.errors import DataError
from hpsearch.registry import register

#: pairs whose inputs are compared at a time by a baseline
_ROWS = 4096


class Similarity(TargetEncoding):
    """Float32 (pairs, 1): 1 where both are of one class, else 0. Outputs are distances."""

    reads_targets: ClassVar[bool] = False
    made_of: ClassVar[str] = "classification"
    num_inputs: ClassVar[int] = 2

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return " of one class or of two"

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return 1: a distance."""
        return 1

    def examples(self, rows: Arrays) -> Pairs:
        """Return pairs of the rows of a split."""
        if rows.y.ndim > 1:
            raise DataError("pairs need one class a row, but the targets are shares of classes")
        return Pairs.of(rows)

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """All alike."""
        return {"uniform": torch.ones(1, dtype=torch.float64)}

    def row_forecasts(self, rows: Pairs) -> dict[str, Tensor]:
        """The Euclidean distance of the inputs themselves."""
        first = np.arange(len(rows)) % len(rows.x)
        flat = rows.x.reshape(len(rows.x), -1)
        parts = np.array_split(np.arange(len(rows)), -(-len(rows) // _ROWS))
        distances = [
            np.linalg.norm(flat[first[part]] - flat[rows.partners[part]], axis=1) for part in parts
        ]
        return {"input_distance": torch.from_numpy(np.concatenate(distances)).double()[:, None]}

    def answers(self, outputs: Tensor) -> Tensor:
        """Return which pairs are similar, given how much nearer they are than the threshold."""
        return outputs[:, 0] > 0

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return whether a pair is similar, and how much nearer it is than the threshold."""
        return {"similar": answers, share: shares[:, 0]}


register_encoding("pairs", Similarity())


class Thresholded(Loss):
    """A loss of distances, and the distance up to which a pair is taken to be similar."""

    threshold: Tensor

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        self.register_buffer("threshold", torch.tensor(torch.nan))

    def forward(self, distances: Tensor, is_similar: Tensor) -> Tensor:
        """Return the mean over pairs."""
        mean: Tensor = self.loss(distances, is_similar)
        return mean


class NearerBy(nn.Module):
    """How much smaller distances are than a threshold."""

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold.detach().clone())

    def forward(self, distances: Tensor) -> Tensor:
        """Return (pairs, 1)."""
        return self.threshold - distances


class PairSimilarity(SupervisedTask):
    """The loss of distances; how well they order pairs, and divide them at a threshold.

    That is the one with the greatest accuracy on the validation pairs, after each epoch.
    """

    kind: ClassVar[Kind] = "pairs"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss",)
    scores: ClassVar[tuple[str, ...]] = ("auc", "accuracy")

    def __init__(self, parts: TaskComponents) -> None:
        self._thresholded = Thresholded(parts.loss)
        super().__init__(replace(parts, loss=self._thresholded, reports_loss=False))

    def last_layers(self) -> list[nn.Module]:
        """Return what an exported model makes of distances."""
        return [NearerBy(self._thresholded.threshold.cpu())]

    def fit_to_validation(self, outputs: Tensor, targets: Tensor) -> None:
        """Choose the threshold by a split that isn't trained on."""
        found = best_threshold(outputs[:, 0].double().numpy(), targets[:, 0].numpy() > 0.5)
        self._thresholded.threshold.fill_(found)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the scores that are defined: one of pairs of one kind has no order."""
        from sklearn.metrics import roc_auc_score

        distances, is_similar = outputs[:, 0].double().numpy(), targets[:, 0].numpy() > 0.5
        scores: dict[str, float] = {}
        if is_similar.any() and not is_similar.all():
            scores["auc"] = float(roc_auc_score(is_similar, -distances))
        is_near = distances <= self._thresholded.threshold.item()
        return {**scores, "accuracy": float((is_near == is_similar).mean())}

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.criterion(outputs, targets)
        return (loss.double() * len(targets)).reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        return {"loss": totals[0] / num_rows}


def best_threshold(distances: np.ndarray[Any, Any], is_similar: np.ndarray[Any, Any]) -> float:
    """Return the distance up to which pairs are best taken to be similar: half way between two.

    >>> best_threshold(np.array([1.0, 2.0, 4.0]), np.array([True, True, False]))
    3.0
    """
    order = np.argsort(distances, kind="stable")
    ordered, similar = distances[order], is_similar[order]
    ends = np.concatenate([[ordered[0] - 1], ordered, [ordered[-1] + 1]])
    right = np.concatenate([[0], np.cumsum(np.where(similar, 1, -1))])
    is_cut = ends[1:] > ends[:-1]
    best = int(np.argmax(np.where(is_cut, right, -len(distances) - 1)))
    return float((ends[best] + ends[best + 1]) / 2)


@register("task", "pairs")
def pairs(folder: Path | None, loss: LossSection | None = None) -> PairSimilarity:
    """Whether two examples are of one class, learned by the contrastive loss or another one of
    distances; for data sets with classes, and models of pairs (siamese).

    Pairs are drawn once rows are divided, within each part. Each example is in a similar pair and
    in another; in training, whose second examples are drawn each epoch, in evaluation, whose
    pairs stay, too. Reports the loss that is trained on, `auc` (how often a similar pair is
    nearer than another: compare losses and distances by it) and the `accuracy` at the distance
    that divides the validation pairs best.
    """
    return PairSimilarity(
        make_parts(Targets("pairs", 1), "contrastive", loss, "linear", (), folder)
    )
