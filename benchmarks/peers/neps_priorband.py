"""NePS's PriorBand over asynchronous Hyperband, without a prior, in the simulated searches."""

from __future__ import annotations

import random

import neps
import numpy as np
import torch

from benchmarks.peers.ask_and_tell import AskAndTell, Evaluation
from benchmarks.tables import MAX_EPOCHS, Task


class NepsPriorBand(AskAndTell):
    """As `neps.run` drives it; eta 3, from one epoch to a full training."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        for set_seed in (random.seed, np.random.seed, torch.manual_seed):
            set_seed(seed)  # it draws from the generators of these, and takes no seed
        space = {
            name: neps.HPOCategorical(range_)
            if isinstance(range_, list)
            else neps.HPOInteger(*range_)
            for name, range_ in task.ranges.items()
        }
        space["epochs"] = neps.HPOInteger(1, MAX_EPOCHS, is_fidelity=True)
        self._optimizer = neps.AskAndTell(neps.algorithms.priorband(neps.SearchSpace(space)))

    def ask(self) -> Evaluation:
        """See AskAndTell."""
        trial = self._optimizer.ask()
        params = dict(trial.config)
        num_epochs = int(params.pop("epochs"))
        return Evaluation(trial.id.partition("_")[0], params, num_epochs, trial)

    def tell(self, evaluation: Evaluation, value: float) -> None:
        """See AskAndTell."""
        self._optimizer.tell(evaluation.token, value)
