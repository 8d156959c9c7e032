"""Losses of scores that are no probabilities: hinges, one class against the rest.

With shares of classes as targets each is the mean over the classes that a row may have, as mixup
asks for.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.losses.base import Loss, class_shares
from hpsearch.registry import Recommended, register

Weight = Annotated[float, Gt(0), Recommended(0.01, 100.0, log=True)]


class Hinge(Loss):
    """C sum max(0, 1 - t z)^power over the outputs, t = +1 or -1."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel")
    heads: ClassVar[tuple[str, ...]] = ("svm",)

    C: Tensor

    def __init__(self, power: float, C: float = 1.0) -> None:
        super().__init__()
        self._power = power
        self._set_constants(C=C)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows."""
        shares = class_shares(targets, outputs)
        if_member = torch.relu(1 - outputs).pow(self._power)
        if_not = torch.relu(1 + outputs).pow(self._power)
        return self.C * torch.lerp(if_not, if_member, shares).sum(-1).mean()


class Perceptron(Loss):
    """max z - z of the true class."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)
    heads: ClassVar[tuple[str, ...]] = ("svm",)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows; of classes that tie, the first is the answer."""
        true = (class_shares(targets, outputs) * outputs).sum(-1)
        return (outputs.max(-1).values - true).mean()


@register("loss", "l1_svm")
def l1_svm(C: Weight = 1.0) -> Loss:
    """C sum max(0, 1 - t z): the hinge loss of one-vs-rest linear SVMs (Cortes & Vapnik, 1995).

    The SVM's |w|² / 2 is the optimizer's weight decay, or the regularizer l2.
    """
    return Hinge(1, C)


@register("loss", "l2_svm")
def l2_svm(C: Weight = 1.0) -> Loss:
    """C sum max(0, 1 - t z)²: squared hinges of one-vs-rest SVMs on a net (Tang, 2013).

    The sum is over classes, t = 1 for the true one and -1 for the others; torch's MultiMarginLoss
    is another loss, which compares with the true class's score.
    """
    return Hinge(2, C)


@register("loss", "poly_hinge")
def poly_hinge(power: Annotated[float, Ge(3)] = 3.0, C: Weight = 1.0) -> Loss:
    """C sum max(0, 1 - t z)^power, power >= 3: twice differentiable (Liang et al., 2018)."""
    return Hinge(power, C)


@register("loss", "perceptron")
def perceptron() -> Loss:
    """max z - z of the true class: 0 where the answer is right (Rosenblatt, 1958).

    For the optimizer perceptron_rule: the gradient is 1 for the answer and -1 for the true class
    where they differ.
    """
    return Perceptron()
