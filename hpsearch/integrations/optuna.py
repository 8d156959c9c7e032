"""Objectives of Optuna as training functions.

    objective = hpsearch.integrations.optuna.training_function(objective)
    space = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "layers": IntDistribution(1, 4)}
    hpsearch.search(objective, space=space, metric="value", trials=100)

The objective stays as it is: `trial.suggest_*`, `trial.report` and `trial.should_prune`. What it
suggests must be in the space, with the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

METRIC = "value"


def training_function(objective: Callable[[Any], float]) -> Callable[[Any, Any], None]:
    """Return a training function that calls an objective of Optuna.

    Each `trial.report(value, step)` is an epoch, whatever the step; an objective that reports none
    is one epoch long. What it returns is reported at the end, as METRIC.
    """

    def train(config: Mapping[str, Any], trial: Any) -> None:
        adapted = OptunaTrial(config, trial)
        value = objective(adapted)
        if trial.epoch == 0:
            trial.report({METRIC: value})

    train.__name__ = getattr(objective, "__name__", "objective")
    return train


class OptunaTrial:
    """What an objective of Optuna asks of its trial, answered by a trial of hpsearch."""

    def __init__(self, config: Mapping[str, Any], trial: Any) -> None:
        self._trial = trial
        self.params = dict(config)
        self.number: int = trial.number
        self.user_attrs: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the hyperparameter."""
        return float(self._value(name))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return the hyperparameter."""
        return int(self._value(name))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the hyperparameter."""
        return self._value(name)

    def report(self, value: float, step: int) -> None:
        """Report a value; returns once the trial may continue."""
        self._trial.report({METRIC: value})

    def should_prune(self) -> bool:
        """Return False: a trial that is stopped ends in `report`."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a value for the objective itself."""
        self.user_attrs[key] = value

    def _value(self, name: str) -> Any:
        if name not in self.params:
            known = ", ".join(self.params) or "nothing"
            rule = "must be in the space, as the objective suggests it"
            raise KeyError(f"{name}: {rule}; there is {known}")
        return self.params[name]
