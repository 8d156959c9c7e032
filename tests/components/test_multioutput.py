"""Several targets of different kinds, each with a head of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from hpsearch.components import Data, load_data
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("multioutput", "the task is for multioutput")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    table = pd.DataFrame(x.round(4), columns=["u", "v", "w"])
    table["colour"] = np.where(x[:, 0] > 0.3, "red", np.where(x[:, 0] < -0.3, "blue", "green"))
    table["the size"] = (100 + 20 * x[:, 1] + rng.normal(size=400)).round(3)
    table["rating"] = rng.integers(1, 9, 400)
    table.to_csv(path / "mixed.csv", index=False)
    return path


def load(folder: Path, *targets: str) -> Data:
    section = {"name": "csv", "path": "mixed.csv", "target": list(targets), "drop": ["rating"]}
    if "rating" in targets:
        section["drop"] = []
    return load_data(section, seed=0, folder=folder, said=SAID)


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    return load(folder, "colour", "the size")


def trainer(data: Data, **keywords: Any) -> Trainer:
    values = {
        "model": {"name": "mlp", "hidden_sizes": [16]},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 16,
        "task": {"name": "multioutput", **keywords},
    }
    return Trainer(TrialConfig(0, 0, 12, values), data)


def test_columns_are_one_hot_or_standardised(data: Data) -> None:
    assert data.target_blocks == (("colour", ("blue", "green", "red")), ("the size", ()))
    y = data.train.y  # type: ignore[union-attr]
    assert (y[:, :3].sum(1) == 1).all()
    assert y[:, 3].mean() == pytest.approx(0, abs=1e-4) and y[:, 3].std() == pytest.approx(1)


def test_metrics_are_those_of_each_target(data: Data) -> None:
    made = trainer(data, weights={"the size": 3})
    metrics = made.train_epoch() or {}
    outputs, targets = made.predict("val")
    classes, numbers = targets[:, :3].argmax(1), targets[:, 3]
    losses = (
        log_loss(classes, outputs[:, :3].double().softmax(1)),
        mean_squared_error(numbers, outputs[:, 3]),
    )
    assert metrics["val_loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert metrics["val_criterion"] == pytest.approx(losses[0] + 3 * losses[1], rel=1e-5)
    expected = accuracy_score(classes, outputs[:, :3].argmax(1))
    assert metrics["val_accuracy_colour"] == pytest.approx(expected)
    assert metrics["val_r2_the_size"] == pytest.approx(r2_score(numbers, outputs[:, 3]), rel=1e-5)


def test_both_are_learned_and_predicted_in_their_own_units(data: Data) -> None:
    made, metrics = trainer(data), {}
    for _ in range(12):
        metrics = made.train_epoch() or {}
    assert metrics["val_accuracy_colour"] > 0.85 and metrics["val_r2_the_size"] > 0.9
    raw = torch.from_numpy(data.as_raw(data.val.x))  # type: ignore[union-attr]
    table = export_model(made).predict_table(raw)
    shares = [f"probability_colour_{each}" for each in ("blue", "green", "red")]
    assert list(table) == ["colour", "the size", *shares]
    assert set(table["colour"]) == {"red", "green", "blue"}
    assert table[shares].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["the size"].mean() == pytest.approx(100, abs=6)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_two_epochs_and_two_are_four(data: Data, weighting: str) -> None:
    goes_on_bit_for_bit(*(trainer(data, weighting=weighting) for _ in range(3)))


class TestRefused:
    def test_a_target_that_can_be_read_in_two_ways(self, folder: Path) -> None:
        with pytest.raises(DataError, match="target 'rating' can be read in two ways"):
            load(folder, "colour", "rating")

    def test_one_target(self, folder: Path) -> None:
        with pytest.raises(DataError, match="two columns at least"):
            load(folder, "colour")

    def test_columns_of_both_kinds_without_the_task(self, folder: Path) -> None:
        table = {"name": "csv", "path": "mixed.csv", "target": ["colour", "the size"]}
        with pytest.raises(DataError, match="; the task multioutput learns several columns"):
            load_data(table, seed=0, folder=folder)

    def test_weights_of_others(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match=r"did you mean 'colour'"):
            trainer(data, weights={"color": 2})

    def test_weights_beside_learned_ones(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="must not be given with the weighting"):
            trainer(data, weights={"colour": 2}, weighting="uncertainty")
