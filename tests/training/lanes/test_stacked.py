"""The steps of all lanes as one: the same numbers as by each lane's own optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.training import Trainer
from hpsearch.training.lanes.group import LaneGroup
from hpsearch.training.lanes.lanes import Lanes
from hpsearch.training.lanes.stacked_optimizers import kind_of_step
from hpsearch.training.lanes.stacked_training import StackedTraining
from tests.support.lanes import (
    MLP,
    Trained,
    alone,
    assert_same,
    lane_config,
    together,
    without_time,
)

#: lanes of one kind each
OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {"name": "sgd", "lr": 0.05},
        {"name": "sgd", "lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        {"name": "momentum", "lr": 0.03, "momentum": 0.8},
        {"name": "nesterov", "lr": 0.01, "momentum": 0.95, "weight_decay": 0.1},
    ],
    "plain sgd": [{"name": "sgd", "lr": 0.05}, {"name": "sgd", "lr": 0.1, "weight_decay": 0.1}],
    "adam": [
        {"name": "adam", "lr": 0.01, "weight_decay": 0.1},
        {"name": "adamw", "lr": 0.02, "beta1": 0.8, "weight_decay": 0.3},
        {"name": "adam", "lr": 0.003, "beta2": 0.9, "eps": 1e-4},
    ],
    "sgd, two groups": [
        {"name": "sgd", "lr": 0.05, "weight_decay": 0.5, "decay_biases": False},
        {"name": "momentum", "lr": 0.05, "weight_decay": 0.2, "decay_biases": False},
    ],
    "adam, two groups": [
        {"name": "adam", "lr": 0.01, "weight_decay": 0.5, "decay_biases": False},
        {"name": "adamw", "lr": 0.01, "weight_decay": 0.5, "decay_biases": False},
    ],
    "amsgrad": [
        {"name": "amsgrad", "lr": 0.01},
        {"name": "amsgrad", "lr": 0.03, "beta1": 0.5, "weight_decay": 0.1},
    ],
}
CLIPS = [None, {"name": "norm", "max_norm": 0.2}, {"name": "value", "max_value": 0.01}]
SCHEDULES = [None, {"name": "cosine"}, {"name": "one_cycle"}]


def configs_of(kind: str, *, same_sizes: bool) -> list[Any]:
    """Trials of a kind that differ in all else, twice as many as optimizers."""
    configs = []
    for number, optimizer in enumerate(OPTIMIZERS[kind] * 2):
        schedule = SCHEDULES[number % 3] if kind != "plain sgd" else None
        values = {
            "optimizer": optimizer,
            "gradient_clip": CLIPS[(number + number // 3) % 3],
            "lr_schedule": schedule,
            "batch_size": 16 if same_sizes else [16, 57, 20][number % 3],
        }
        given = {name: value for name, value in values.items() if value is not None}
        configs.append(lane_config(number, **given))
    return configs


def closest(one: Trained, other: Trained) -> None:
    """Check that all that training changes is the same, the optimizer's state by its values."""
    assert_same(one, other)
    mine, theirs = (each.trainer.state_dict()["optimizer"]["state"] for each in (one, other))
    for param, state in mine.items():
        for name, value in state.items():
            if torch.is_tensor(value):
                scale = float(value.abs().max()) + 1e-6
                assert torch.allclose(value, theirs[param][name], rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("same_sizes", [True, False], ids=["whole", "divided"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_those_of_the_optimizers(kind: str, same_sizes: bool, wine: Data) -> None:
    configs = configs_of(kind, same_sizes=same_sizes)
    assert len({kind_of_step(Trainer(config, wine)) for config in configs}) == 1
    trainers, lanes = together(configs, wine, 3, stacked=True)
    for one, other in zip(alone(configs, wine, 3), trainers, strict=True):
        closest(one, other)
    assert lanes.num_fused == 3 * len(configs)


def test_lanes_get_programs_by_the_kinds_of_their_optimizers(wine: Data) -> None:
    optimizers = [each for kind in OPTIMIZERS.values() for each in kind[:2]]
    optimizers += [{"name": "rmsprop", "lr": 0.003}] * 2
    configs = [lane_config(number, optimizer=each) for number, each in enumerate(optimizers)]
    trainers, lanes = together(configs, wine, 2, stacked=True)
    for one, other in zip(alone(configs, wine, 2), trainers, strict=True):
        assert_same(one, other)
    # by kinds and groups, and those that step by themselves
    assert len(lanes._groups) == 6
    assert lanes.num_fused == 2 * len(configs)


def test_constraints_are_no_part_of_a_stacked_step(wine: Data) -> None:
    trainer = Trainer(lane_config(weight_constraints=[{"name": "max_norm"}]), wine)
    assert kind_of_step(trainer) is None


def test_losses_that_learn_are_reported_as_alone() -> None:
    numbers = load_data({"name": "diabetes"}, seed=0)
    task = {"name": "regression", "loss": "adaptive_robust"}
    configs = [lane_config(number, task=task) for number in range(3)]
    trainers, lanes = together(configs, numbers, 2, stacked=True)
    for one, other in zip(alone(configs, numbers, 2), trainers, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 6


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_lanes_leave_with_their_states_and_join_others(kind: str, wine: Data) -> None:
    """By themselves before, between and after epochs with others."""
    configs = configs_of(kind, same_sizes=True)[:4]
    expected = alone(configs, wine, 4)
    trainers = [Trainer(config, wine) for config in configs]
    curves: list[list[Any]] = [[without_time(t.train_epoch())] for t in trainers[:2]] + [[], []]
    lanes = Lanes(stacked=True)
    for inside in ([0, 1, 2, 3], [0, 2, 3], [0, 1, 2, 3]):
        for number in inside:
            lanes.join(trainers[number])
        for trainer, result in lanes.train_epoch().items():
            curves[trainers.index(trainer)].append(without_time(result))
        for number in inside:
            lanes.leave(trainers[number])
    assert lanes.num_fused == 11
    for number, trainer in enumerate(trainers):
        while len(curves[number]) < 4:
            curves[number].append(without_time(trainer.train_epoch()))
        closest(expected[number], Trained(trainer, curves[number][:4]))


def test_a_state_is_in_the_optimizer_between_epochs(wine: Data) -> None:
    """As a checkpoint of a lane that stays has it."""
    configs = configs_of("adam", same_sizes=True)
    trainers = [Trainer(config, wine) for config in configs]
    group = LaneGroup(trainers, stacked=True)
    assert isinstance(group.training, StackedTraining)
    for epoch in (1, 2):
        group.train_epoch()
        for trainer, expected in zip(trainers, alone(configs, wine, epoch), strict=True):
            kept = trainer.state_dict()["optimizer"]["state"]
            theirs = expected.trainer.state_dict()["optimizer"]["state"]
            assert [s["step"] for s in kept.values()] == [s["step"] for s in theirs.values()]


def test_a_lane_that_diverges_changes_no_other(wine: Data) -> None:
    configs = [lane_config(number) for number in range(3)]
    configs.append(lane_config(3, optimizer={"name": "sgd", "lr": 1e30}))
    lanes = Lanes(stacked=True)
    trainers = [Trainer(each, wine) for each in configs]
    for trainer in trainers:
        lanes.join(trainer)
    results = lanes.train_epoch()
    assert "epoch 1: train_loss must be finite" in str(results[trainers[3]])
    for trained, trainer in zip(alone(configs[:3], wine, 1), trainers, strict=False):
        assert_same(trained, Trained(trainer, [without_time(results[trainer])]))


def test_batch_norm(wine: Data) -> None:
    model = {**MLP, "norm": "batch"}
    configs = [lane_config(number, model=model, batch_size=20) for number in range(3)]
    trainers, _ = together(configs, wine, 2, stacked=True)
    for one, other in zip(alone(configs, wine, 2), trainers, strict=True):
        assert_same(one, other)
