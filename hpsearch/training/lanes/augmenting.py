"""Augmentations of lanes: each lane draws what its trial by itself would draw."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hpsearch.components.batch import Batch
from hpsearch.training.seeds import random_states, set_random_states
from hpsearch.training.trainer import EpochPlan, Trainer


class LaneAugmenting:
    """Augments the batches of an epoch lane by lane, each from its states of the generators.

    The states of the process are left as they come; the batches must be whole.
    """

    def __init__(self, trainers: Sequence[Trainer], plans: Sequence[EpochPlan]) -> None:
        self._trainers = trainers
        self._states = [plan.random_states for plan in plans]

    def __call__(self, batch: Batch) -> Batch:
        """Return the next batch of each lane, whose tensors are (lanes, rows, ...), augmented."""
        lanes = [self._augmented(row, batch) for row in range(len(self._trainers))]
        inputs, targets = ([getattr(each, n) for each in lanes] for n in ("inputs", "targets"))
        return Batch(torch.stack(inputs), torch.stack(targets), batch.mask)

    def _augmented(self, row: int, batch: Batch) -> Batch:
        states = self._states[row]
        assert states is not None
        set_random_states(states)
        augmented = self._trainers[row].augmenting(batch.map(lambda tensor: tensor[row]))
        self._states[row] = random_states()
        return augmented
