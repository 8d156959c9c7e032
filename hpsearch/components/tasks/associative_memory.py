"""Associative memory: patterns are stored, and recalled when they are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.losses import Loss
from hpsearch.components.tasks.heads import Linear
from hpsearch.components.tasks.parts import SupervisedTask, TaskComponents
from hpsearch.errors import DataError
from hpsearch.registry import register

KIND: Kind = "associative_memory"


class Patterns(NumberedValues):
    """Float32 (rows, units): what each row was before it was damaged."""

    reads_targets: ClassVar[bool] = False
    has_means: ClassVar[bool] = False

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return the patterns; DataError where they aren't as inputs are."""
        if y.shape != (len(x), x[0].size):
            rule = f"{KIND} needs targets (rows, {x[0].size}), the patterns undamaged, but got"
            raise DataError(f"{rule} {y.shape}")
        return y


register_encoding(KIND, Patterns())


class MeanEnergy(Loss):
    """The first column of outputs: the energies of rows."""

    kinds: ClassVar[tuple[Kind, ...]] = (KIND,)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean."""
        return outputs[:, 0].mean()


class Recalled(nn.Module):
    """What a model recalls, without its energies."""

    def forward(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return states (B, N)."""
        return outputs[0]


class AssociativeMemory(SupervisedTask):
    """The energy of patterns, and how much of them is recalled."""

    kind: ClassVar[Kind] = KIND
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "accuracy_gain", "recalled")
    joins_batches: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(TaskComponents(MeanEnergy(), Linear()))

    def last_layers(self) -> list[nn.Module]:
        """Return what an exported model makes of outputs: what is recalled."""
        return [Recalled()]

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return energies, what is recalled and what was given (B, 1 + 2 N), and patterns."""
        states, energies = in_float32(outputs)
        given = batch.inputs.flatten(1).float()
        return torch.cat([energies[:, None], states, given], 1), batch.targets

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        size = targets.shape[1]
        energies, states, given = torch.split(outputs, [1, size, size], 1)
        right = (states == targets).double()
        gained = right.mean(1) - (given == targets).double().mean(1)
        sums = [energies.double().sum(), right.mean(1).sum(), gained.sum(), right.amin(1).sum()]
        return torch.stack(sums)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        return {
            name: total / num_rows for name, total in zip(self.own_metrics, totals, strict=True)
        }


@register("task", KIND)
def associative_memory() -> AssociativeMemory:
    """Patterns that a Hopfield net recalls when they are damaged; for the model hopfield and the
    data set patterns, or others whose targets are the patterns undamaged, values -1 and 1.

    The loss is the mean energy of the rows. Its gradient is Hebb's rule, ΔW ∝ x xᵀ: any learning
    rate of the optimizer `sgd` stores the training rows, after one epoch already, and more only
    make all weights greater. Reports the share of units that are right after recall (`accuracy`),
    how much more that is than of what was given (`accuracy_gain`), and the share of rows that are
    right in all units (`recalled`).
    """
    return AssociativeMemory()
