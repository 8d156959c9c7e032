"""Lanes whose batches are augmented draw what each trial by itself draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.training import Trainer
from hpsearch.training.lanes.comparing import random_states
from hpsearch.training.lanes.programs import obstacle_of, program_of
from tests.support.effects import data_of
from tests.support.lanes import alone, assert_same, lane_config, together

OWN = """
import random
import numpy as np
import torch

def noisy(scale=1.0):
    def augment(x, y):
        number = random.random() + np.random.rand()
        return x + scale * number * torch.rand(len(x), 1), y
    return augment
"""


def configs(*sections: Any, **values: Any) -> list[Any]:
    return [lane_config(n, augmentations=each, **values) for n, each in enumerate(sections)]


def test_lanes_differ_in_the_numbers_of_their_augmentations() -> None:
    rates = [[{"name": "flip", "probability": p}, {"name": "gaussian_noise"}] for p in (0, 0.5, 1)]
    trials, data = configs(*rates), data_of("digits")
    trained, lanes = together(trials, data, 2)
    for one, other in zip(alone(trials, data, 2), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused >= 6


def test_code_of_the_users_draws_from_every_generator(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    section = [{"name": "own.py:noisy", "scale": 0.1}]
    trials = [replace(each, folder=str(tmp_path)) for each in configs(section, section)]
    data = data_of("wine")
    before = random_states()
    trained, lanes = together(trials, data, 2)
    assert random_states() == before
    for one, other in zip(alone(trials, data, 2), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused >= 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"augmentations": ["flip"]}, {"augmentations": ["mixup"]}),
        ({"augmentations": ["flip"]}, {}),
        ({"augmentations": ["flip"]}, {"augmentations": ["flip"], "batch_size": 32}),
    ],
    ids=["others", "none", "batch sizes"],
)
def test_what_makes_another_program(one: dict[str, Any], other: dict[str, Any]) -> None:
    data = data_of("digits")
    first, second = (Trainer(lane_config(0, **each), data) for each in (one, other))
    assert program_of(first) != program_of(second)


def test_parts_of_batches_are_not_augmented() -> None:
    trainer = Trainer(lane_config(augmentations=["flip"], accumulate=2), data_of("digits"))
    assert obstacle_of(trainer).startswith("accumulate: ")
    assert "augmentations" in obstacle_of(trainer)


def test_a_gpu_draws_by_itself() -> None:
    trainer = Trainer(lane_config(augmentations=["flip"]), data_of("digits"))
    trainer.device = torch.device("cuda")
    assert obstacle_of(trainer) == "augmentations: draw from the GPU's generator"
