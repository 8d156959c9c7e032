"""SMAC's multi-fidelity facade (Hyperband with a random forest) in the simulated searches."""

from __future__ import annotations

import tempfile

from ConfigSpace import ConfigurationSpace
from smac import MultiFidelityFacade, Scenario
from smac.runhistory import TrialValue

from benchmarks.peers.ask_and_tell import AskAndTell, Evaluation
from benchmarks.tables import MAX_EPOCHS, Task


class SmacHyperband(AskAndTell):
    """As `smac.MultiFidelityFacade` by itself: eta 3, from one epoch to a full training."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            ConfigurationSpace(task.ranges, seed=seed),
            output_directory=self._folder.name,
            deterministic=True,
            n_trials=1_000_000,  # the simulation ends the search
            min_budget=1,
            max_budget=MAX_EPOCHS,
            seed=seed,
        )
        self._facade = MultiFidelityFacade(scenario, _never_called, logging_level=False)

    def ask(self) -> Evaluation:
        """See AskAndTell."""
        info = self._facade.ask()
        assert info.budget is not None
        return Evaluation(info.config, dict(info.config), round(info.budget), info)

    def tell(self, evaluation: Evaluation, value: float) -> None:
        """See AskAndTell."""
        self._facade.tell(evaluation.token, TrialValue(cost=value), save=False)


def _never_called(config: object, seed: int, budget: float) -> float:
    raise AssertionError
