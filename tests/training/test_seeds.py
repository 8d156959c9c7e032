"""Seeding is that of torch.manual_seed, in a hundredth of its time where there is no GPU."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from hpsearch.training.seeds import keeps_random_states, seed_all

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
SEED = 2**62 + 12345


@pytest.mark.parametrize("device", DEVICES)
def test_draws_are_those_after_manual_seed(device: str) -> None:
    @keeps_random_states
    def draw(seed_by: object) -> list[float]:
        seed_by(SEED)
        return torch.rand(3, device=device).tolist()

    assert draw(seed_all) == draw(torch.manual_seed)


@keeps_random_states
def test_numpy_and_python_draw_the_same_again() -> None:
    seed_all(SEED)
    first = random.random(), float(np.random.rand())
    seed_all(SEED)
    assert (random.random(), float(np.random.rand())) == first


@keeps_random_states
def test_no_stack_is_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traceback.format_stack", pytest.fail)
    seed_all(SEED)
