"""Losses of errors, which are outputs minus targets; the mean over rows and targets.

Training sees standardised targets, so errors are in their standard deviations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.losses.base import Loss
from hpsearch.registry import Recommended, register


class RegressionLoss(Loss):
    """A loss of errors."""

    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)
    heads: ClassVar[tuple[str, ...]] = ("linear",)


class SquaredError(RegressionLoss):
    """e²."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and targets."""
        return F.mse_loss(outputs, targets)


class AbsoluteError(RegressionLoss):
    """|e|."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and targets."""
        return F.l1_loss(outputs, targets)


class Huber(RegressionLoss):
    """e² / 2 where |e| <= delta, else delta (|e| - delta / 2)."""

    delta: Tensor

    def __init__(self, delta: float) -> None:
        super().__init__()
        self._set_constants(delta=delta)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and targets."""
        errors = (outputs - targets).abs()
        # torch's function takes no tensor for delta, which trials of one program may differ in
        near = torch.minimum(errors, self.delta)
        return (near * (errors - near / 2)).mean()


@register("loss", "mse")
def mse() -> Loss:
    """e²: the squared error."""
    return SquaredError()


@register("loss", "l1")
def l1() -> Loss:
    """|e|: the absolute error."""
    return AbsoluteError()


@register("loss", "huber")
def huber(delta: Annotated[float, Gt(0), Recommended(0.1, 3.0, log=True)] = 1.0) -> Loss:
    """e² / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber, 1964)."""
    return Huber(delta)
