"""Hopfield nets: Hebb's rule, energies that never rise, and the recall of damaged patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.models.hopfield import HopfieldNet
from hpsearch.errors import DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model


def patterns(**keywords: Any) -> Data:
    return load_data({"name": "patterns", **keywords}, seed=0)


def trainer(data: Data, **model: Any) -> Trainer:
    values = {
        "model": {"name": "hopfield", **model},
        "optimizer": {"name": "sgd", "lr": 1.0},
        "batch_size": "full",
    }
    return Trainer(TrialConfig(0, 0, 3, values), data)


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_epoch_stores_patterns_by_hebbs_rule(epochs: int) -> None:
    data = patterns(size=30, num_patterns=4)
    one = trainer(data)
    for _ in range(epochs):
        one.train_epoch()
    assert isinstance(data.train, Arrays) and isinstance(one.model, HopfieldNet)
    hebb = np.einsum("pi,pj->ij", data.train.x, data.train.x) * (1 - np.eye(30))
    found = one.model.connections().detach().numpy()
    np.testing.assert_allclose(found, hebb * epochs / (4 * 2 * 30), atol=1e-6)


def test_the_energy_of_a_stored_pattern() -> None:
    """W = x xᵀ without its diagonal: -x·W x / 2 = -N (N - 1) / 2, and a unit -(N - 1) / 2."""
    net, x = HopfieldNet(5, "asynchronous", 1), torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]])
    net.weight.data = x.T @ x
    assert net.energy(x).item() == pytest.approx(-2)
    assert net.energy(-x).item() == pytest.approx(-2)  # its negative is stored, too


def test_asynchronous_updates_never_raise_the_energy_of_any_weights() -> None:
    torch.manual_seed(0)
    net = HopfieldNet(20, "asynchronous", 1)
    torch.nn.init.normal_(net.weight)
    states = torch.randn(50, 20).sign()
    energies = [net.energy(states)]
    for _ in range(8):
        states = net.recalled(states)
        energies.append(net.energy(states))
    changes = torch.stack(energies).diff(dim=0)
    assert changes.max() < 1e-6 and changes[0].min() < -0.1
    assert torch.equal(net.recalled(states), states)  # they have settled


def test_all_at_once_two_units_can_change_for_ever() -> None:
    weights = torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
    found = {}
    for updates in ("asynchronous", "synchronous"):
        net = HopfieldNet(2, updates, 1)
        net.weight.data = weights
        found[updates] = net.recalled(torch.ones(1, 2)).tolist()
    assert found == {"asynchronous": [[-1.0, 1.0]], "synchronous": [[-1.0, -1.0]]}


def test_damaged_patterns_are_recalled_up_to_a_capacity() -> None:
    found = {}
    for number in (5, 40):
        one = trainer(patterns(num_patterns=number))
        found[number] = one.train_epoch() or {}
    few, many = found[5], found[40]
    assert few["val_recalled"] == 1.0 == few["train_recalled"]
    assert few["val_accuracy_gain"] == pytest.approx(0.1)
    assert many["val_recalled"] < 0.1 and many["val_accuracy_gain"] < 0


def test_the_exported_model_recalls() -> None:
    data = patterns(num_patterns=5)
    one = trainer(data)
    one.train_epoch()
    assert isinstance(data.test, Arrays)
    recalled = export_model(one).predict(torch.from_numpy(data.test.x))
    assert torch.equal(recalled, torch.from_numpy(data.test.y))


def test_damage_is_a_share_of_the_values() -> None:
    data = patterns(damage=0.25, size=40, copies=3)
    assert isinstance(data.val, Arrays) and data.val.x.shape == (30, 40)
    assert ((data.val.x != data.val.y).sum(1) == 10).all()


def test_values_that_units_dont_have_are_refused() -> None:
    data = patterns()
    assert isinstance(data.train, Arrays)
    with pytest.raises(DataError, match=r"must be -1 or 1 .* values are from -0.5 to 0.5"):
        HopfieldNet(100, "asynchronous", 1).check_examples(data.train.x / 2)
