"""Several targets, each with a loss of its own: how the losses are added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.losses.base import Loss, LossSection, make_loss
from hpsearch.components.losses.regression import RegressionLoss
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register


class FixedWeighting(nn.Module):
    """sum w L over the losses (targets,)."""

    weights: Tensor

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def forward(self, losses: Tensor) -> Tensor:
        """Add up the losses."""
        return (self.weights * losses).sum()


class UncertaintyWeighting(nn.Module):
    """sum (e^-s L + s) / 2 over the losses (targets,), s = log variance learned for each."""

    def __init__(self, num_losses: int) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(num_losses))

    def forward(self, losses: Tensor) -> Tensor:
        """Add up the losses; the sum may be negative."""
        return ((-self.log_variance).exp() * losses + self.log_variance).sum() / 2


class PerTarget(RegressionLoss):
    """A loss for each target, added up by a weighting."""

    def __init__(self, losses: Sequence[Loss], weighting: nn.Module) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weighting = weighting

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted sum of the targets' mean losses."""
        columns = zip(
            self.losses, torch.split(outputs, 1, -1), torch.split(targets, 1, -1), strict=True
        )
        losses = [loss(output, target) for loss, output, target in columns]
        weighted: Tensor = self.weighting(torch.stack(losses))
        return weighted


@register("loss", "weighted", fusible=["weights"])
def weighted(
    output_size: int, weights: Sequence[Annotated[float, Ge(0)]], loss: LossSection = "mse"
) -> Loss:
    """sum w L of the targets' losses L with constant weights w, as Keras's loss_weights."""
    if len(weights) != output_size:
        raise BadConfigurationError(
            f"must be one for each of the {output_size} targets", weights, keyword="weights"
        )
    return PerTarget(_one_each(loss, output_size), FixedWeighting(weights))


@register("loss", "uncertainty_weighted")
def uncertainty_weighted(output_size: int, loss: LossSection = "mse") -> Loss:
    """sum (e^-s L + s) / 2 of the targets' losses L with learned s (Kendall et al., 2018).

    The best s is log L, so a target's weight is one over its loss. It may be negative.
    """
    return PerTarget(_one_each(loss, output_size), UncertaintyWeighting(output_size))


def _one_each(section: Any, output_size: int) -> list[Loss]:
    return [make_loss(section, output_size=1) for _ in range(output_size)]
