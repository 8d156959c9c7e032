"""The ensemble of the weights that a training has passed through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hpsearch.components.batch import Tree
from hpsearch.components.ensembles import Snapshots
from hpsearch.components.tasks.heads import Head
from hpsearch.training.checkpoints import copied_to_cpu


class Ensemble(nn.Module):
    """Models whose predictions are averaged: the outputs for which the head gives that mean.

    `counts` say how often each counts; by default each does once.
    """

    counts: Sequence[int] = ()

    def __init__(
        self, models: Sequence[nn.Module], head: Head, counts: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.models, self.head, self.counts = nn.ModuleList(models), head, tuple(counts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (rows, ...) of the mean prediction."""
        outputs = [model(x) for model in self.models]
        counts = self.counts or [1] * len(outputs)
        repeated = [each for each, n in zip(outputs, counts, strict=True) for _ in range(n)]
        return self.head.mean(torch.stack(repeated))


class SnapshotEnsemble:
    """A model with the weights that it had before, of which all are evaluated together."""

    def __init__(self, of: Snapshots, model: nn.Module, head: Head, max_epochs: int) -> None:
        self._of, self._model, self._head, self._max_epochs = of, model, head, max_epochs
        self._states: list[dict[str, Tensor]] = []  # the newest last

    def begin_epoch(self, epoch: int) -> None:
        """Keep the weights that the epoch before ended with, where a cycle ended."""
        if epoch > 1 and self._of.takes(epoch - 1, self._max_epochs):
            state = {name: each.clone() for name, each in self._model.state_dict().items()}
            self._states = [*self._states, state][1 - self._of.members :]

    def outputs(self, forward: Callable[[Tree], Tree], inputs: Tree) -> Tree:
        """Return the outputs of the mean prediction; `forward` gives those of the model."""
        newest = forward(inputs)
        if not self._states:
            return newest
        others = [functional_call(self._model, state, (inputs,)) for state in self._states]
        return self._head.mean(torch.stack([*others, newest]))

    def module(self) -> nn.Module:
        """Return a copy of all members as one model."""
        models = [copy.deepcopy(self._model) for _ in range(len(self._states) + 1)]
        for model, state in zip(models, self._states, strict=False):
            model.load_state_dict(state)
        return Ensemble(models, copy.deepcopy(self._head))

    def state_dict(self) -> list[dict[str, Tensor]]:
        """Return copies of the members that stay."""
        states: list[dict[str, Tensor]] = copied_to_cpu(self._states)
        return states

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go on with such members."""
        device = next(iter(self._model.state_dict().values())).device
        self._states = [
            {name: each.to(device, copy=True) for name, each in state.items()} for state in states
        ]
