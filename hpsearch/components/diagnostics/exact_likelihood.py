"""The likelihood of small restricted Boltzmann machines, whose states can all be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from hpsearch.components.batch import Batch
from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.models.boltzmann import MOST_COUNTED, Boltzmann
from hpsearch.registry import register


@register("callback", "exact_likelihood")
@dataclass(frozen=True)
class ExactLikelihood(BaseCallback):
    """Measures the negative log-likelihood of a Boltzmann machine in nats a row, each epoch.

    `train_nll` and `val_nll`, of model `rbm`, or the first layer of `dbn`, in the task
    contrastive_divergence. The partition function is a sum over all states of the hidden units
    or, where these are fewer, of the Bernoulli visible ones (Salakhutdinov and Murray, 2008), so
    models are measured that have at most 20 of either. Rows are taken for states of the units:
    for values between 0 and 1 this is no likelihood. Costs a pass over both splits, and a sum
    whose time doubles with each unit: with 20, and rows of 64 values, about a second of a core.
    """

    metrics: ClassVar[tuple[str, ...]] = ("train_nll", "val_nll")

    @staticmethod
    def measures(model: nn.Module) -> bool:
        """Whether a model's states can be counted."""
        units = model.num_counted if isinstance(model, Boltzmann) else None
        return units is not None and units <= MOST_COUNTED

    @torch.no_grad()
    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Return the means over the rows that `read` gives; nothing for other models."""
        if not isinstance(model, Boltzmann) or not self.measures(model):
            return {}
        log_partition = model.log_partition().item()
        found = {}
        for split in ("train", "val"):
            energies = [
                model.free_energy(batch.inputs.flatten(1).float()).double()
                for batch in read(split)
            ]
            found[f"{split}_nll"] = torch.cat(energies).mean().item() + log_partition
        return found
