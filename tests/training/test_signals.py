"""Signals in untrained nets: what initializers are made for, measured on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from hpsearch.components import Data, load_data
from hpsearch.training.checks.by_name import run_checks
from hpsearch.training.checks.signals import signals_of
from hpsearch.training.trainer import Trainer
from tests.support.trainers import make

DEEP = {"name": "mlp", "hidden_sizes": [64] * 8}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits"}, seed=0)


def trainer_of(data: Data, initializer: Any, **keywords: Any) -> Trainer:
    return make(data, model={**DEEP, **keywords}, initializer=initializer)


@pytest.mark.parametrize(
    ("initializer", "activation", "is_kept"),
    [
        ({"name": "he_normal"}, "relu", True),
        ({"name": "xavier_normal"}, "tanh", True),
        ({"name": "small"}, "relu", False),
        ({"name": "large"}, "relu", False),
    ],
)
def test_initializers_keep_the_signal_or_not(
    digits: Data, initializer: Any, activation: str, is_kept: bool
) -> None:
    trainer = trainer_of(digits, initializer, activation=activation)
    before = [param.detach().clone() for param in trainer.model.parameters()]
    [finding] = run_checks(trainer, ["signal_propagation"])
    assert finding.ok == is_kept, finding.message
    assert "8 hidden layers" in finding.message
    assert ("he_normal" in finding.message) != is_kept
    for param, old in zip(trainer.model.parameters(), before, strict=True):
        assert param.grad is None and bool((param == old).all())


def test_each_layer_of_a_linear_net_multiplies_the_signal(digits: Data) -> None:
    """Weights of twice the standard deviation double the spread of every layer, as 2 ** layer."""
    batch = next(trainer_of(digits, {"name": "xavier_normal"})._read_train())
    found = []
    for factor in (1.0, 2.0):
        trainer = trainer_of(digits, {"name": "xavier_normal"}, activation="identity")
        for param in trainer.model.parameters():
            param.data.mul_(factor)
        signals = signals_of(trainer, batch)
        assert signals is not None and len(signals.layers) == 9
        found.append(signals)
    ratios = np.array(found[1].spreads) / np.array(found[0].spreads)
    np.testing.assert_allclose(ratios, 2.0 ** np.arange(1, 10), rtol=1e-4)
    assert found[1].forward == pytest.approx(found[0].forward * 2**7, rel=1e-4)


def test_frozen_layers_below_the_trained_ones_are_left_out(digits: Data) -> None:
    trainer = trainer_of(digits, {"name": "he_normal"})
    batch = next(trainer._read_train())
    layers = [each for each in trainer.model.modules() if isinstance(each, nn.Linear)]
    for each in layers[:3]:
        each.requires_grad_(False)
    signals = signals_of(trainer, batch)
    assert signals is not None and len(signals.layers) == len(layers) - 3


def test_a_shallow_net_is_left_alone(digits: Data) -> None:
    trainer = trainer_of(digits, {"name": "small"}, hidden_sizes=[64])
    assert run_checks(trainer, ["signal_propagation"]) == []
