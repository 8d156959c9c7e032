"""Regularizers by name: penalties on a model's weights, added to the loss.

A factory gets the model and returns a function without arguments that gives the penalty, a tensor
without axes. Biases and norms carry none; where a weight is computed, as by weight norm, the
penalty is that of the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.weights import required_weights
from hpsearch.registry import Recommended, register

Penalty = Callable[[], Tensor]
Strength = Annotated[float, Ge(0), Recommended(1e-6, 1e-2, log=True)]


@register("regularizer", "l1", fusible=["strength"])
def l1(model: nn.Module, strength: Strength = 1e-4) -> Penalty:
    """strength times the sum of |w| (Tibshirani, 1996)."""
    return _summed(model, strength, lambda weight: weight.abs().sum())


@register("regularizer", "l2", fusible=["strength"])
def l2(model: nn.Module, strength: Strength = 1e-4) -> Penalty:
    """strength times the sum of w², as Keras has it: the gradient is 2 strength w."""
    return _summed(model, strength, lambda weight: weight.square().sum())


@register("regularizer", "elastic_net", fusible=["l1_strength", "l2_strength"])
def elastic_net(
    model: nn.Module, l1_strength: Strength = 1e-5, l2_strength: Strength = 1e-4
) -> Penalty:
    """The sum of l1 and l2 (Zou & Hastie, 2005)."""
    first, second = l1(model, l1_strength), l2(model, l2_strength)
    return lambda: first() + second()


@register("regularizer", "orthogonality", fusible=["strength"])
def orthogonality(model: nn.Module, strength: Strength = 1e-4) -> Penalty:
    """strength times |W Wᵀ - 1|², or |Wᵀ W - 1|² of a tall W, layer by layer (Xie et al., 2017).

    A unit's incoming weights are a row of W.
    """
    return _summed(model, strength, lambda weight: _skewness(weight.flatten(1)))


def _summed(model: nn.Module, strength: float, measure: Callable[[Tensor], Tensor]) -> Penalty:
    weights = required_weights(model)
    return lambda: strength * torch.stack([measure(each.value) for each in weights]).sum()


def _skewness(weight: Tensor) -> Tensor:
    """How far the shorter of rows and columns are from being orthonormal."""
    rows = weight if len(weight) <= weight.shape[1] else weight.T
    return (
        (rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).square().sum()
    )
