"""Early stopping inside a trial: when it ends, and with which weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import Data, load_data
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import ComponentOf
from hpsearch.training import CrossValidation, Trainer, refit
from tests.support.trainers import make

METRICS = ("train_loss", "val_loss", "val_accuracy")


def build(**keywords: Any) -> Any:
    return ComponentOf("callback").build({"name": "early_stopping", **keywords}, metrics=METRICS)


def told(losses: list[float], num_epochs: int = 100, **keywords: Any) -> tuple[int, float]:
    """Tell a callback of losses, each epoch's weight being its loss; (last epoch, weight left)."""
    callback = build(**keywords)
    model = nn.Linear(1, 1)
    for epoch, loss in enumerate(losses, 1):
        nn.init.constant_(model.weight, loss)
        callback.after_epoch(model, {"val_loss": loss}, is_last=epoch == num_epochs)
        if callback.is_over or epoch == num_epochs:
            break
    return epoch, model.weight.item()


def test_waits_for_a_better_epoch_and_restores_the_best() -> None:
    assert told([3, 2, 4, 5, 1, 6, 7, 8, 9], patience=3) == (8, 1.0)


def test_counts_from_the_last_better_epoch() -> None:
    assert told([3, 4, 2, 4, 1, 4], patience=2)[0] == 6


def test_keeps_the_last_weights_if_asked_to() -> None:
    assert told([3, 2, 4, 5], patience=2, restore_best=False) == (4, 5.0)


def test_a_better_epoch_is_better_by_min_delta() -> None:
    losses = [1.0, 0.99, 0.98, 0.97]
    assert told(losses, patience=2, min_delta=0.05)[0] == 3
    assert told(losses, patience=2)[0] == 4


def test_the_best_weights_come_back_at_the_end_of_the_budget_too() -> None:
    assert told([3, 1, 2], num_epochs=3, patience=5) == (3, 1.0)


def test_generalization_loss() -> None:
    """Prechelt's GL_5: more than five percent above the best."""
    assert told([2.0, 1.0, 1.04, 1.06], patience=9, generalization_loss=5) == (4, 1.0)


def test_scores_are_maximised() -> None:
    callback = build(metric="val_accuracy", patience=1)
    model = nn.Linear(1, 1)
    for score in (0.5, 0.7):
        callback.after_epoch(model, {"val_accuracy": score}, is_last=False)
        assert not callback.is_over
    callback.after_epoch(model, {"val_accuracy": 0.6}, is_last=False)
    assert callback.is_over


def test_an_unknown_metric_is_told_before_training(wine: Data) -> None:
    message = r"callbacks.0.metric: must be .*val_loss.*, but got 'val_los'"
    with pytest.raises(BadConfigurationError, match=message):
        make(wine, callbacks=[{"name": "early_stopping", "metric": "val_los"}])


def test_a_metric_that_is_not_reported_is_told() -> None:
    with pytest.raises(BadConfigurationError, match=r"^metric: must be"):
        build().after_epoch(nn.Linear(1, 1), {"val_accuracy": 1.0}, is_last=False)


STOPPING: dict[str, Any] = {
    "optimizer": {"name": "sgd", "lr": 3.0},  # so great that the loss goes up and down
    "callbacks": [{"name": "early_stopping", "patience": 2}],
}


def run(trainer: Trainer, until: int = 40) -> list[dict[str, float]]:
    curve = []
    while trainer.epoch < until and (metrics := trainer.train_epoch()) is not None:
        curve.append(metrics)
    return curve


def long(data: Data) -> Trainer:
    trainer = make(data, **STOPPING)
    return Trainer(dataclasses.replace(trainer.config, max_epochs=40), data)


class TestInATrainer:
    def test_ends_with_the_metrics_of_the_weights_that_stay(self, wine: Data) -> None:
        trainer = long(wine)
        curve = run(trainer)
        assert 3 <= len(curve) < 40
        best = min(metrics["val_loss"] for metrics in curve)
        assert curve[-1]["val_loss"] == best == trainer.evaluate("val")["val_loss"]
        assert trainer.train_epoch() is None
        assert trainer.end_reason == "callback early_stopping"

    def test_goes_on_as_if_nothing_had_happened(self, wine: Data) -> None:
        whole = run(long(wine))
        first = long(wine)
        curve = run(first, until=2)
        second = long(wine)
        second.load_state_dict(first.state_dict())
        curve += run(second)
        assert [m["val_loss"] for m in curve] == [m["val_loss"] for m in whole]

    def test_an_ended_training_stays_ended(self, wine: Data) -> None:
        first, second = long(wine), long(wine)
        run(first)
        second.load_state_dict(first.state_dict())
        assert second.train_epoch() is None
        pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)

    def test_folds_end_one_by_one(self) -> None:
        data = load_data({"name": "wine", "folds": 3}, seed=0)
        config = long(load_data({"name": "wine"}, seed=0)).config
        trainer = CrossValidation(config, data)
        epochs = 0
        while (metrics := trainer.train_epoch()) is not None:
            epochs, last = epochs + 1, metrics
        ends = [each.epoch for each in trainer.trainers]
        assert max(ends) == epochs and min(ends) < 40
        bests = [each.evaluate("val")["val_loss"] for each in trainer.trainers]
        assert last["val_loss"] == pytest.approx(sum(bests) / 3)
        assert trainer.end_reason == "callback early_stopping"

    def test_a_refit_without_validation_trains_on(self, wine: Data) -> None:
        assert refit(long(wine).config, wine, epochs=5).epoch == 5
