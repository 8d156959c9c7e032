"""The times of outputs and of gradients, where they are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.components.diagnostics import step_times
from hpsearch.components.diagnostics.step_times import BACKWARD, FORWARD, NAME, RATIO
from tests.support.trainers import make


class Clock:
    """Seconds that only steps take."""

    now = 0.0

    def read(self, _device: torch.device) -> float:
        return self.now


CLOCK = Clock()


class Slow(torch.autograd.Function):
    """The identity, which takes 5 ms, and its gradient, which takes 15 ms."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        CLOCK.now += 0.005
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        CLOCK.now += 0.015
        return grads[0]


class SlowNet(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in torch
        slow: Tensor = Slow.apply(super().forward(input))
        return slow


def batches(number: int) -> Iterator[Batch]:
    return iter([Batch(torch.ones(3, 2), torch.zeros(3, 1)) for _ in range(number)])


def test_they_are_those_of_outputs_and_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_times, "_now", CLOCK.read)
    model, callback = SlowNet(2, 1), registry.get("callback", NAME).build({"batches": 5})
    found = callback.measure(model, lambda outputs, batch: outputs.square().mean(), batches(9))
    assert found == pytest.approx({FORWARD: 5.0, BACKWARD: 15.0, RATIO: 3.0})
    assert all(param.grad is None for param in model.parameters())


@pytest.mark.parametrize(("available", "steps"), [(9, 5), (3, 4), (1, 2)])
def test_so_many_batches_are_timed_after_one_that_is_not(available: int, steps: int) -> None:
    seen = []

    def loss(outputs: Any, batch: Batch) -> Tensor:
        seen.append(len(batch))
        value: Tensor = outputs.sum()
        return value

    callback = registry.get("callback", NAME).build({"batches": 4})
    assert callback.measure(nn.Linear(2, 1), loss, batches(available)).keys() == {
        FORWARD,
        BACKWARD,
        RATIO,
    }
    assert len(seen) == steps


def test_a_training_is_as_without_it(wine: Data) -> None:
    timed, plain = make(wine, callbacks=[NAME]), make(wine)
    for _ in range(2):
        measured, without = timed.train_epoch(), plain.train_epoch()
        assert measured is not None and without is not None
        own = {name: measured.pop(name) for name in (FORWARD, BACKWARD, RATIO)}
        assert all(value > 0 for value in own.values())
        assert {**measured, "seconds": 0} == {**without, "seconds": 0}
