"""One epoch of many random configurations, then the best of them in full.

Egele et al., 2023, Is One Epoch All You Need For Multi-Fidelity Hyperparameter Optimization?
(arXiv:2307.15422), with half of the budget for either part.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.ask_and_tell import AskAndTell, Evaluation
from benchmarks.samplers import BUDGET
from benchmarks.tables import MAX_EPOCHS, Task
from hpsearch.samplers import make_sampler

NUM_CONFIGURATIONS = BUDGET // 2


class OneEpoch(AskAndTell):
    """Configurations that are still in their first epoch when the second half begins wait."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        self._random = make_sampler(
            {"name": "random"}, task.space, seed=seed, direction="minimize", rungs=(), slots=1
        )
        self._asked: list[Evaluation] = []
        self._first_values: dict[int, float] = {}  # of those that haven't trained on

    def ask(self) -> Evaluation:
        """See AskAndTell."""
        if len(self._asked) < NUM_CONFIGURATIONS:
            number = len(self._asked)
            params = self._random.suggest(number, ())
            assert params is not None
            self._asked.append(Evaluation(number, params, 1, number))
            return self._asked[-1]
        best = min(self._first_values, key=self._first_values.__getitem__)
        del self._first_values[best]
        return self._asked[best]._replace(num_epochs=MAX_EPOCHS)

    def tell(self, evaluation: Evaluation, value: float) -> None:
        """See AskAndTell."""
        if evaluation.num_epochs == 1:
            self._first_values[evaluation.token] = value if np.isfinite(value) else np.inf
