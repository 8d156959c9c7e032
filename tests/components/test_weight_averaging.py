"""Averages of weights: what is evaluated, kept and exported is the average; the steps go on
without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hpsearch.components import Data
from hpsearch.training import Trainer, export_model
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from tests.support.trainers import make

EMA = {"name": "ema", "decay": 0.8}


def weights_of(each: Trainer) -> list[Tensor]:
    return [param.detach().clone() for param in each.model.parameters()]


def trained(trainer: Trainer, epochs: int) -> list[list[Tensor]]:
    """Train; returns the weights after each step."""
    found: list[list[Tensor]] = []
    trainer.optimizer.register_step_post_hook(lambda *_: found.append(weights_of(trainer)))
    for _ in range(epochs):
        trainer.train_epoch()
    return found


def assert_weights(trainer: Trainer, expected: list[Tensor]) -> None:
    torch.testing.assert_close(weights_of(trainer), expected)


def test_as_torchs_averaged_model(wine: Data) -> None:
    averaged = make(wine, weight_averaging={**EMA, "warmup": False})
    net = nn.ParameterList(weights_of(averaged))
    torchs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    for weights in trained(averaged, 2):
        for param, weight in zip(net, weights, strict=True):
            param.data.copy_(weight)
        torchs.update_parameters(net)
    assert_weights(averaged, [param.detach() for param in torchs.parameters()])


def test_the_decay_is_small_at_first(wine: Data) -> None:
    averaged = make(wine, weight_averaging=EMA)
    first, *others = trained(averaged, 1)
    for number, weights in enumerate(others, 1):
        decay = min(0.8, number / (number + 9))
        first = [decay * old + (1 - decay) * new for old, new in zip(first, weights, strict=True)]
    assert_weights(averaged, first)
    assert len(others) > 5


@pytest.mark.parametrize(("every", "taken"), [(1, [2, 3, 4]), (2, [2, 4])])
def test_swa_is_the_mean_of_the_ends_of_epochs(wine: Data, every: int, taken: list[int]) -> None:
    averaged = make(wine, weight_averaging={"name": "swa", "start": 0.25, "every": every})
    plain = make(wine)
    trained(averaged, 1)
    trained(plain, 1)
    assert_weights(averaged, weights_of(plain))  # none before it starts
    num_steps = len(trained(make(wine), 1))
    ends = trained(averaged, 3)[num_steps - 1 :: num_steps]
    means = [torch.stack(each).mean(0) for each in zip(*(ends[e - 2] for e in taken), strict=True)]
    assert_weights(averaged, means)


def test_the_steps_go_on_without_it(wine: Data) -> None:
    averaged, plain = make(wine, weight_averaging=EMA), make(wine)
    both = zip(trained(averaged, 3), trained(plain, 3), strict=True)
    assert all(map(torch.equal, *each) for each in both)


def test_the_average_is_evaluated_kept_and_exported(wine: Data, tmp_path: Path) -> None:
    averaged = make(wine, weight_averaging=EMA)
    metrics = averaged.train_epoch()
    assert metrics is not None
    weights = weights_of(averaged)
    assert metrics["val_loss"] == averaged.evaluate("val")["val_loss"]
    path = CheckpointStore(tmp_path, 0).save(1, averaged.state_dict())
    fresh = make(wine)  # without any average
    fresh.load_weights(load_checkpoint(path))
    assert all(map(torch.equal, weights_of(fresh), weights))
    exported = export_model(averaged)
    assert all(map(torch.equal, list(exported.parameters()), weights))


def test_the_average_keeps_the_constraints(wine: Data) -> None:
    """A mean of unit vectors is shorter than they are."""
    averaged = make(wine, weight_averaging=EMA, weight_constraints=["unit_norm"])
    averaged.train_epoch()
    for layer in averaged.model.modules():
        if isinstance(layer, nn.Linear):
            norms = layer.weight.norm(dim=1)
            torch.testing.assert_close(norms, torch.ones_like(norms))
