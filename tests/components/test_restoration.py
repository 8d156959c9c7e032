"""Restoration: images as they were before augmentations changed them, and what it reports."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.augmentations import blur
from hpsearch.components.batch import Batch
from hpsearch.components.tasks.kinds import Statement
from hpsearch.components.tasks.similarity import structural_similarity
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("restoration", "the task is for restoration")
NOISE = {"name": "gaussian_noise", "std": 0.7}
UNET = {"name": "unet", "base": 8, "depth": 2}


@pytest.fixture(scope="module")
def data() -> Data:
    section = {"name": "digits", "train_rows": 300, "val_rows": 100}
    return load_data(section, seed=0, said=SAID)


def trainer(data: Data, *augmentations: Any, **values: Any) -> Trainer:
    optimizer = {"name": "adam", "lr": 0.005}
    values = {"model": UNET, "optimizer": optimizer, "batch_size": 32, **values}
    changes = {"augmentations": list(augmentations or [NOISE])}
    return Trainer(TrialConfig(0, 0, 4, {**values, **changes}), data)


class TestMetrics:
    def test_ratios_are_of_raw_values(self, data: Data) -> None:
        """Noise of 25 in the range of 255 has 20.17 dB, of any scale."""
        assert isinstance(data.train, Arrays)
        raw = data.as_raw(data.train.x)
        assert data.input_range * data.unit == raw.max() - raw.min() == 16
        torch.manual_seed(0)
        clean = torch.randn(400, 1, 8, 8)
        noise = (
            torch.randn_like(clean)
            * data.input_range
            * 25
            / 255
            / torch.from_numpy(data.x_scale.std)
        )
        task = task_for(data)
        batch = Batch(clean + noise, clean)
        found = task.summary(task.totals(clean + 0.1 * noise, batch).tolist())
        assert found["psnr"] == pytest.approx(20 * math.log10(255 / 2.5), abs=0.1)
        assert found["psnr_gain"] == pytest.approx(20)
        assert found["ssim"] > 0.99 and found["ssim_gain"] > 0
        assert found["loss"] == pytest.approx((0.1 * noise).square().mean().item(), rel=1e-5)

    def test_to_leave_images_as_they_are_gains_nothing(self, data: Data) -> None:
        x, clean = torch.rand(2, 5, 1, 8, 8)
        task = task_for(data)
        assert task.summary(task.totals(x, Batch(x, clean)).tolist())["psnr_gain"] == 0
        assert task.summary(task.totals(clean, Batch(x, clean)).tolist())["psnr"] == 100


@pytest.mark.parametrize("shape", [(4, 1, 32, 24), (3, 3, 16, 16)])
def test_similarity_is_torchmetrics(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    clean = torch.rand(shape, dtype=torch.float64)
    changed = clean + 0.2 * torch.randn_like(clean)
    _, whole = structural_similarity_index_measure(
        changed, clean, data_range=2.0, reduction="none", return_full_image=True
    )
    inner = whole[..., 5:-5, 5:-5].flatten(1).mean(1)  # it continues images beyond their borders
    torch.testing.assert_close(structural_similarity(changed, clean, 2.0), inner)


def test_similarity_of_small_images_has_smaller_windows() -> None:
    image = torch.rand(2, 1, 8, 8)
    assert structural_similarity(image, image, 1.0).tolist() == pytest.approx([1, 1])
    assert (structural_similarity(image, 1 - image, 1.0) < 0.2).all()


def test_tables_have_no_structural_similarity() -> None:
    section = {"name": "wine"}
    data = load_data(section, seed=0, said=SAID)
    model = {"name": "autoencoder", "hidden_sizes": [8], "code_size": 4}
    metrics = trainer(data, model=model).train_epoch() or {}
    assert "val_psnr_gain" in metrics and "val_ssim" not in metrics


def test_targets_are_the_images_before(data: Data) -> None:
    one = trainer(data)
    assert isinstance(data.train, Arrays)
    known = {row.tobytes() for row in data.train.x}
    batch = next(one.training_batches(one.begin_epoch()))
    assert all(row.tobytes() in known for row in batch.targets.numpy())
    assert 0.6 < (batch.inputs - batch.targets).std() < 0.8
    assert one.evaluate("val") == one.evaluate("val")


@pytest.mark.parametrize(
    "change", [NOISE, {"name": "cutout", "size": 4}, {"name": "blur", "sigma": 1.0}]
)
def test_it_learns_to_undo(data: Data, change: dict[str, Any]) -> None:
    one = trainer(data, change)
    gains = [(one.train_epoch() or {})["val_psnr_gain"] for _ in range(6)]
    assert gains[-1] > max(gains[0], 0)


def test_a_trial_goes_on_bit_for_bit(data: Data) -> None:
    codes = {"name": "autoencoder", "hidden_sizes": [16], "code_size": 8}
    goes_on_bit_for_bit(*(trainer(data, model=codes) for _ in range(3)))


class TestBlur:
    def test_it_keeps_what_is_even_and_spreads_a_point(self) -> None:
        change = blur((1, 21, 21), sigma=1.5)
        even = torch.full((2, 1, 21, 21), 3.0)
        torch.testing.assert_close(change(even, even)[0], even)
        point = torch.zeros(1, 1, 21, 21)
        point[..., 10, 10] = 1.0
        found = change(point, point)[0][0, 0]
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert (found[10, 10] / found[10, 12]).log().item() == pytest.approx(2 / 1.5**2, rel=1e-4)
        assert torch.equal(found, found.T)


@pytest.mark.parametrize("task, model", [("restoration", UNET), ("barlow_twins", "barlow_twins")])
def test_a_spec_is_valid_with_augmentations_alone(task: str, model: Any) -> None:
    objective = {"metric": "val_loss", "direction": "minimize"}
    dataset = {"name": "digits", "train_rows": 64}
    sections = {"task": task, "model": model, "objective": objective, "dataset": dataset}
    assert check(draft_spec(changed(**sections, augmentations=[NOISE])))
    with pytest.raises(SpecError, match=f"augmentations: must be given for {task}"):
        check(draft_spec(changed(**sections)))


class TestRefused:
    def test_nothing_to_restore(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="augmentations: must be given for rest"):
            Trainer(TrialConfig(0, 0, 1, {"model": UNET, "batch_size": 8}), data)

    def test_what_moves_pixels(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="must keep each pixel in its place"):
            trainer(data, {"name": "shift"})

    def test_models_of_classes(self, data: Data) -> None:
        rule = r"must be a model for restoration \(autoencoder, conv_autoencoder, unet\)"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, model={"name": "cnn"})
