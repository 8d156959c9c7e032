"""Objectives of Optuna are training functions."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from hpsearch.integrations.optuna import training_function
from hpsearch.spec import TrialConfig
from hpsearch.training.user_code.functions import FunctionTrainer

CONFIG = {"x": 0.5, "n": 2, "kind": "b"}


def objective(trial: Any) -> float:
    """An objective as one writes it for Optuna."""
    x = trial.suggest_float("x", 0, 1)
    n = trial.suggest_int("n", 1, 4)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range(3):
        trial.report(x * n + step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x if kind == "b" else 0.0


@pytest.mark.usefixtures("own_registry")
def test_its_reports_are_epochs() -> None:
    from hpsearch import register

    register("trainable", "objective_of_optuna")(training_function(objective))
    config = TrialConfig(
        0, 0, 3, {"space": CONFIG}, metric="value", trainable="objective_of_optuna"
    )
    trainer = FunctionTrainer(config, "cpu", "value")
    assert [trainer.train_epoch()["value"] for _ in range(3)] == [1.0, 2.0, 3.0]


class _Trial:
    number, epoch = 3, 0

    def __init__(self) -> None:
        self.reports: list[dict[str, float]] = []

    def report(self, metrics: dict[str, float]) -> None:
        self.reports.append(metrics)


def test_without_reports_its_value_is_one() -> None:
    trial = _Trial()
    training_function(lambda each: each.params["x"] + each.number)({"x": 0.5}, trial)
    assert trial.reports == [{"value": 3.5}]


def test_what_it_suggests_must_be_in_the_space() -> None:
    with pytest.raises(KeyError, match="y: must be in the space, as the objective suggests it"):
        training_function(lambda each: each.suggest_float("y", 0, 1))({"x": 0.5}, _Trial())


def test_the_objective_is_the_one_that_optuna_runs() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(CONFIG)
    study.optimize(objective, n_trials=1)
    assert study.best_value == 0.5
