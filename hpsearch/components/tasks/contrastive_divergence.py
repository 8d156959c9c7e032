"""Contrastive divergence: data gets a lower free energy than what a model draws of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import Loss
from hpsearch.components.tasks.heads import Linear
from hpsearch.components.tasks.parts import SupervisedTask, TaskComponents
from hpsearch.registry import register


class NoTargets(TargetEncoding):
    """The inputs alone are learned."""

    reads_targets: ClassVar[bool] = False
    ignores_targets: ClassVar[bool] = True

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the free energy of one layer."""
        return 1

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return the free energies of the layer that was trained."""
        return {"free_energy": answers[:, -1]}


register_encoding("contrastive_divergence", NoTargets())


class Difference(Loss):
    """Free energies of data less those of chains."""

    kinds: ClassVar[tuple[Kind, ...]] = ("contrastive_divergence",)

    def forward(self, of_rows: Tensor, of_chains: Tensor) -> Tensor:
        """Return the mean, whose gradient is the negative one of contrastive divergence."""
        return of_rows[:, 0].mean() - of_chains.mean()


class ContrastiveDivergence(SupervisedTask):
    """What `components.models.boltzmann` gives, as a loss and as metrics."""

    kind: ClassVar[Kind] = "contrastive_divergence"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "free_energy", "pseudo_log_likelihood")
    joins_batches: ClassVar[bool] = False

    def __init__(self, layer: int) -> None:
        super().__init__(TaskComponents(Difference(), Linear()))
        self.num_outputs = layer

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the rows' free energies, errors and pseudo log-likelihoods (B, 3), and the free
        energies of chains (B,)."""
        energies, of_chains, errors, likelihoods = in_float32(outputs)
        return torch.stack([energies[:, -1], errors, likelihoods], 1), of_chains

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.double().sum(0)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        energy, error, likelihood = (total / num_rows for total in totals)
        return {"loss": error, "free_energy": energy, "pseudo_log_likelihood": likelihood}


@register("task", "contrastive_divergence")
def contrastive_divergence(layer: Annotated[int, Ge(1)] = 1) -> ContrastiveDivergence:
    """A layer of the model `dbn`, or that of `rbm`, learned as a Boltzmann machine of its inputs.

    For data of any kind in memory. The gradient is that of contrastive divergence (Hinton, 2002):
    the mean free energy of rows less that of where the model's chains are. Reports the error of
    reconstructions in nats a row as `loss`, which isn't what is minimised, the mean
    `free_energy` of rows, of which that of validation rows leaves training rows' behind where a
    model overfits, and of Bernoulli units the `pseudo_log_likelihood` in nats a row. None of them
    is the likelihood.
    """
    return ContrastiveDivergence(layer)
