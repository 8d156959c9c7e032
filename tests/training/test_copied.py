"""A trainer that begins with the state of another trial: its weights, and hyperparameters of its
own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from hpsearch.components import Data
from hpsearch.training import Trainer
from tests.support.trainers import MLP, make

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
#: by optimizer: other values of the same program
OPTIMIZERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (SGD, {**SGD, "lr": 0.05, "momentum": 0.5, "weight_decay": 1e-3}),
    ({**SGD, "momentum": 0.0}, SGD),
    (
        {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1},
        {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "beta2": 0.99},
    ),
    ({"name": "rmsprop", "lr": 1e-2}, {"name": "rmsprop", "lr": 1e-3, "alpha": 0.9}),
]


def copied(source: Trainer, data: Data, **values: Any) -> Trainer:
    trainer = make(data, **values)
    config = dataclasses.replace(trainer.config, number=1, copied_epochs=source.epoch)
    trainer = Trainer(config, data)
    trainer.load_state_dict(source.state_dict())
    return trainer


@pytest.mark.parametrize(("before", "after"), OPTIMIZERS)
def test_it_has_the_weights_and_moments_of_the_other_and_its_own_hyperparameters(
    wine: Data, before: dict[str, Any], after: dict[str, Any]
) -> None:
    source = make(wine, optimizer=before)
    source.train_epoch()
    source.train_epoch()
    other = {"model": {**MLP, "dropout": 0.4}, "batch_size": 32}
    trainer = copied(source, wine, optimizer=after, **other)
    assert trainer.epoch == 2
    for mine, theirs in zip(trainer.model.parameters(), source.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert trainer.evaluate("val") == source.evaluate("val")
    fresh = make(wine, optimizer=after, **other)
    hyperparameters = {name for name in fresh.optimizer.defaults if name != "lr"}
    for mine, wanted in zip(
        trainer.optimizer.param_groups, fresh.optimizer.param_groups, strict=True
    ):
        assert {n: mine[n] for n in hyperparameters} == {n: wanted[n] for n in hyperparameters}
    moments, theirs = trainer.optimizer.state_dict(), source.optimizer.state_dict()
    assert str(moments["state"]) == str(theirs["state"])
    metrics = trainer.train_epoch()
    assert metrics is not None
    assert trainer.optimizer.param_groups[0]["lr"] == after["lr"]


def test_its_own_state_goes_on_bit_for_bit(wine: Data) -> None:
    source = make(wine, optimizer=SGD)
    source.train_epoch()
    after = {**SGD, "lr": 0.05, "weight_decay": 1e-2}
    whole = copied(source, wine, optimizer=after)
    whole.train_epoch()
    resumed = Trainer(whole.config, wine)
    resumed.load_state_dict(whole.state_dict())
    one, other = whole.train_epoch(), resumed.train_epoch()
    assert one is not None and other is not None
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
