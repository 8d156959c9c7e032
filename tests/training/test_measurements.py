"""What is measured of a trial that its search compares by its costs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from hpsearch.spec.objectives import MEASURED
from hpsearch.training import Trainer
from hpsearch.training.lanes import programs
from hpsearch.training.measurements import Measurements

VALUES: dict[str, Any] = {
    "model": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.2},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 16,
}
CONFIG = TrialConfig(0, 0, 4, VALUES, metric="val_accuracy", other_metrics=MEASURED)


def test_only_what_is_asked_for_is_measured(wine: Data) -> None:
    asked = Trainer(CONFIG, wine).train_epoch()
    plain = Trainer(dataclasses.replace(CONFIG, other_metrics=("parameters",)), wine).train_epoch()
    assert asked is not None and plain is not None
    assert set(asked) - set(plain) == {"latency_ms", "peak_memory_mb"}
    num_classes, num_features = 3, 13
    assert plain["parameters"] == 16 * (num_features + 1) + num_classes * (16 + 1)
    assert 0 < asked["latency_ms"] < 1000


def test_measuring_changes_nothing_that_is_learned(wine: Data) -> None:
    trainers = [Trainer(each, wine) for each in (CONFIG, TrialConfig(0, 0, 4, VALUES))]
    for _ in range(2):
        measured, plain = (trainer.train_epoch() for trainer in trainers)
        assert measured is not None and plain is not None
        assert {**plain, "seconds": 0}.items() <= {**measured, "seconds": 0}.items()


def test_the_latency_is_timed_once() -> None:
    passes = 0

    class Counted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            assert not self.training and x.shape == (1, 4)
            return x

    measurements = Measurements(("latency_ms",), torch.device("cpu"))
    found = [measurements.take(Counted(), lambda: torch.zeros(1, 4)) for _ in range(3)]
    assert found[0] == found[1] == found[2] and 5 < passes <= 55


def test_the_peak_of_memory_is_that_of_the_trial() -> None:
    mebibytes = 200
    before = Measurements(("peak_memory_mb",), torch.device("cpu"))
    del before
    buffer = torch.ones(mebibytes << 18)  # float32
    with_buffer = Measurements(("peak_memory_mb",), torch.device("cpu"))
    at_peak = with_buffer.take(nn.Identity(), torch.Tensor)["peak_memory_mb"]
    del buffer
    later = Measurements(("peak_memory_mb",), torch.device("cpu"))
    assert later.take(nn.Identity(), torch.Tensor)["peak_memory_mb"] < at_peak - mebibytes / 2
    buffer = torch.ones(mebibytes << 18)
    del buffer
    assert later.take(nn.Identity(), torch.Tensor)["peak_memory_mb"] > at_peak - mebibytes / 2


@pytest.mark.parametrize("name", ["latency_ms", "peak_memory_mb"])
def test_what_is_of_a_trial_by_itself_isnt_measured_in_a_shared_program(name: str) -> None:
    config = dataclasses.replace(CONFIG, other_metrics=(name,))
    assert programs.obstacle(config, VALUES) == f"{name} is that of a trial by itself"
    config = dataclasses.replace(CONFIG, other_metrics=("parameters",))
    assert programs.obstacle(config, VALUES) == ""
