"""Constraints by name: projections of a model's weights, done after each step.

A factory gets the model and returns a function without arguments that projects in place. A unit's
incoming weights are a row of a linear layer, or a filter of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from hpsearch.components.regularizers import weights_of
from hpsearch.registry import Recommended, register

Projection = Callable[[], None]


@register("constraint", "max_norm", fusible=["c"])
def max_norm(
    model: nn.Module, c: Annotated[float, Gt(0), Recommended(1.0, 5.0)] = 3.0
) -> Projection:
    """Scale a unit's incoming weights down to an L2 norm of `c` (Srivastava et al., 2014)."""
    weights = weights_of(model)

    @torch.no_grad()
    def project() -> None:
        for weight in filter(_is_trained, weights):
            weight.copy_(torch.renorm(weight, 2, 0, c))

    return project


def _is_trained(weight: nn.Parameter) -> bool:
    return weight.requires_grad
