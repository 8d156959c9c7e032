"""Regularizers and gradient noise: of each lane its own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import Data
from hpsearch.components.layers.counter_bits import counters, draw_keys, normals
from hpsearch.training import Trainer
from hpsearch.training.lanes.programs import obstacle_of
from tests.support.lanes import alone, assert_same, lane_config, together

REGULARIZERS: list[Any] = [
    None,
    [{"name": "l2", "strength": 0.02}],
    [{"name": "l1", "strength": 0.01}, {"name": "l1", "strength": 0.01}],
    [{"name": "elastic_net", "l1_strength": 0.01, "l2_strength": 0.03}],
    [{"name": "orthogonality", "strength": 0.05}, "l2"],
]


def own(model: nn.Module) -> Any:
    """A penalty of the user's own."""
    return lambda: sum(param.square().sum() for param in model.parameters())


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("sizes", [[16] * 5, [16, 20, 57, 7, 16]], ids=["whole", "divided"])
def test_lanes_with_penalties_of_their_own(sizes: list[int], stacked: bool, wine: Data) -> None:
    configs = [
        lane_config(number, regularizers=section, batch_size=size)
        for number, (section, size) in enumerate(zip(REGULARIZERS, sizes, strict=True))
    ]
    trained, lanes = together(configs, wine, 3, stacked=stacked)
    for one, other in zip(alone(configs, wine, 3), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 15


def test_penalties_change_curves(wine: Data) -> None:
    """Or the comparison says nothing."""
    configs = [lane_config(0, regularizers=section) for section in REGULARIZERS]
    losses = {round(each.curve[-1]["train_loss"], 4) for each in alone(configs, wine, 2)}
    assert len(losses) == len(REGULARIZERS)


def test_penalties_of_users_are_not_shared(wine: Data) -> None:
    config = lane_config(regularizers=[{"name": f"{Path(__file__).name}:own"}])
    trainer = Trainer(replace(config, folder=str(Path(__file__).parent)), wine)
    assert obstacle_of(trainer).startswith("regularizers: the user's own")


@pytest.mark.parametrize("stacked", [False, True])
def test_lanes_with_noise_of_their_own(stacked: bool, wine: Data) -> None:
    sections: list[Any] = [0.5, {"name": "gaussian", "std": 1.0, "decay": 0.55}, None, 0.2]
    configs = [
        lane_config(number, gradient_noise=section, batch_size=[16, 20, 16, 57][number])
        for number, section in enumerate(sections)
    ]
    trained, lanes = together(configs, wine, 3, stacked=stacked)
    for one, other in zip(alone(configs, wine, 3), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused >= 9


def test_noise_is_normal_and_that_of_its_key() -> None:
    places, [[one], [other]] = counters((100_000,), torch.device("cpu")), draw_keys(0, 2, 1)
    drawn = normals(places, one)
    assert abs(float(drawn.mean())) < 0.01
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    for bound in (0.5, 1.0, 2.0, 3.0):
        share = float((drawn.abs() < bound).float().mean())
        assert share == pytest.approx(math.erf(bound / 2**0.5), abs=0.005)
    assert float(drawn.abs().max()) > 4
    assert torch.equal(drawn, normals(places, one))
    others = normals(places, other)
    assert abs(float(torch.corrcoef(torch.stack([drawn, others]))[0, 1])) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([drawn[1:], drawn[:-1]]))[0, 1])) < 0.01
