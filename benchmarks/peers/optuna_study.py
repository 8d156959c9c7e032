"""An Optuna study in the simulated searches: its sampler and its pruner, as it calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from benchmarks.tables import MAX_EPOCHS, Task
from hpsearch.early_stopping import EarlyStopper
from hpsearch.samplers import Observation
from hpsearch.spec import Scalar

#: name in the table → the pruner beside Optuna's default sampler, TPE
PRUNERS: Mapping[str, Callable[[], BasePruner]] = {
    "optuna_halving": lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "optuna_hyperband": lambda: HyperbandPruner(
        min_resource=1, max_resource=MAX_EPOCHS, reduction_factor=3
    ),
}


class OptunaStudy(EarlyStopper):
    """Sampler and rule at once, as `study.optimize` drives them.

    An objective reports each epoch and asks whether it should be pruned. A pruned trial is told
    as such, with what it reported.
    """

    def __init__(self, name: str, task: Task, seed: int) -> None:
        self.rungs = (MAX_EPOCHS,)
        self._distributions = task.space.distributions
        self._study = optuna.create_study(
            direction="minimize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=PRUNERS[name](),
        )
        self._trials: list[optuna.Trial] = []

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        self._trials.append(self._study.ask(self._distributions))
        return dict(self._trials[number].params)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        trial = self._trials[number]
        trial.report(value, epoch)
        if epoch == MAX_EPOCHS:
            self._study.tell(trial, value)
            return False
        should_stop = trial.should_prune()
        if should_stop:
            self._study.tell(trial, state=TrialState.PRUNED)
        return should_stop
