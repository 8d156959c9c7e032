"""Trainers of small trials, and what holds for each."""

from __future__ import annotations

from typing import Any

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

MLP = {"name": "mlp", "hidden_sizes": [16], "dropout": 0.2}


def make(data: Data, **values: Any) -> Trainer:
    values = {
        "model": MLP,
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
        "batch_size": 16,
        **values,
    }
    return Trainer(TrialConfig(0, 0, 4, values), data)


def goes_on_bit_for_bit(whole: Trainer, first: Trainer, second: Trainer) -> list[dict[str, float]]:
    """Four epochs are two, and two more from the state then; returns the metrics of each."""
    curve = [whole.train_epoch() for _ in range(4)]
    halves = [first.train_epoch() for _ in range(2)]
    second.load_state_dict(first.state_dict())
    halves += [second.train_epoch() for _ in range(2)]
    for one, other in zip(curve, halves, strict=True):
        assert one is not None and other is not None
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    return [one for one in curve if one is not None]
