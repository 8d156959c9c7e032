"""Trials beside each other, and the same trials one by one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from hpsearch.components import Data
from hpsearch.components.diagnostics.step_times import BACKWARD, FORWARD, RATIO
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes.lanes import Lanes
from hpsearch.training.lanes.probing import why_not

#: where `alone` and `together` train: benchmarks/gpu.sh sets a GPU
DEVICE = os.environ.get("HPSEARCH_TEST_DEVICE", "cpu")
MLP = {"name": "mlp", "hidden_sizes": [8], "dropout": 0.2}
#: metrics that are never the same twice
TIMES = {"seconds", FORWARD, BACKWARD, RATIO}


@dataclass
class Trained:
    """A trainer and what it reported of each epoch, but for the time."""

    trainer: Trainer
    curve: list[Any]


def lane_config(number: int = 0, max_epochs: int = 4, **values: Any) -> TrialConfig:
    """Return a trial whose learning rate is its own."""
    sections = {
        "model": MLP,
        "optimizer": {"name": "sgd", "lr": 0.02 * (1 + number), "momentum": 0.9},
        "batch_size": 16,
    }
    return TrialConfig(number, 0, max_epochs, values={**sections, **values})


def alone(
    configs: Sequence[TrialConfig], data: Data, epochs: int, device: str = DEVICE
) -> list[Trained]:
    """Train trials one by one."""
    trainers = [Trainer(config, data, device) for config in configs]
    return [
        Trained(trainer, [without_time(trainer.train_epoch()) for _ in range(epochs)])
        for trainer in trainers
    ]


def together(
    configs: Sequence[TrialConfig],
    data: Data,
    epochs: int,
    *,
    stacked: bool | None = None,
    device: str = DEVICE,
) -> tuple[list[Trained], Lanes]:
    """Train the same as lanes; returns the lanes, too."""
    lanes = Lanes(stacked=stacked)
    trainers = [Trainer(config, data, device) for config in configs]
    curves: dict[Trainer, Any] = {trainer: [] for trainer in trainers}
    for trainer in trainers:
        lanes.join(trainer)
    while any(len(curve) < epochs for curve in curves.values()):
        for trainer, result in lanes.train_epoch().items():
            if isinstance(result, Exception):
                raise result
            curves[trainer].append(without_time(result))
    return [Trained(trainer, curves[trainer][:epochs]) for trainer in trainers], lanes


def churned(
    configs: Sequence[TrialConfig], data: Data, epochs: int, seed: int
) -> tuple[list[Trained], int, Lanes]:
    """Train trials as lanes that join and leave at random, each time as another trainer.

    Returns them, how often one joined or left, and the lanes.
    """
    draw, lanes, num_changes = random.Random(seed), Lanes(), 0
    trained = [Trained(Trainer(config, data), []) for config in configs]
    numbers = {each.trainer: number for number, each in enumerate(trained)}
    while any(len(each.curve) < epochs for each in trained):
        for number, each in enumerate(trained):
            is_done = len(each.curve) == epochs
            if each.trainer in lanes and (is_done or draw.random() < 0.3):
                lanes.leave(each.trainer)
                state = each.trainer.state_dict()
                each.trainer = Trainer(configs[number], data)
                each.trainer.load_state_dict(state)
                numbers[each.trainer] = number
                num_changes += 1
            elif each.trainer not in lanes and not is_done and draw.random() < 0.6:
                lanes.join(each.trainer)
                num_changes += 1
        for trainer, result in lanes.train_epoch().items() if len(lanes) else ():
            assert isinstance(result, dict), result
            trained[numbers[trainer]].curve.append(without_time(result))
    return trained, num_changes, lanes


def without_time(metrics: Any) -> Any:
    """Return an epoch's metrics but the times that it took."""
    return None if metrics is None else {k: v for k, v in metrics.items() if k not in TIMES}


def assert_same(one: Trained, other: Trained, tolerance: float = 1e-3) -> None:
    """Check that curves, outputs and the optimizer's state agree to float tolerance."""
    for mine, theirs in zip(one.curve, other.curve, strict=True):
        assert list(mine) == list(theirs)
        for name in mine:
            scale = max(abs(mine[name]), 1e-2)
            assert abs(mine[name] - theirs[name]) <= tolerance * scale, (name, mine, theirs)
    outputs, others = (each.trainer.predict("val")[0] for each in (one, other))
    assert torch.allclose(outputs, others, rtol=tolerance, atol=tolerance * outputs.abs().max())
    ours, states = (each.trainer.state_dict() for each in (one, other))
    assert ours["model"].keys() == states["model"].keys()
    kept, held = ours["optimizer"]["state"], states["optimizer"]["state"]
    assert {k: v.keys() for k, v in kept.items()} == {k: v.keys() for k, v in held.items()}


def assert_trained_as_alone(several: Callable[[], Sequence[Trainer]]) -> None:
    """Check that trainers share a program for an epoch, and report what each does by itself."""
    assert why_not(several()) == ""
    lanes, shared = Lanes(), several()
    for one in shared:
        lanes.join(one)
    results = lanes.train_epoch()
    assert lanes.num_fused == len(shared)
    for one, single in zip(shared, several(), strict=True):
        expected, found = single.train_epoch(), results[one]
        assert expected is not None and isinstance(found, dict)
        assert {**found, "seconds": 0} == pytest.approx({**expected, "seconds": 0}, rel=1e-4)
