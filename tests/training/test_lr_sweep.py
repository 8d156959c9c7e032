"""The sweep of a range test: it trains at growing rates, and leaves its trainer as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.training import Trainer
from hpsearch.training.lr_sweep import sweep
from tests.support.trainers import make

BATCH_NORM = {"name": "mlp", "hidden_sizes": [16], "norm": "batch", "dropout": 0.2}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits"}, seed=0)


def made(data: Data, name: str = "sgd", lr: float = 1e-7, **values: Any) -> Trainer:
    return make(data, optimizer={"name": name, "lr": lr}, model=BATCH_NORM, **values)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_trainer_is_as_it_was(digits: Data, name: str) -> None:
    tested, other = (made(digits, name, lr=0.01) for _ in range(2))
    for trainer in (tested, other):
        trainer.train_epoch()  # the optimizer and batch norm have seen something
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    sweep(tested, lowest=0.01, num_steps=50)
    after = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    one, two = tested.train_epoch(), other.train_epoch()
    assert one is not None and two is not None
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    for ours, theirs in zip(tested.model.buffers(), other.model.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_rates_grow_by_one_factor_and_a_diverging_sweep_stops(digits: Data) -> None:
    trainer = make(digits, optimizer={"name": "sgd", "lr": 1e-7})
    found = sweep(trainer, highest=1e5, num_steps=120)
    assert found.is_diverged and 60 < len(found.rates) < 120
    assert len(found.losses) == len(found.rates) and np.isfinite(found.losses).all()
    assert found.rates[0] == pytest.approx(1e-7)
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], 1e12 ** (1 / 119))


def test_a_sweep_that_never_diverges_ends_at_the_highest_rate(digits: Data) -> None:
    found = sweep(made(digits), highest=1e-3, num_steps=30)
    assert not found.is_diverged
    assert len(found.rates) == 30 and found.rates[-1] == pytest.approx(1e-3)


def test_each_step_has_its_rate(digits: Data) -> None:
    """Of plain SGD the weights move by the rate times the gradient."""
    trainer = make(digits, optimizer={"name": "sgd", "lr": 1e-4}, model={"name": "mlp"})
    taken: list[float] = []
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: taken.append(optimizer.param_groups[0]["lr"])
    )
    found = sweep(trainer, lowest=1e-4, highest=1e-2, num_steps=40)
    np.testing.assert_allclose(taken, found.rates)


def test_a_scaled_rate_is_tested_before_its_scaling(digits: Data) -> None:
    scaling = {"name": "linear", "base_batch_size": 8}
    trainer = made(digits, lr=1e-4, lr_scaling=scaling)  # batches of 16: twice the rate
    taken: list[float] = []
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: taken.append(optimizer.param_groups[0]["lr"])
    )
    found = sweep(trainer, lowest=1e-4, highest=1e-2, num_steps=10)
    np.testing.assert_allclose(taken, 2 * found.rates)
