"""The transforms of torchvision as augmentations: per image, wherever images are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch import registry
from hpsearch.components import Arrays, Data, image_transforms, load_data
from hpsearch.components.augmentations import refusal
from hpsearch.components.examples import Scale
from hpsearch.components.image_transforms import PerImage, component
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.datasets import load
from tests.support.images import write_images
from tests.support.specs import changed

pytestmark = pytest.mark.usefixtures("vision_packages")
SHAPE = (3, 24, 24)
#: what transforms have no default for
REQUIRED: dict[str, dict[str, Any]] = {
    "ColorJitter": {"brightness": 0.5},
    "ElasticTransform": {"sigma": 1.0},
    "GaussianBlur": {"kernel_size": 3},
    "RandomAdjustSharpness": {"sharpness_factor": 3.0},
    "RandomAffine": {"degrees": 30},
    "RandomPosterize": {"bits": 2},
    "RandomRotation": {"degrees": 30},
    "RandomSolarize": {"threshold": 100.0},
}
CROP = {"name": "torchvision/RandomResizedCrop", "scale": [0.3, 1.0]}


def build(name: str, shape: tuple[int, ...] = SHAPE, **keywords: Any) -> PerImage:
    component = registry.get("augmentation", f"torchvision/{name}")
    scale = keywords.pop("scale_of_inputs", Scale.identity())
    made: PerImage = component.build(keywords, input_shape=shape, input_scale=scale)
    return made


@pytest.mark.parametrize("name", image_transforms.NAMES)
def test_each_changes_images_at_random(name: str) -> None:
    torch.manual_seed(0)
    keywords = dict(REQUIRED.get(name, {}))
    parameters = registry.get("augmentation", f"torchvision/{name}").keywords
    keywords |= {"p": 1.0} if "p" in parameters else {}
    augment = build(name, **keywords)
    x = torch.rand(1, *SHAPE).mul(180).round().div(255).repeat(6, 1, 1, 1)
    seen = [augment(x, torch.zeros(6))[0] for _ in range(3)]
    assert all(each.shape == x.shape and 0 <= each.min() <= each.max() <= 1 for each in seen)
    moved = [not torch.allclose(image, x[0], atol=1e-3) for each in seen for image in each]
    assert any(moved) or name == "RandomCrop"  # of the whole image, without padding


def test_each_image_draws_for_itself() -> None:
    x = torch.rand(1, *SHAPE).repeat(8, 1, 1, 1)
    changed_images = build("RandomResizedCrop")(x, torch.zeros(8))[0]
    assert len({image.sum().item() for image in changed_images}) == 8


def test_is_the_library_s() -> None:
    x = torch.rand(2, *SHAPE)
    flipped = build("RandomHorizontalFlip", p=1.0)(x, torch.zeros(2))[0]
    assert torch.allclose(flipped, (255 * x).round().flip(-1) / 255)
    assert torch.allclose(build("RandomCrop")(x, torch.zeros(2))[0], x, atol=0.002)


def test_probability() -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 1, 4, 4)
    augment = build("RandomInvert", (1, 4, 4), p=1.0, probability=0.3)
    changed_images = augment(x, torch.zeros(200))[0]
    share = (changed_images - x).abs().flatten(1).amax(1).gt(0.01).float().mean()
    assert 0.2 < share < 0.4


def test_scaled_inputs_are_pixels_meanwhile() -> None:
    mean, std = np.full((3, 1, 1), 0.4, np.float32), np.full((3, 1, 1), 0.2, np.float32)
    raw = torch.rand(2, *SHAPE)
    scaled = (raw - 0.4) / 0.2
    augment = build("RandomInvert", p=1.0, scale_of_inputs=Scale(mean, std))
    assert torch.allclose(augment(scaled, torch.zeros(2))[0] * 0.2 + 0.4, 1 - raw, atol=0.005)


class TestTraining:
    def trainer(self, data: Data, *augmentations: Any, **loader: Any) -> Trainer:
        values = {
            "model": {"name": "cnn", "channels": [3], "hidden_sizes": [4]},
            "optimizer": {"name": "adam", "lr": 0.01},
            "batch_size": 8,
            "augmentations": list(augmentations),
        }
        return Trainer(TrialConfig(0, 0, 4, values, loader=loader), data)

    def curve(self, trainer: Trainer) -> list[Any]:
        found = [{**(trainer.train_epoch() or {}), "seconds": 0} for _ in range(2)]
        trainer.close()
        return found

    def test_of_files_is_the_same_whatever_reads_them(self, tmp_path: Path) -> None:
        data = load("image_folder", write_images(tmp_path), path=".")
        expected = self.curve(self.trainer(data, CROP))
        assert expected != self.curve(self.trainer(data))
        for workers in (1, 2):
            assert self.curve(self.trainer(data, CROP, num_workers=workers)) == expected

    def test_files_and_arrays_see_the_same(self, tmp_path: Path) -> None:
        """Images in memory go through the same transform."""
        flip = {"name": "torchvision/RandomHorizontalFlip", "p": 1.0}
        files = load("image_folder", write_images(tmp_path), path=".")
        pairs = [
            (split.sample(len(split)), split.y) for split in (files.train, files.val, files.test)
        ]
        arrays = Data(
            files.kind, files.input_shape, files.output_size, *(Arrays(*pair) for pair in pairs),
            class_names=files.class_names, x_scale=files.x_scale,
        )  # fmt: skip
        curves = [self.curve(self.trainer(data, flip)) for data in (files, arrays)]
        for one, other in zip(*curves, strict=True):
            assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
            assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)

    def test_training_alone_is_changed(self, tmp_path: Path) -> None:
        data = load("image_folder", write_images(tmp_path), path=".")
        plain, other = self.trainer(data), self.trainer(data, CROP)
        assert plain.evaluate("train") == other.evaluate("train")

    def test_they_come_before_those_of_batches(self, tmp_path: Path) -> None:
        """Mixed images are no pixels of one image."""
        data = load("image_folder", write_images(tmp_path), path=".")
        noise = {"name": "gaussian_noise", "std": 5.0}
        for kind in (data, load("digits", train_rows=40, val_rows=20)):
            trainer = self.trainer(kind, noise, {"name": "torchvision/RandomInvert"})
            assert trainer.train_epoch() is not None

    def test_a_transform_of_the_user_s(self, tmp_path: Path) -> None:
        data = load("image_folder", write_images(tmp_path), path=".")
        name = f"{__name__}:darker"
        assert self.curve(self.trainer(data, {"name": name})) != self.curve(self.trainer(data))


def darker(input_scale: Scale) -> PerImage:
    def transform(image: Tensor) -> Tensor:
        return image // 2

    return PerImage(transform, input_scale)


class TestMistakes:
    @pytest.mark.parametrize(
        ("augmentation", "match"),
        [
            ("torchvision/RandAugmnet", "did you mean 'torchvision/RandAugment'"),
            ({"name": "torchvision/RandAugment", "magnitud": 3}, "did you mean 'magnitude'"),
            ("torchvision/RandomRotation", "degrees: must be given"),
            (
                {"name": "torchvision/RandomResizedCrop", "size": 5},
                r"uint8 \(1, 8, 8\), but gives",
            ),
            ({"name": "torchvision/RandAugment", "probability": 1.5}, "probability: must be"),
        ],
    )
    def test_in_a_spec(self, augmentation: Any, match: str) -> None:
        with pytest.raises(SpecError, match=match):
            spec = changed(dataset={"name": "digits"}, augmentations=[augmentation])
            check(draft_spec(spec))

    def test_ranges(self) -> None:
        rand = {"name": "torchvision/RandAugment", "magnitude": {"low": 1, "high": 15}}
        spec = check(draft_spec(changed(dataset={"name": "digits"}, augmentations=[rand])))
        assert spec.augmentations[0]["magnitude"].high == 15

    def test_no_images(self) -> None:
        with pytest.raises(BadConfigurationError, match="needs images of the shape"):
            build("RandAugment", (13,))

    def test_other_pixels(self) -> None:
        data = load_data({"name": "blobs_segmentation", "images": 20, "size": 16}, seed=0)
        assert "not pixels from 0 to 1" in refusal(component("RandAugment"), data)
