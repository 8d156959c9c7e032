"""Sequences that need a long memory, against what is known of those without one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hpsearch.components import task_for
from hpsearch.components.batch import Batch
from tests.support.datasets import arrays, load


def test_to_say_one_always_is_off_by_a_sixth() -> None:
    data = load("adding_problem", sequences=20_000, length=9)
    train = arrays(data.train)
    sums = (train.x[..., 0] * train.x[..., 1]).sum(1)
    assert (train.x[..., 1].sum(1) == 2).all() and (train.x[:, :4, 1].sum(1) == 1).all()
    in_own_units = train.y[:, 0] * data.output_scale.std + data.output_scale.mean
    assert np.allclose(sums, in_own_units, atol=1e-5)
    assert ((sums - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.03)


def test_without_a_memory_symbols_are_guessed() -> None:
    data = load("copy_memory", sequences=400, delay=7)
    train = arrays(data.train)
    assert data.input_shape == (27, 10)
    assert np.array_equal(train.x[:, :10].argmax(2), train.y[:, -10:])
    assert (train.x[:, 10:].argmax(2) == [*[8] * 6, 9, *[8] * 10]).all()
    outputs = torch.full((len(train), 27, 10), -1e3)
    outputs[:, :17, 8], outputs[:, 17:, :8] = 0.0, 0.0
    batch = Batch(torch.from_numpy(train.x), torch.from_numpy(train.y))
    task = task_for(data)
    found = task.summary(task.totals(outputs, batch).tolist())
    assert found["loss"] == pytest.approx(10 * math.log(8) / 27)
