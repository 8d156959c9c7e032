"""A class for each step, at once or later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hpsearch.components import Data, load_data, task_for
from hpsearch.components.batch import IGNORED, Batch
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({"name": "echo", "sequences": 600, "length": 8}, seed=0)


def trainer(data: Data, epochs: int = 20, delay: int = 0, **model: Any) -> Trainer:
    values = {
        "model": {"name": "rnn", "hidden_size": 24, **model},
        "task": {"name": "sequence_labelling", "delay": delay},
        "optimizer": {"name": "adam", "lr": 0.02},
        "batch_size": 32,
    }
    return Trainer(TrialConfig(0, 0, epochs, values), data)


def test_a_memory_is_needed_for_what_was_before(data: Data) -> None:
    """A delayed copy is learned by an LSTM."""
    made = trainer(data, delay=2)
    accuracies = [(made.train_epoch() or {})["val_accuracy"] for _ in range(20)]
    assert accuracies[0] < 0.6 and max(accuracies) > 0.99
    table = export_model(made).predict_table(data.val.x)  # type: ignore[union-attr]
    y = np.array(data.class_names)[data.val.y]  # type: ignore[union-attr]
    assert (table["step_7"].to_numpy() == y[:, 5]).mean() > 0.95


def test_one_input_leads_to_many_outputs() -> None:
    """A recurrent net counts on from the first step; without a memory it can but guess."""
    counting = load_data({"name": "counting", "sequences": 400, "length": 6}, seed=0)
    made = trainer(counting, epochs=12)
    accuracies = [(made.train_epoch() or {})["val_accuracy"] for _ in range(12)]
    assert max(accuracies) > 0.99
    alone = trainer(counting, epochs=6, name=f"{__name__}:step_by_step", hidden_size=16)
    accuracies = [(alone.train_epoch() or {})["val_accuracy"] for _ in range(6)]
    assert max(accuracies) == pytest.approx((1 + 5 / 4) / 6, abs=0.08)


def step_by_step(input_shape: Any, output_shape: Any, hidden_size: int) -> nn.Module:
    """A net that sees one step alone."""
    layers = nn.Linear(input_shape[1], hidden_size), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(hidden_size, output_shape[1]))


def test_the_loss_is_of_the_steps_that_count(data: Data) -> None:
    task = task_for(data, {"name": "sequence_labelling", "delay": 3})
    torch.manual_seed(0)
    outputs, targets = torch.randn(5, 8, 4), torch.randint(4, (5, 8))
    targets[0, :4] = IGNORED
    counts = targets[:, :5] != IGNORED
    expected = F.cross_entropy(outputs[:, 3:][counts], targets[:, :5][counts])
    batch = Batch(torch.zeros(5, 8, 4), targets)
    assert task.loss(outputs, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    found = task.summary(task.totals(outputs, batch).tolist())
    assert found["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert int(task.count(batch)) == int(counts.sum()) == 5 * 5 - 4


class TestRefused:
    def test_a_delay_beyond_the_sequence(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="delay: must be below the 8 steps"):
            trainer(data, delay=8)

    @pytest.mark.parametrize("name", ["mlp", "autoencoder", "encoder_decoder"])
    def test_models_without_an_output_for_each_step(self, data: Data, name: str) -> None:
        """Also those whose outputs happen to have the shape, or that ask for another task."""
        rule = r"must be a model for sequence_labelling \(echo_state, rnn, transformer\), but"
        with pytest.raises(BadConfigurationError, match=f"name: {rule} {name} is for"):
            trainer(data, name=name)

    @pytest.mark.parametrize("name", ["other_steps", "other_classes"])
    def test_targets_that_are_none(self, name: str) -> None:
        with pytest.raises(DataError, match=r"class for each step|numbers of the 2 classes"):
            load_data({"name": f"{__name__}:{name}", "kind": "sequence_labelling"}, seed=0)


def other_steps() -> Any:
    return {"train": (np.zeros((40, 5, 2)), np.zeros((40, 4), int)), "classes": ["a", "b"]}


def other_classes() -> Any:
    return {"train": (np.zeros((40, 5, 2)), np.full((40, 5), 2)), "classes": ["a", "b"]}
