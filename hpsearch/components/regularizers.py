"""Regularizers by name: penalties on a model's weights, added to the loss.

A factory gets the model and returns a function without arguments that gives the penalty, a tensor
without axes. Biases and norms carry none; where a weight is computed, as by weight norm, the
penalty is that of the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.weights import Weight, required_weights
from hpsearch.registry import KerasDefault, Recommended, register

Penalty = Callable[[], Tensor]
Strength = Annotated[float, Ge(0), Recommended(1e-6, 1e-2, log=True)]
#: a weight of several models (models, units, ...) → (models,)
Measure = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WeightPenalty:
    """The sum of measures of a model's weights, each measure times its strength."""

    weights: list[Weight]
    strengths: Mapping[Measure, float]

    def __call__(self) -> Tensor:
        """Return the penalty."""
        values = [each.value.unsqueeze(0) for each in self.weights]
        terms = (s * measured(values, measure) for measure, s in self.strengths.items())
        return torch.cat(list(terms)).sum()


def measured(weights: list[Tensor], measure: Measure) -> Tensor:
    """Return the sum over weights (models, units, ...) of a measure of each, (models,)."""
    return torch.stack([measure(weight) for weight in weights]).sum(0)


@register("regularizer", "l1")
def l1(model: nn.Module, strength: Annotated[Strength, KerasDefault(0.01)] = 1e-4) -> Penalty:
    """strength times the sum of |w| (Tibshirani, 1996)."""
    return WeightPenalty(required_weights(model), {_sizes: strength})


@register("regularizer", "l2")
def l2(model: nn.Module, strength: Annotated[Strength, KerasDefault(0.01)] = 1e-4) -> Penalty:
    """strength times the sum of w², as Keras has it: the gradient is 2 strength w."""
    return WeightPenalty(required_weights(model), {_squares: strength})


@register("regularizer", "elastic_net")
def elastic_net(
    model: nn.Module, l1_strength: Strength = 1e-5, l2_strength: Strength = 1e-4
) -> Penalty:
    """The sum of l1 and l2 (Zou & Hastie, 2005)."""
    return WeightPenalty(required_weights(model), {_sizes: l1_strength, _squares: l2_strength})


@register("regularizer", "orthogonality")
def orthogonality(model: nn.Module, strength: Strength = 1e-4) -> Penalty:
    """strength times |W Wᵀ - 1|², or |Wᵀ W - 1|² of a tall W, layer by layer (Xie et al., 2017).

    A unit's incoming weights are a row of W.
    """
    return WeightPenalty(required_weights(model), {_skewness: strength})


def _sizes(weight: Tensor) -> Tensor:
    return weight.abs().flatten(1).sum(1)


def _squares(weight: Tensor) -> Tensor:
    return weight.square().flatten(1).sum(1)


def _skewness(weight: Tensor) -> Tensor:
    """How far the shorter of rows and columns are from being orthonormal."""
    weight = weight.flatten(2)
    rows = weight if weight.shape[1] <= weight.shape[2] else weight.mT
    identity = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    return _squares(rows @ rows.mT - identity)
