"""Cascades of nets for segmentation: what the second net sees, and what both learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.models.building import build_model
from hpsearch.components.models.cascaded_unet import CascadedUNet
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit

CASCADE = {"name": "cascaded_unet", "base": 4, "depth": 1}


@pytest.fixture(scope="module")
def data() -> Data:
    section = {"name": "blobs_segmentation", "images": 60, "size": 16, "ignore_borders": True}
    return load_data(section, seed=0)


def net(**keywords: Any) -> CascadedUNet:
    torch.manual_seed(0)
    section = {**CASCADE, **keywords}
    model = build_model(section, (1, 16, 16), 3, Path(), output_shape=(3, 16, 16))
    assert isinstance(model, CascadedUNet)
    return model


def seen_by_second(model: CascadedUNet, x: Tensor) -> Tensor:
    """Return what the second net gets of images."""
    seen: list[Tensor] = []
    hook = model.second.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    hook.remove()
    return seen[0]


def trainer(data: Data, weight: float = 0.4, **model: Any) -> Trainer:
    values = {
        "model": {**CASCADE, **model},
        "task": {"name": "segmentation", "auxiliary_weight": weight},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 12,
    }
    return Trainer(TrialConfig(0, 0, 4, values), data)


class TestModel:
    def test_the_second_net_sees_the_image_and_the_first_ones_probabilities(self) -> None:
        model, x = net(), torch.randn(2, 1, 16, 16)
        shares = model.first(x).softmax(1)
        torch.testing.assert_close(seen_by_second(model, x), torch.cat([x, shares], 1))
        torch.testing.assert_close(model.eval()(x), model.second(torch.cat([x, shares], 1)))

    def test_with_a_background_it_sees_the_region_alone(self) -> None:
        model, x = net(background=1), torch.randn(2, 1, 16, 16)
        shares = model.first(x).softmax(1)
        region = 1 - shares[:, 1:2]
        torch.testing.assert_close(seen_by_second(model, x)[:, :1], x * region)
        with torch.no_grad():
            model.first.output.bias[1] = 1e4
        assert (seen_by_second(model, x)[:, 0] == 0).all()

    def test_training_gets_the_outputs_of_both(self) -> None:
        model, x = net(), torch.randn(2, 1, 16, 16)
        outputs, coarse = model.train()(x)
        assert torch.equal(coarse, model.first(x)) and outputs.shape == coarse.shape


class TestTask:
    def test_the_loss_is_that_of_both(self, data: Data) -> None:
        torch.manual_seed(0)
        outputs, coarse = torch.randn(2, 5, 3, 16, 16)
        targets = torch.randint(3, (5, 16, 16))
        targets[:, :2] = -100
        task = task_for(data, {"name": "segmentation", "auxiliary_weight": 0.3})
        batch = Batch((), targets)
        expected = F.cross_entropy(outputs, targets) + 0.3 * F.cross_entropy(coarse, targets)
        assert task.loss((outputs, coarse), batch).item() == pytest.approx(expected.item())
        both, one = (task.totals(each, batch) for each in ((outputs, coarse), outputs))
        assert torch.equal(both, one)

    @pytest.mark.parametrize("background", [None, 0])
    def test_it_goes_on_bit_for_bit_and_learns(self, data: Data, background: Any) -> None:
        made = [trainer(data, background=background, norm="batch") for _ in range(3)]
        curve = goes_on_bit_for_bit(made[0], made[1], made[2])
        assert curve[-1]["val_loss"] < curve[0]["val_loss"]

    def test_with_a_weight_the_first_net_finds_the_masks_too(self, data: Data) -> None:
        """With none of its own it gives whatever helps the second."""
        assert isinstance(data.val, Arrays)
        x, y = torch.from_numpy(data.val.x), torch.from_numpy(data.val.y)
        losses = []
        for weight in (0.0, 1.0):
            one = trainer(data, weight, norm="batch")
            for _ in range(8):
                one.train_epoch()
            with torch.no_grad():
                losses.append(F.cross_entropy(one.model.eval().first(x), y).item())
        assert losses[1] < 0.9 < losses[0]

    def test_is_exported(self, data: Data) -> None:
        one = trainer(data)
        one.train_epoch()
        outputs, _ = one.predict("val")
        assert isinstance(data.val, Arrays)
        x = torch.from_numpy(data.as_raw(data.val.x))
        assert torch.equal(export_model(one).predict(x), outputs.argmax(1))


class TestRefused:
    def test_a_background_that_is_no_class(self, data: Data) -> None:
        rule = "background: must be below the number of classes, 3, but got 3"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, background=3)

    def test_a_depth_that_does_not_fit(self) -> None:
        with pytest.raises(BadConfigurationError, match="depth: must be so small that"):
            net(depth=5)
