"""Losses of the distances D >= 0 of pairs, float32 (pairs, 1); targets are 1 for similar ones.

e^-D is the probability of being similar where a loss asks for one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from annotated_types import Gt
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.losses.base import Loss
from hpsearch.registry import Recommended, register

Margin = Annotated[float, Gt(0), Recommended(0.3, 3.0, log=True, prior=1.0)]
#: a distance below this is taken for it, as no probability is 1
_LEAST = 1e-6


class PairLoss(Loss):
    """A loss of distances."""

    kinds: ClassVar[tuple[Kind, ...]] = ("pairs",)
    heads: ClassVar[tuple[str, ...]] = ("linear",)


class Contrastive(PairLoss):
    """D^power / power of similar pairs, max(0, margin - D)^power / power of others."""

    margin: Tensor

    def __init__(self, margin: float, power: int) -> None:
        super().__init__()
        self._set_constants(margin=margin)
        self.power = power

    def forward(self, distances: Tensor, is_similar: Tensor) -> Tensor:
        """Return the mean over pairs."""
        missing = (self.margin - distances).clamp_min(0)
        error = is_similar * distances**self.power + (1 - is_similar) * missing**self.power
        return error.mean() / self.power


class PairCrossEntropy(PairLoss):
    """D of similar pairs, -log(1 - e^-D) of others."""

    def forward(self, distances: Tensor, is_similar: Tensor) -> Tensor:
        """Return the mean over pairs."""
        apart = -(-torch.expm1(-distances.clamp_min(_LEAST))).log()
        return (is_similar * distances + (1 - is_similar) * apart).mean()


class PairSquared(PairLoss):
    """(e^-D - 1)² of similar pairs, (e^-D)² of others."""

    def forward(self, distances: Tensor, is_similar: Tensor) -> Tensor:
        """Return the mean over pairs."""
        return (torch.exp(-distances) - is_similar).square().mean()


@register("loss", "contrastive")
def contrastive(margin: Margin = 1.0) -> Loss:
    """D²/2 of similar pairs, max(0, margin - D)²/2 of others (Hadsell et al., 2006, eq. 4)."""
    return Contrastive(margin, 2)


@register("loss", "pair_hinge")
def pair_hinge(margin: Margin = 1.0) -> Loss:
    """D of similar pairs, max(0, margin - D) of others; of cosine distances torch's
    CosineEmbeddingLoss with the margin 1 - `margin`."""
    return Contrastive(margin, 1)


@register("loss", "pair_cross_entropy")
def pair_cross_entropy() -> Loss:
    """Cross entropy, where e^-D is the probability of being similar; with the distance
    `l1_logistic` that of its sigmoid."""
    return PairCrossEntropy()


@register("loss", "pair_mse")
def pair_mse() -> Loss:
    """Squared error of e^-D against 1 for similar pairs and 0 for others, as MaLSTM's (Mueller &
    Thyagarajan, 2016)."""
    return PairSquared()
