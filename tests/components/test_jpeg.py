"""JPEG's artefacts, against what Pillow makes of the same images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.components import load_data
from hpsearch.components.examples import Scale
from hpsearch.components.jpeg import compressed, jpeg
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.datasets import arrays

SHAPES = [(40, 56), (17, 23), (8, 8), (48, 32, 3), (33, 30, 3)]
QUALITIES = [1, 10, 49, 50, 75, 95]


def image(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Slopes and edges under noise."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    slopes = [2.5 * rows + columns, 200 - 3 * rows, 128 + 90 * np.sin(rows * columns / 60)]
    slopes[0] = np.where(columns > 5, slopes[0], 30)
    whole = slopes[0] if len(shape) == 2 else np.stack(slopes, -1)
    noisy = whole + np.random.default_rng(0).normal(scale=12, size=shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


def tensor(pixels: NDArray[Any]) -> Tensor:
    """As a batch of one image."""
    found = torch.from_numpy(np.atleast_3d(pixels).astype(np.float32) / 255)
    return found.permute(2, 0, 1)[None]


def pillows(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.float64]:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file)).astype(np.float64)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_pillows(shape: tuple[int, ...], quality: int) -> None:
    """But for roundings: a level or so of 256, where the damage is many times as much."""
    pixels = image(shape)
    theirs = tensor(pillows(pixels, quality))
    ours = compressed(tensor(pixels), torch.tensor([quality]))
    apart = 255 * (ours - theirs).abs().mean()
    damage = 255 * (theirs - tensor(pixels)).abs().mean()
    assert apart < 0.5 and apart < 0.3 * damage


def test_even_images_stay_as_they_are() -> None:
    even = torch.full((2, 3, 9, 20), 128 / 255)
    torch.testing.assert_close(compressed(even, torch.tensor([3, 90])), even)


def test_at_the_least_quality_a_block_is_its_mean() -> None:
    """Of grey values from 120 to 136 all cosines but the first are below half a step of 255."""
    rising = torch.linspace(120, 134, 8).round().expand(1, 1, 8, 8) / 255
    found = compressed(rising, torch.tensor([1]))
    assert len(found.unique()) == 1 and float(found[0, 0, 0, 0]) == pytest.approx(128 / 255)


class TestAugmentation:
    SCALE = Scale(np.float32(0.25), np.float32(0.5))

    def augment(self, x: Tensor, **keywords: Any) -> Tensor:
        change = jpeg((1, 16, 16), self.SCALE, **keywords)
        return change(x, torch.zeros(len(x)))[0]

    def test_it_is_of_pixels_and_given_back_as_inputs(self) -> None:
        pixels = tensor(image((16, 16)))
        found = self.augment((pixels - 0.25) / 0.5, quality=20)
        expected = compressed(pixels, torch.tensor([20]))
        torch.testing.assert_close(found * 0.5 + 0.25, expected)

    def test_each_image_draws_its_quality_by_the_seed(self) -> None:
        pixels = tensor(image((16, 16))).expand(60, 1, 16, 16)
        x = (pixels - 0.25) / 0.5
        torch.manual_seed(0)
        found = self.augment(x, quality=10, max_quality=12)
        assert len(found.flatten(1).unique(dim=0)) == 3
        torch.manual_seed(0)
        assert torch.equal(self.augment(x, quality=10, max_quality=12), found)

    @pytest.mark.parametrize(
        ("shape", "keywords", "match"),
        [
            ((5,), {}, "jpeg needs images of the shape"),
            ((2, 8, 8), {}, "jpeg needs images of 1 or 3 channels, but the data set has 2"),
            ((1, 8, 8), {"max_quality": 10}, "max_quality: must be at least quality, 25, but"),
        ],
    )
    def test_what_is_refused(self, shape: Any, keywords: Any, match: str) -> None:
        with pytest.raises(BadConfigurationError, match=match):
            jpeg(shape, self.SCALE, **keywords)

    def test_what_noise_before_it_has_made_of_pixels_is_clamped(self) -> None:
        noisy = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 3 - 1
        found, expected = (self.augment((x - 0.25) / 0.5) for x in (noisy, noisy.clamp(0, 1)))
        assert torch.equal(found, expected)


def test_a_data_set_of_other_values_is_refused() -> None:
    values = {
        "model": {"name": "fcn", "channels": [4]},
        "optimizer": "adam",
        "batch_size": 5,
        "augmentations": ["blur", "jpeg"],
    }
    data = load_data({"name": "blobs_segmentation", "images": 20, "size": 16}, seed=0)
    rule = r"augmentations.1: must take any values, as the data set's are from -\d.* to \d.*'jpeg'"
    with pytest.raises(BadConfigurationError, match=rule):
        Trainer(TrialConfig(0, 0, 1, values), data)


def test_a_net_learns_to_undo_it() -> None:
    said = Statement("restoration", "the task is for restoration")
    section = {"name": "digits", "train_rows": 300, "val_rows": 100}
    data = load_data(section, seed=0, said=said)
    values = {
        "model": {"name": "unet", "base": 8, "depth": 2},
        "optimizer": {"name": "adam", "lr": 0.005},
        "batch_size": 32,
        "augmentations": [{"name": "jpeg", "quality": 10}],
    }
    trainer = Trainer(TrialConfig(0, 0, 6, values), data)
    gains = [(trainer.train_epoch() or {})["val_psnr_gain"] for _ in range(6)]
    assert gains[-1] > max(gains[0], 0.5)


def test_a_damaged_image_has_its_artefacts_and_is_known_everywhere() -> None:
    section = {"name": "damaged_image", "size": 32, "damage": "jpeg", "repeats": 1}
    worst, best = (
        arrays(load_data({**section, "quality": quality}, seed=0).train) for quality in (5, 95)
    )
    assert (worst.x[:, 1] == 1).all()
    errors = [np.abs(each.x[:, :1] - each.y).mean() for each in (worst, best)]
    assert errors[0] > 5 * errors[1] > 0
