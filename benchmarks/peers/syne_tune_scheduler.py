"""A scheduler of Syne Tune in the simulated searches, called as its tuner calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision, TrialScheduler

from benchmarks.tables import MAX_EPOCHS, Task
from hpsearch.early_stopping import EarlyStopper
from hpsearch.samplers import Observation
from hpsearch.spec import Scalar

#: name in the table → the scheduler; each with its defaults: eta 3, first rung at one epoch
SCHEDULERS: Mapping[str, Callable[..., TrialScheduler]] = {
    "syne_asha": baselines.ASHA,
    "syne_bohb": baselines.BOHB,
    "syne_cqr": baselines.ASHACQR,
    "syne_bore": baselines.ASHABORE,
}


class SyneTuneScheduler(EarlyStopper):
    """Sampler and rule at once."""

    def __init__(self, name: str, task: Task, seed: int) -> None:
        self.rungs = (MAX_EPOCHS,)
        np.random.seed(seed)  # brackets and some searchers draw from numpy's own generator
        self._scheduler = SCHEDULERS[name](
            config_space={
                key: choice(range_) if isinstance(range_, list) else randint(*range_)
                for key, range_ in task.ranges.items()
            },
            metric="error",
            time_attr="epoch",
            max_t=MAX_EPOCHS,
            random_seed=seed,
        )
        self._trials: list[Trial] = []

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        suggestion = self._scheduler.suggest()
        assert suggestion is not None and suggestion.config is not None
        trial = Trial(number, suggestion.config, datetime.now())
        self._trials.append(trial)
        self._scheduler.on_trial_add(trial)
        params: dict[str, Any] = suggestion.config
        return dict(params)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See EarlyStopper."""
        trial = self._trials[number]
        decision = self._scheduler.on_trial_result(trial, {"error": value, "epoch": epoch})
        if decision == SchedulerDecision.STOP:
            self._scheduler.on_trial_remove(trial)
        return bool(decision == SchedulerDecision.STOP)
