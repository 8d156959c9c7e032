"""Stacked denoising autoencoders: what a layer gives back, and layers trained one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.batch import Batch
from hpsearch.components.models.stacked_autoencoder import LayerAutoencoder
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model, make_trainer
from hpsearch.training.stages import StagedTrainer
from tests.support.lanes import assert_trained_as_alone
from tests.support.trainers import goes_on_bit_for_bit

MODEL = {"name": "stacked_autoencoder", "hidden_sizes": [16, 8]}
DIGITS = {"name": "digits", "train_rows": 200, "val_rows": 100}


@pytest.fixture(scope="module")
def data() -> Data:
    said = Statement("layer_reconstruction", "the task is for it")
    return load_data(DIGITS, seed=0, said=said)


def trainer(data: Data, layer: int = 1, number: int = 0, **model: Any) -> Trainer:
    values = {
        "model": {**MODEL, **model},
        "task": {"name": "layer_reconstruction", "layer": layer},
        "optimizer": {"name": "adam", "lr": 0.01 * (1 + number)},
        "batch_size": 20,
    }
    return Trainer(TrialConfig(number, 0, 10, values), data)


def staged(*layers: int) -> StagedTrainer:
    stages = [
        {"name": "train", "epochs": 2, "task": {"name": "layer_reconstruction", "layer": each}}
        for each in layers
    ]
    optimizer = {"name": "adam", "lr": 0.01}
    values = {"model": MODEL, "optimizer": optimizer, "batch_size": 20, "stages": stages}
    found = make_trainer(TrialConfig(0, 0, 6, values), load_data(DIGITS, seed=0))
    assert isinstance(found, StagedTrainer)
    return found


class TestLayer:
    def test_what_is_given_back_is_below_it(self, data: Data) -> None:
        one = trainer(data, 2)
        net = one.model.eval()
        assert isinstance(net, LayerAutoencoder) and isinstance(data.train, Arrays)
        x = torch.from_numpy(data.train.x[:20])
        errors = net(x)
        below = net.layers[0](x.flatten(1))
        given = net.decoder(net.layers[1](below))
        expected = (given - below).square().mean(1)
        torch.testing.assert_close(errors, torch.stack([torch.zeros(20), expected], 1))
        assert one.task.loss(errors, Batch(x, x)).item() == pytest.approx(expected.mean().item())
        assert not torch.allclose(net.train()(x), errors)  # of features that were changed

    def test_layers_below_learn_nothing(self, data: Data) -> None:
        one = trainer(data, 2)
        before = one.model.state_dict()["layers.0.0.weight"].clone()
        x = torch.from_numpy(data.train.x[:20])  # type: ignore[union-attr]
        one.task.loss(one.model.train()(x), Batch(x, x)).backward()
        learned = {name for name, each in one.model.named_parameters() if each.grad is not None}
        assert learned == {
            f"{name}.{kind}" for name in ("layers.1.0", "decoder") for kind in ("weight", "bias")
        }
        one.train_epoch()
        assert torch.equal(one.model.state_dict()["layers.0.0.weight"], before)

    def test_it_gives_back_more_than_the_mean(self, data: Data) -> None:
        one = trainer(data)
        before = one.evaluate("val")["val_loss"]
        curve = [one.train_epoch() or {} for _ in range(10)]
        assert isinstance(data.val, Arrays)
        variance = float(np.square(data.val.x).mean())  # the inputs are standardised
        assert curve[-1]["val_loss"] < 0.6 * variance < 0.9 * variance < before

    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        goes_on_bit_for_bit(*(trainer(data, 2) for _ in range(3)))

    def test_without_corruption_trials_share_a_program(self, data: Data) -> None:
        assert_trained_as_alone(
            lambda: [trainer(data, 1, number, corruption="none") for number in range(3)]
        )

    def test_an_exported_one_gives_the_errors(self, data: Data) -> None:
        one = trainer(data)
        found = one.train_epoch()
        assert found is not None and isinstance(data.val, Arrays)
        table = export_model(one).predict_table(data.as_raw(data.val.x))
        assert list(table) == ["reconstruction_error"]
        mean = table["reconstruction_error"].mean()
        assert mean == pytest.approx(found["val_loss"], rel=1e-4)

    def test_a_layer_that_is_not_there(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="trains layer 3, but the model has 2"):
            trainer(data, 3)


def test_layers_are_trained_one_by_one_and_handed_over() -> None:
    one = staged(1, 2)
    states, names = [], []
    for _ in range(4):
        names.append(set(one.train_epoch() or {}))
        states.append({k: v.clone() for k, v in one.final().model.state_dict().items()})
    assert "stage1_val_loss" in names[1] and "stage2_val_loss" in names[2]
    first, both = states[1], states[3]
    assert torch.equal(first["layers.0.0.weight"], both["layers.0.0.weight"])
    assert "layers.1.0.weight" not in first
    assert not torch.equal(states[2]["layers.1.0.weight"], both["layers.1.0.weight"])
    one._begin_next()
    last = one.final().model.state_dict()
    shared = [name for name in last if name.startswith("layers")]
    assert shared and all(torch.equal(last[name], both[name]) for name in shared)
    assert "val_accuracy" in (one.train_epoch() or {})
