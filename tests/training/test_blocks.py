"""What a trial's blocks do to its training, and that each goes on bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.training.batches import epoch_order
from tests.support.trainers import goes_on_bit_for_bit, make

BLOCKS: list[dict[str, Any]] = [
    {"lr_schedule": {"name": "cosine"}},
    {"lr_schedule": {"name": "one_cycle"}},
    {"lr_schedule": {"name": "warmup", "then": {"name": "plateau", "patience": 0}}},
    {"lr_scaling": {"name": "none", "base_batch_size": 6, "regime_adaptation": True}},
    {"optimizer": {"name": "backstitch", "lr": 0.1}},
    {"optimizer": {"name": "lbfgs", "max_iter": 3}},
    {"optimizer": {"name": "po:lion"}},
    {"momentum_schedule": {"name": "constant", "momentum": 0.8}},
    {"batch_schedule": {"name": "increase_on_milestone", "milestones": [1], "factor": 2.0}},
    {"lr_scaling": {"name": "sqrt", "base_batch_size": 4}},
    {"regularizers": [{"name": "l1", "strength": 1e-2}, {"name": "l2"}]},
    {"weight_constraints": [{"name": "max_norm", "c": 0.3}]},
    {"gradient_clip": {"name": "value", "max_value": 0.01}},
    {"weight_averaging": "ema"},
    {"weight_averaging": {"name": "swa", "start": 0.0}},
    {"gradient_noise": 0.1},
    {"gradient_noise": {"name": "gaussian", "std": 1.0, "decay": 0.55}},
    {"regularizers": ["elastic_net"]},
    {"regularizers": ["orthogonality"]},
    {"weight_constraints": ["unit_norm"]},
    {"weight_constraints": ["non_neg"]},
    {"augmentations": [{"name": "feature_masking", "rate": 0.3}]},
    {"augmentations": [{"name": "gaussian_noise", "std": 0.5}]},
    {"last_batch": "drop"},
    {"last_batch": "pad"},
    {"last_batch": "wrap"},
    {"batch_size": "full"},
]


@pytest.mark.parametrize("values", BLOCKS, ids=lambda values: "-".join(values))
class TestEveryBlock:
    def test_changes_the_weights(self, wine: Data, values: dict[str, Any]) -> None:
        plain, changed = make(wine), make(wine, **values)
        for _ in range(2):
            plain.train_epoch()
            changed.train_epoch()
        pairs = zip(plain.model.parameters(), changed.model.parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs)

    def test_two_and_two_epochs_are_four(self, wine: Data, values: dict[str, Any]) -> None:
        goes_on_bit_for_bit(*(make(wine, **values) for _ in range(3)))


def test_the_learning_rate_follows_its_schedule(wine: Data) -> None:
    trainer = make(wine, lr_schedule={"name": "cosine"})
    rates = [metrics["lr"] for _ in range(4) if (metrics := trainer.train_epoch())]
    steps = math.ceil(wine.num_train_rows / 16)
    total = 4 * steps
    expected = [0.05 * (1 + math.cos(math.pi * (n * steps - 1) / (total - 1))) for n in (1, 2, 3)]
    assert rates[:3] == pytest.approx(expected)
    assert rates[3] == pytest.approx(0, abs=1e-12)


def test_batches_grow_and_then_the_rate_falls(wine: Data) -> None:
    rows = wine.num_train_rows
    schedule = {"name": "increase_on_milestone", "milestones": [1, 2], "max_batch_size": 40}
    trainer = make(wine, batch_schedule={**schedule, "factor": 2.0})
    rates = [metrics["lr"] for _ in range(3) if (metrics := trainer.train_epoch())]
    assert rates == pytest.approx([0.1, 0.1, 0.1 * 40 / 64])
    assert [trainer._pace.batch_size(epoch) for epoch in (1, 2, 3)] == [16, 32, 40]
    assert rows > 64


def test_scaling_goes_by_the_batch_size(wine: Data) -> None:
    trainer = make(wine, lr_scaling={"name": "sqrt", "base_batch_size": 4})
    metrics = trainer.train_epoch()
    assert metrics is not None and metrics["lr"] == pytest.approx(0.2)


def test_rows_stay_below_the_greatest_norm(wine: Data) -> None:
    trainer = make(wine, weight_constraints=[{"name": "max_norm", "c": 0.3}])
    trainer.train_epoch()
    for layer in trainer.model.children():
        if isinstance(layer, nn.Linear):
            assert layer.weight.norm(dim=1).max() <= 0.3 + 1e-6


@pytest.mark.parametrize(
    ("policy", "length", "tail"),
    [("keep", 10, slice(8, 10)), ("drop", 8, slice(4, 8)), ("wrap", 12, slice(8, 12))],
)
def test_what_becomes_of_a_last_batch(policy: Any, length: int, tail: slice) -> None:
    def draw(policy: Any) -> list[int]:
        order = epoch_order(10, 4, policy, torch.Generator().manual_seed(0))
        return order.tolist()

    whole, order = draw("keep"), draw(policy)
    assert len(order) == length
    assert order[: min(length, 10)] == whole[: min(length, 10)]
    assert order[tail] == (whole + whole[:2])[tail]
    padded = draw("pad")
    assert padded == [*whole, whole[8], whole[9]]


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_every_optimizer_takes_the_rate_0_with_which_schedules_end(wine: Data, name: str) -> None:
    section = {"name": name, **({"max_iter": 3} if name == "lbfgs" else {})}
    trainer = make(wine, optimizer=section, lr_schedule={"name": "polynomial"}, batch_size="full")
    last = [trainer.train_epoch() for _ in range(4)][-1]
    assert last is not None and last["lr"] == 0
    assert all(param.isfinite().all() for param in trainer.model.parameters())


def test_what_draws_from_numpy_is_the_trials_own(wine: Data) -> None:
    """As the library's Kron does, in which steps it balances."""
    optimizer = {"name": "po:kron", "lr": 0.01, "balance_prob": 0.5}
    weights = []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()[1].copy()
        trainer = make(wine, optimizer=optimizer)
        trainer.train_epoch()
        weights.append([weight.detach().clone() for weight in trainer.model.parameters()])
        assert (np.random.get_state()[1] == before).all()
    assert all(map(torch.equal, *weights))
