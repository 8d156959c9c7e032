"""Deep image prior: one image restored by a net that never sees another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.datasets import arrays, load, user_factory

MODEL = {"name": "image_prior", "channels": 8, "depth": 2, "noise_channels": 8}


def damaged(**keywords: Any) -> Data:
    section = {"name": "damaged_image", "size": 16, "repeats": 10, **keywords}
    return load_data(section, seed=0)


def trainer(data: Data, **model: Any) -> Trainer:
    values = {"model": {**MODEL, **model}, "optimizer": {"name": "adam", "lr": 0.01}}
    return Trainer(TrialConfig(0, 0, 40, {**values, "batch_size": 1}), data)


class TestDamage:
    def test_noise_of_25_has_20_decibels(self) -> None:
        data = damaged(size=128, repeats=1)
        train = arrays(data.train)
        task = task_for(data)
        batch = Batch(torch.from_numpy(train.x), torch.from_numpy(train.y))
        found = task.summary(task.totals(batch.targets, batch).tolist())
        assert found["psnr"] - found["psnr_gain"] == pytest.approx(20.172, abs=0.15)
        assert found["psnr"] == 100 and found["ssim"] == pytest.approx(1)

    @pytest.mark.parametrize(
        ("keywords", "share"),
        [
            ({"damage": "holes", "known": 0.25}, 0.25),
            ({"damage": "grid", "spacing": 4}, 1 / 16),
            ({"damage": "none"}, 1.0),
        ],
    )
    def test_what_is_known_is_as_it_was(self, keywords: dict[str, Any], share: float) -> None:
        train = arrays(damaged(size=32, **keywords).train)
        image, mask = train.x[:, :1], train.x[:, 1:]
        assert mask.mean() == pytest.approx(share, abs=0.05)
        assert np.array_equal(image, train.y * mask)

    def test_an_image_of_ones_own(self, tmp_path: Path) -> None:
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "my.png")
        section = {"name": "damaged_image", "path": "my.png", "damage": "none"}
        data = load_data(section, seed=0, folder=tmp_path)
        train = arrays(data.train)
        assert data.input_shape == (4, 8, 12)
        assert np.allclose(train.y[0].transpose(1, 2, 0) * 255, pixels)
        with pytest.raises(DataError, match=r"path: must be a file \(from the spec's folder\)"):
            load_data({**section, "path": "other.png"}, seed=0, folder=tmp_path)

    def test_images_without_masks_are_refused(self, tmp_path: Path) -> None:
        body = "images = np.zeros((4, 1, 8, 8)); "
        body += "return {'train': (images, images), 'kind': 'image_prior'}"
        with pytest.raises(DataError, match=r"needs images and a mask \(rows, channels \+ 1"):
            load(user_factory(tmp_path, body), tmp_path)


def test_unknown_pixels_are_not_learned() -> None:
    data = damaged(damage="holes")
    task, train = task_for(data), arrays(data.train)
    batch = Batch(torch.from_numpy(train.x), torch.from_numpy(train.y))
    known = batch.inputs[:, 1:]
    outputs = (batch.targets + (1 - known) * 7).requires_grad_()
    loss = task.loss(outputs, batch)
    assert loss.item() == 0
    assert task.loss(outputs + 0.5, batch).item() == pytest.approx(0.25)


def test_the_image_is_learned_before_its_noise() -> None:
    one = trainer(damaged(repeats=60))
    before = one.evaluate("val")
    curve = [(one.train_epoch() or {})["val_psnr_gain"] for _ in range(3)]
    assert before["val_psnr_gain"] < 0 < max(curve)


def test_the_peak_lies_before_the_end() -> None:
    """The noise is learned in the end, so training is to stop early (Ulyanov et al., 2018)."""
    data = damaged(size=32, repeats=50)
    one = trainer(data)
    before = one.evaluate("val")
    noisy = before["val_psnr"] - before["val_psnr_gain"]
    curve = [(one.train_epoch() or {})["val_psnr"] for _ in range(18)]
    peak = max(curve)
    assert noisy == pytest.approx(20.172, abs=0.5)
    assert peak > noisy + 3 and curve.index(peak) < 12
    assert max(curve[-3:]) < peak - 1


def test_an_image_is_fitted_sooner_than_noise() -> None:
    """As figure 2 of the paper; both have the same mean and variance."""
    losses = []
    for is_shuffled in (False, True):
        data = damaged(damage="none", size=32)
        if is_shuffled:
            shuffled = np.random.default_rng(0).permuted(arrays(data.train).y[0].ravel())
            for split in (data.train, data.val):
                arrays(split).x[:, 0] = shuffled.reshape(32, 32)
        one = trainer(data)
        losses.append([(one.train_epoch() or {})["val_loss"] for _ in range(4)][-1])
    assert losses[0] < losses[1] / 2


def test_sides_must_be_halved_often_enough() -> None:
    rule = r"must be so small that 2\^depth divides height and width \(16x16\), but got 5"
    with pytest.raises(BadConfigurationError, match=rule):
        trainer(damaged(), depth=5)
