"""Users' code may change all that it is given: nothing else sees that."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import Data, load_data
from hpsearch.record import Record
from hpsearch.record.observations import Observations
from hpsearch.samplers import make_sampler
from hpsearch.spec import TrialConfig
from hpsearch.training import CrossValidation, Trainer, launch, make_trainer, refit
from tests.support.specs import make_spec

VALUES: dict[str, Any] = {
    "model": {"name": f"{__name__}:net", "widths": [4]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 32,
}
WIDTHS: list[list[int]] = []


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


def config(**values: Any) -> TrialConfig:
    return TrialConfig(0, 0, 2, copy.deepcopy({**VALUES, **values}))


def net(input_shape: tuple[int, ...], output_size: int, widths: list[int]) -> nn.Module:
    WIDTHS.append(list(widths))
    widths.append(2 * widths[-1])
    layers = [nn.LazyLinear(width) for width in (*widths, output_size)]
    model = nn.Sequential(*layers)
    model(torch.zeros(1, *input_shape))
    return model


def halving_the_rate(config: TrialConfig, data: Data) -> Trainer:
    config.values["optimizer"]["lr"] /= 2
    return Trainer(config, data)


def train(config: Mapping[str, Any], trial: Any) -> Any:
    config["widths"].append(8)
    yield {"score": len(config["widths"])}


class Renaming:
    """Changes the metrics of an epoch."""

    is_over = False

    def before_evaluation(self, model: nn.Module, train_batches: Any) -> None: ...

    def after_epoch(self, model: nn.Module, metrics: dict[str, float], *, is_last: bool) -> bool:
        metrics["val_loss"] = -1.0
        return False


def test_folds_and_the_final_training_get_the_same_model() -> None:
    WIDTHS.clear()
    data = load_data({"name": "wine", "folds": 3}, seed=0)
    one = config()
    CrossValidation(one, data)
    refit(one, data, epochs=0)
    assert WIDTHS == [[4]] * 4


def test_each_attempt_of_a_function_gets_its_hyperparameters() -> None:
    space = {"widths": [1]}
    one = TrialConfig(0, 0, 1, {"space": space}, trainable=f"{__name__}:train")
    for _ in range(2):
        metrics = launch(one, None).train_epoch()
        assert metrics is not None
        assert metrics["score"] == 2


def test_each_attempt_of_a_launcher_gets_its_configuration(wine: Data) -> None:
    one = config(launcher={"name": f"{__name__}:halving_the_rate"})
    for _ in range(2):
        trainer = launch(one, wine)
        assert isinstance(trainer, Trainer)
        assert trainer.config.values["optimizer"]["lr"] == 0.05


def test_checks_have_a_configuration_of_their_own(wine: Data) -> None:
    one = config()
    make_trainer(one, wine).trainers[0].config.values.clear()
    assert one == config()


def test_a_callback_changes_no_metric(wine: Data) -> None:
    metrics = Trainer(config(callbacks=[{"name": f"{__name__}:Renaming"}]), wine).train_epoch()
    assert metrics is not None
    assert metrics["val_loss"] > 0


class Greedy:
    """Changes the space, and what it is given of earlier trials."""

    def __init__(self, space: Any) -> None:
        self._names = list(space.distributions)
        space.sections.clear()

    def suggest(self, number: int, observations: list[Any]) -> dict[str, float]:
        for each in observations:
            each.params.clear()
            each.curve.clear()
        observations.clear()
        return dict.fromkeys(self._names, 0.5)


def test_a_sampler_changes_neither_space_nor_record(tmp_path: Path) -> None:
    space = {"x": {"low": 0.0, "high": 1.0}}
    spec = make_spec(tmp_path, trainable="train.py:train", space=space)
    record = Record.create(tmp_path / "record.journal", spec)
    record.report(record.add_trial({"x": 0.25}).number, 1, {"val_accuracy": 0.5})
    named = {"name": f"{__name__}:Greedy"}
    sampler = make_sampler(named, record.space, seed=0, direction="maximize", rungs=(1,), slots=1)
    seen = Observations(record)
    assert sampler.suggest(1, seen.read()) == {"x": 0.5}
    (observation,) = seen.read()
    assert observation.params == record.trials[0].params == {"x": 0.25}
    assert observation.curve == {1: 0.5}
    assert record.space.sections
