"""Augmentations: what they do to a batch, each example by its own draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.examples import Scale
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.registry import ComponentOf
from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.trainers import goes_on_bit_for_bit, make

SHAPE = (1, 8, 8)
IMAGES = ("shift", "crop", "flip", "cutout", "rotation", "cutmix")
#: of the whole batch at once, with another example each
MIXED = ("mixup", "cutmix")


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "train_rows": 200}, seed=0)


def build(name: str, shape: tuple[int, ...] = SHAPE, **keywords: Any) -> Any:
    section = {"name": name, **keywords}
    scale = Scale(np.float32(-1), np.float32(1))  # pixels from 0 to 1 are those of `batch`
    return ComponentOf("augmentation").build(
        section, input_shape=shape, output_size=10, kind="classification", input_scale=scale
    )


def batch(rows: int = 200) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(rows, *SHAPE) + 1, torch.arange(rows) % 10


#: those that draw nothing
FIXED = {"blur", "jpeg"}


@pytest.mark.parametrize("name", registry.names("augmentation"))
class TestEvery:
    def test_keeps_the_shape_and_repeats_with_the_seed(self, name: str) -> None:
        x, y = batch()
        augment = build(name)
        results = []
        for _ in range(2):
            torch.manual_seed(1)
            results.append(augment(x, y))
        (first, targets), (second, _) = results
        assert first.shape == x.shape and len(targets) == len(y)
        assert torch.equal(first, second)
        assert not torch.equal(first, x)

    def test_changes_examples_in_different_ways(self, name: str) -> None:
        """The same image 200 times."""
        x, y = batch()
        changed, _ = build(name)(x[:1].expand(200, *SHAPE), y)
        if name in MIXED:
            assert torch.allclose(changed, x[:1].expand_as(changed))
        else:
            assert (len(changed.flatten(1).unique(dim=0)) > 1) == (name not in FIXED)

    def test_two_and_two_epochs_are_four(self, digits: Data, name: str) -> None:
        whole, first, second = (make(digits, augmentations=[{"name": name}]) for _ in range(3))
        goes_on_bit_for_bit(whole, first, second)

    def test_leaves_its_inputs_alone(self, name: str) -> None:
        x, y = batch()
        before = x.clone()
        build(name)(x, y)
        assert torch.equal(x, before)


def test_shifts_are_up_to_so_many_pixels_in_every_direction() -> None:
    x = torch.zeros(3000, *SHAPE)
    x[:, :, 4, 4] = 1.0
    moved, _ = build("shift", max_pixels=2)(x, torch.zeros(3000))
    places = moved.mean(0)[0]
    assert (places > 0).sum() == 25
    assert places[2:7, 2:7].min() > 0.025  # a 25th is 0.04


def test_a_crop_is_reflected_at_the_border() -> None:
    x = torch.arange(8.0).expand(500, 1, 8, 8)
    cropped, _ = build("crop", padding=2)(x, torch.zeros(500))
    assert {tuple(row) for row in cropped[:, 0, 0].tolist()} == {
        (2.0, 1, 0, 1, 2, 3, 4, 5),
        (1.0, 0, 1, 2, 3, 4, 5, 6),
        (0.0, 1, 2, 3, 4, 5, 6, 7),
        (1.0, 2, 3, 4, 5, 6, 7, 6),
        (2.0, 3, 4, 5, 6, 7, 6, 5),
    }
    with pytest.raises(BadConfigurationError, match=r"^padding: .* \(8x8\)"):
        build("crop", padding=8)


@pytest.mark.parametrize(("axis", "dim"), [("horizontal", 3), ("vertical", 2)])
def test_flips(axis: str, dim: int) -> None:
    x, y = batch(1000)
    flipped, _ = build("flip", axis=axis, probability=0.3)(x, y)
    is_flipped = (flipped == x.flip(dim)).flatten(1).all(1)
    assert is_flipped.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(flipped[~is_flipped], x[~is_flipped])


def test_cutout_takes_a_square() -> None:
    x, y = batch(1000)
    cut, _ = build("cutout", size=3)(x, y)
    holes = (cut == 0).flatten(1).sum(1)
    assert holes.max() == 9
    assert holes.min() == 4  # in a corner: from the place before to the one after


def test_mixup_mixes_targets_as_it_mixes_inputs() -> None:
    x, y = batch()
    one_hot = torch.nn.functional.one_hot(y, 10).float()
    inputs = one_hot[:, None, :, None].expand(-1, 1, -1, 8)  # images that say their class
    mixed, targets = build("mixup", alpha=0.4)(inputs, y)
    assert torch.allclose(targets, mixed[:, 0, :, 0])
    assert targets.sum(1).tolist() == pytest.approx([1.0] * len(y))
    assert ((targets > 0).sum(1) == 2).any()


def test_mixup_mixes_numbers_of_a_regression() -> None:
    x, y = torch.rand(50, 4), torch.rand(50, 1)
    augment = ComponentOf("augmentation").build(
        {"name": "mixup"}, input_shape=(4,), output_size=1, kind="regression"
    )
    inputs, targets = augment(torch.cat([x, y], 1), y)
    assert torch.allclose(inputs[:, -1:], targets)


def test_rotation_turns_about_the_centre_and_keeps_what_is_round() -> None:
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(*[torch.arange(9.0) - 4] * 2, indexing="ij")
    disc = (9 - (rows**2 + columns**2).sqrt()).expand(300, 1, 9, 9)
    turned, _ = build("rotation", (1, 9, 9), max_degrees=180)(disc, torch.zeros(300))
    inside = (rows**2 + columns**2).sqrt() <= 3
    assert torch.allclose(turned[..., inside], disc[..., inside], atol=0.2)


@pytest.mark.parametrize("shape", [(1, 9, 9), (2, 5, 13)])
def test_rotation_is_by_up_to_so_many_degrees_either_way(shape: tuple[int, int, int]) -> None:
    """The place of a pixel two to the right of the centre, as an angle."""
    torch.manual_seed(0)
    _, height, width = shape
    x = torch.zeros(2000, *shape)
    x[:, :, height // 2, width // 2 + 2] = 1.0
    turned, _ = build("rotation", shape, max_degrees=40.0)(x, torch.zeros(2000))
    rows = torch.arange(float(height)) - height // 2
    columns = torch.arange(float(width)) - width // 2
    mass = turned[:, 0].sum((1, 2))
    down = (turned[:, 0].sum(2) * rows).sum(1) / mass
    right = (turned[:, 0].sum(1) * columns).sum(1) / mass
    angles = torch.rad2deg(torch.atan2(down, right))
    assert angles.abs().max().item() == pytest.approx(40, abs=3)
    assert abs(angles.mean().item()) < 2
    assert torch.hypot(down, right).mean().item() == pytest.approx(2, abs=0.1)


def test_cutmix_mixes_targets_by_area() -> None:
    x, y = batch()
    one_hot = torch.nn.functional.one_hot(y, 10).float()
    colours = one_hot[:, :, None, None].expand(-1, -1, 8, 8)  # channel c is 1 in class c
    augment = build("cutmix", (10, 8, 8))
    parts = set()
    for _ in range(20):
        mixed, targets = augment(colours, y)
        assert torch.allclose(targets, mixed.mean((2, 3)), atol=1e-6)
        assert set(mixed.unique().tolist()) == {0.0, 1.0}  # pasted, not blended
        parts.add(round(1 - targets.gather(1, y[:, None]).min().item(), 4))
    assert len(parts) > 5


def test_noise_and_masks() -> None:
    x, y = torch.zeros(4000, 5), torch.zeros(4000)
    noisy, _ = build("gaussian_noise", (5,), std=0.3)(x, y)
    assert noisy.std().item() == pytest.approx(0.3, rel=0.03)
    masked, _ = build("feature_masking", (5,), rate=0.2)(x + 1, y)
    assert masked.mean().item() == pytest.approx(0.8, abs=0.02)
    assert set(masked.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", IMAGES)
def test_tables_are_refused(name: str) -> None:
    with pytest.raises(BadConfigurationError, match=f"^{name} needs images"):
        build(name, (13,))


@pytest.mark.parametrize(
    ("dataset", "task", "model"),
    [
        ({"name": "digits", "train_rows": 200}, "metric_learning", "mlp"),
        ({"name": "echo", "sequences": 100}, "sequence_labelling", "rnn"),
        ({"name": "patterns", "size": 16}, "associative_memory", "hopfield"),
    ],
)
def test_targets_without_a_mean_are_not_mixed(
    dataset: dict[str, Any], task: str, model: str
) -> None:
    spec = {
        "name": "mixed",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "dataset": dataset,
        "task": task,
        "model": model,
        "optimizer": "adam",
        "batch_size": {"choices": [8, 10]},
        "augmentations": ["gaussian_noise", "mixup"],
    }
    with pytest.raises(SpecError, match="augmentations.1: must leave targets as they are, as"):
        check(draft_spec(spec))


def test_evaluation_sees_images_as_they_are(digits: Data) -> None:
    plain = make(digits, augmentations=[])
    changed = make(digits, augmentations=["shift", "cutout"])
    assert plain.evaluate("val") == changed.evaluate("val")
    assert changed.train_epoch() is not None
