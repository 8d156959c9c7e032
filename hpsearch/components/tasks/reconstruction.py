"""Reconstruction: a model gives back its inputs, through a code or after they were changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.examples import num_features
from hpsearch.components.losses import LossSection
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.registry import Recommended, register


class Inputs(NumberedValues):
    """The inputs are the targets, whatever targets a data set has."""

    reads_targets: ClassVar[bool] = False
    ignores_targets: ClassVar[bool] = True
    gives_inputs: ClassVar[bool] = True

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of values of an example."""
        return num_features(input_shape)

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return that of an example."""
        return input_shape


register_encoding("reconstruction", Inputs())


class Reconstruction(SupervisedTask):
    """Errors of reconstructions and, of a variational model, the divergence of its codes.

    Such a model gives (reconstruction, means, log variances of its codes). With squared errors
    the loss times half the number of values is the negative evidence lower bound of a Gaussian
    decoder of unit variance, up to a constant: both parts are sums over values and codes.
    """

    kind: ClassVar[Kind] = "reconstruction"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "kl_divergence")
    joins_batches: ClassVar[bool] = False

    def __init__(self, parts: TaskComponents, kl_weight: float) -> None:
        super().__init__(parts)
        self._kl_weight = kl_weight

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of the values, and the weighted divergence of each."""
        loss: Tensor = self.criterion(*self._compared(outputs, batch))
        codes = in_float32(_parts_of(outputs)[1:])
        if not codes:
            return loss
        num_values = batch.inputs[0].numel()
        divergence = kl_divergences(*codes).mean()
        weighted: Tensor = loss + 2 * self._kl_weight / num_values * divergence
        return weighted

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return those of the errors, before them the divergences."""
        codes = in_float32(_parts_of(outputs)[1:])
        errors = super().totals(outputs, batch)
        divergence = kl_divergences(*codes).double().sum() if codes else 0.0 * errors[0]
        return torch.cat([errors[:1], divergence.reshape(1), errors[1:]])

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return reconstructions and inputs (rows, values)."""
        first: Tensor = in_float32(_parts_of(outputs)[0])
        return first.flatten(1), batch.inputs.flatten(1)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the rows' mean squared errors."""
        return (outputs - targets).double().square().mean(1).sum().reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        error, divergence = totals
        return {"loss": error / num_rows, "kl_divergence": divergence / num_rows}


def kl_divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, e^l) || N(0, 1)) of each row in nats (Kingma and Welling, 2014, appendix B).

    >>> kl_divergences(torch.ones(1, 1), torch.zeros(1, 1)).tolist()
    [0.5]
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)


def _parts_of(outputs: Tree) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@register("task", "reconstruction")
def reconstruction(
    output_size: int,
    folder: Path | None,
    loss: LossSection | None = None,
    kl_weight: Annotated[float, Ge(0), Recommended(0.01, 10.0, log=True, prior=1.0)] = 1.0,
) -> Reconstruction:
    """Inputs given back, learned by the squared error or another loss; whatever targets there are.

    Reports the mean squared error of standardised inputs whatever is trained on, and the
    divergence of a variational model's codes from their prior in nats a row, which
    `kl_weight` weighs (the β of β-VAEs); that of other models is 0. The value of a loss that is
    given is `criterion`.
    """
    targets = Targets("regression", output_size)  # numbers
    return Reconstruction(make_parts(targets, "mse", loss, "linear", (), folder), kl_weight)
