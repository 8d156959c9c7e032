"""The perceptron learns by its rule what a line can separate, and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Perceptron as Oracle

from hpsearch.components import Data, load_data
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


def gate(name: str, **keywords: Any) -> Data:
    return load_data({"name": "logic_gate", "gate": name, **keywords}, seed=0)


def make(data: Data, epochs: int = 20, seed: int = 0) -> Trainer:
    values = {
        "model": {"name": "perceptron"},
        "optimizer": {"name": "perceptron_rule"},
        "batch_size": 1,
    }
    return Trainer(TrialConfig(0, seed, epochs, values), data)


def accuracies(trainer: Trainer, epochs: int = 20) -> list[float]:
    return [metrics["val_accuracy"] for _ in range(epochs) if (metrics := trainer.train_epoch())]


@pytest.mark.parametrize("name", ["and", "or", "nand", "nor", "not"])
def test_it_learns_what_a_line_separates_and_then_stays(name: str) -> None:
    trainer = make(gate(name))
    assert accuracies(trainer)[-1] == 1.0
    before = [param.detach().clone() for param in trainer.model.parameters()]
    metrics = trainer.train_epoch()
    assert metrics is not None and metrics["train_loss"] == 0.0
    pairs = zip(before, trainer.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("seed", range(3))
def test_it_gets_three_of_four_of_xor_at_best(seed: int) -> None:
    assert max(accuracies(make(gate("xor"), seed=seed), 30)) <= 0.75


@pytest.mark.parametrize(("kind", "loss"), [("regression", 0.25), ("classification", math.log(2))])
def test_no_linear_model_knows_anything_of_xor(kind: str, loss: float) -> None:
    values = {
        "model": {"name": "mlp", "hidden_sizes": []},
        "optimizer": {"name": "lbfgs"},
        "batch_size": "full",
    }
    trainer = Trainer(TrialConfig(0, 0, 5, values), gate("xor", kind=kind))
    metrics = [trainer.train_epoch() for _ in range(5)][-1]
    assert metrics is not None and metrics["val_loss"] == pytest.approx(loss, abs=1e-6)
    weight, bias = (param.detach().numpy() for param in trainer.model.parameters())
    assert np.allclose(weight, weight[0], atol=1e-3)  # classes by their difference: none
    if kind == "regression":
        assert np.allclose(weight, 0, atol=1e-6)
        in_own_units = bias * trainer.data.output_scale.std + trainer.data.output_scale.mean
        assert in_own_units.item() == pytest.approx(0.5)


def test_each_step_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=60) > 0).astype(int)
    oracle = Oracle(eta0=0.5, shuffle=False, max_iter=1, tol=None)
    model = build_model({"name": "perceptron"}, (3,), 2, Path())
    weight, bias = (param.detach().clone().numpy() for param in model.parameters())
    oracle.partial_fit(x[:1], y[:1], classes=[0, 1])  # sets its arrays up
    oracle.coef_[:], oracle.intercept_[:] = weight, bias
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for row, target in zip(torch.from_numpy(x), torch.from_numpy(y), strict=True):
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(row[None]), target[None]))
        optimizer.step()
    oracle.partial_fit(x, y)
    ours = [param.detach().numpy() for param in model.parameters()]
    np.testing.assert_allclose(ours[0], oracle.coef_, rtol=1e-5)
    np.testing.assert_allclose(ours[1], oracle.intercept_, rtol=1e-5)
    assert not np.allclose(ours[0], weight)


def test_it_decides_between_two_classes_only() -> None:
    with pytest.raises(BadConfigurationError, match="perceptron needs two classes"):
        make(load_data({"name": "wine"}, seed=0))


@pytest.mark.parametrize(
    ("name", "outputs"),
    [("and", [0, 0, 0, 1]), ("nor", [1, 0, 0, 0]), ("xor", [0, 1, 1, 0]), ("not", [1, 0])],
)
def test_gates(name: str, outputs: list[int]) -> None:
    data = gate(name, standardize=False)
    assert data.train.y.tolist() == outputs  # type: ignore[union-attr]
    assert data.train.x.min() == 0 and data.train.x.max() == 1  # type: ignore[union-attr]
    assert (data.class_names, data.output_size) == (("false", "true"), 2)
