"""Constraints by name: projections of a model's weights, done after each step.

A factory gets the model and returns a function without arguments that projects in place. A unit's
incoming weights are a row of a linear layer, or a filter of a convolution; those that weight norm
computes, where it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

from hpsearch.components.weights import required_weights
from hpsearch.registry import KerasDefault, Recommended, register

Projection = Callable[[], None]


@register("constraint", "max_norm")
def max_norm(
    model: nn.Module, c: Annotated[float, Gt(0), Recommended(1.0, 5.0), KerasDefault(2.0)] = 3.0
) -> Projection:
    """Scale a unit's incoming weights down to an L2 norm of `c` (Srivastava et al., 2014).

    Keras's axis 0 of its (inputs, units) is the same rule.
    """
    return _projection(model, lambda weight: torch.renorm(weight, 2, 0, c))


@register("constraint", "unit_norm")
def unit_norm(model: nn.Module) -> Projection:
    """Scale a unit's incoming weights to an L2 norm of 1."""
    return _projection(model, lambda w: F.normalize(w.flatten(1), dim=1).view_as(w))


@register("constraint", "non_neg")
def non_neg(model: nn.Module) -> Projection:
    """Set negative weights to 0."""
    return _projection(model, lambda weight: weight.clamp_min(0))


def _projection(model: nn.Module, project: Callable[[Tensor], Tensor]) -> Projection:
    weights = required_weights(model)

    @torch.no_grad()
    def apply() -> None:
        for weight in weights:
            if weight.is_trained:
                weight.set(project(weight.value))

    return apply
