"""Losses of the embeddings of a batch, float32 (B, D), whose rows of a class are to be near each
other; targets are classes, int64 (B,)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.losses.base import Loss
from hpsearch.registry import Recommended, register

Mining = Literal["semi_hard", "hardest", "all"]


class Triplet(Loss):
    """max(0, d(a, p) - d(a, n) + margin) of an anchor, a row of its class and one of another,
    where d is the squared Euclidean distance."""

    kinds: ClassVar[tuple[Kind, ...]] = ("metric_learning",)
    heads: ClassVar[tuple[str, ...]] = ("linear",)
    margin: Tensor

    def __init__(self, margin: float, mining: Mining) -> None:
        super().__init__()
        self._set_constants(margin=margin)
        self._mining = mining

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Return the mean over triplets, 0 where there are none; see `triplet`."""
        distances = squared_distances(embeddings)
        same = classes[:, None] == classes
        is_other = ~same
        is_positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        if self._mining == "all":
            return self._of_all(distances, is_positive, is_other)
        if self._mining == "hardest":
            positive = distances.where(is_positive, -torch.inf).amax(1)
            negative = distances.where(is_other, torch.inf).amin(1)
            is_triplet = is_positive.any(1) & is_other.any(1)
        else:
            positive, negative = distances, _semi_hard(distances, is_other)
            is_triplet = is_positive & is_other.any(1, keepdim=True)
        # what is no triplet is infinite: no gradient of it must be taken
        positive, negative = (each.where(is_triplet, 0.0) for each in (positive, negative))
        missing = (positive - negative + self.margin).clamp_min(0)
        return _mean(missing, is_triplet)

    def _of_all(self, distances: Tensor, is_positive: Tensor, is_other: Tensor) -> Tensor:
        missing = (distances[:, :, None] - distances[:, None, :] + self.margin).clamp_min(0)
        is_triplet = is_positive[:, :, None] & is_other[:, None, :]
        return _mean(missing, is_triplet & (missing > 0))


def squared_distances(embeddings: Tensor) -> Tensor:
    """Return those of the rows of (B, D) to each other, (B, B)."""
    squares = embeddings.square().sum(1)
    products = embeddings @ embeddings.T
    return (squares[:, None] + squares - 2 * products).clamp_min(0)


def _semi_hard(distances: Tensor, is_other: Tensor) -> Tensor:
    """Return for each anchor and each row (B, B) the least distance of one of another class that
    is farther than the row; where none is, the greatest there is."""
    is_farther = is_other[:, None, :] & (distances[:, None, :] > distances[:, :, None])
    nearest = distances[:, None, :].where(is_farther, torch.inf).amin(2)
    farthest = distances.where(is_other, -torch.inf).amax(1, keepdim=True)
    return nearest.where(is_farther.any(2), farthest)


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return values.where(counts, 0.0).sum() / counts.sum().clamp_min(1)


@register("loss", "triplet")
def triplet(
    margin: Annotated[float, Gt(0), Recommended(0.05, 1.0, log=True)] = 0.2,
    mining: Mining = "semi_hard",
) -> Loss:
    """max(0, d(a, p) - d(a, n) + margin), d the squared distance of embeddings, of an anchor a, a
    row p of its class and a row n of another (Schroff et al., 2015, equation 3).

    Triplets are those of a batch. `semi_hard`: for each a and p the nearest n that is farther than
    p (equation 4), or the farthest where none is; `hardest`: for each a the farthest p and the
    nearest n (Hermans et al., 2017, equation 5); `all`: the mean over those that are not 0 yet.
    """
    return Triplet(margin, mining)
