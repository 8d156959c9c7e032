"""Augmentations by name: batches changed at random while a model trains, never in evaluation.

A factory returns a function (x, y) → (x, y) of a batch on its device; it draws from torch's global
generator, which the trainer seeds each epoch. Each example draws for itself. What moves into an
image from outside is 0, the mean of standardised pixels. Targets may become rows of class
probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval
from torch import Tensor

from hpsearch.components.batch import Batch
from hpsearch.components.data import Data
from hpsearch.components.image_transforms import are_pixels
from hpsearch.components.input_shapes import check_images
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import Component, Recommended, is_ours, register

Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
#: what is wrong with one where inputs are ids
NO_TOKENS = "must be none, as inputs are ids of tokens, which aren't numbers to be changed"
#: and where an example has several of them, in one row
NO_PARTS = "must be none, as an example has several inputs, which no augmentation knows"
#: and where models are given targets with them
NO_TARGETS = "must be none, as inputs come with their targets, which no augmentation knows"
#: and where targets have places in an image
NO_MOVES = (
    "must keep each pixel in its place, as the targets' places would stay where they are: "
    "gaussian_noise, feature_masking, cutout, blur, jpeg, or a function of yours that changes both"
)
#: and where an example has several inputs, as pairs have
NO_MIXING = "must leave targets as they are, which belong to both inputs of an example"
#: and where the mean of two rows' targets is none
NO_MEANS = "must leave targets as they are, as those of two rows have no mean"
#: and one of pixels where there are none
NO_PIXELS = "must take any values, as the data set's are from {:g} to {:g}, not pixels from 0 to 1"
Pixels = Annotated[int, Interval(ge=1, le=1024), Recommended(1, 4)]
Probability = Annotated[float, Interval(ge=0, le=1), Recommended(0.0, 1.0)]


def refusal(component: Component, data: Data) -> str:
    """Return why an augmentation can't be taken for a data set, or nothing."""
    if data.num_tokens or data.input_parts:
        return NO_TOKENS if data.num_tokens else NO_PARTS
    if data.encoding.gives_targets:
        return NO_TARGETS
    if component.traits.get("mixes_rows", False):
        if data.encoding.num_inputs:
            return NO_MIXING
        if not data.encoding.has_means:
            return NO_MEANS
    if component.traits.get("needs_pixels", False) and not are_pixels(*data.input_bounds):
        return NO_PIXELS.format(*data.input_bounds)
    is_known = is_ours(component.factory) and not component.traits.get("keeps_places", False)
    return NO_MOVES if data.encoding.has_places and is_known else ""


@register("augmentation", "shift")
def shift(input_shape: tuple[int, ...], max_pixels: Pixels = 2) -> Augmentation:
    """Images shifted by up to `max_pixels` in each direction, filled with 0."""
    return _cropped(input_shape, "shift", max_pixels, "constant")


@register("augmentation", "crop")
def crop(
    input_shape: tuple[int, ...],
    padding: Pixels = 4,
    mode: Literal["reflect", "replicate", "constant"] = "reflect",
) -> Augmentation:
    """Images padded on all sides, then cropped to their size (Krizhevsky et al., 2012)."""
    if mode == "reflect" and padding >= min(input_shape[-2:], default=0):
        raise BadConfigurationError(
            "must be less than the image's height and width to be reflected "
            f"({'x'.join(map(str, input_shape[-2:]))})",
            padding,
            keyword="padding",
        )
    return _cropped(input_shape, "crop", padding, mode)


@register("augmentation", "flip")
def flip(
    input_shape: tuple[int, ...],
    probability: Probability = 0.5,
    axis: Literal["horizontal", "vertical"] = "horizontal",
) -> Augmentation:
    """Images flipped with a probability: left to right (horizontal), or top to bottom."""
    check_images("flip", input_shape)
    dim = -1 if axis == "horizontal" else -2

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < probability
        return torch.where(chosen, x.flip(dim), x), y

    return augment


@register("augmentation", "cutout", traits={"keeps_places": True})
def cutout(
    input_shape: tuple[int, ...], size: Annotated[int, Ge(1), Recommended(2, 16)] = 8
) -> Augmentation:
    """A square of zeros at a random position (DeVries & Taylor, 2017), clipped at borders."""
    check_images("cutout", input_shape)
    height, width = input_shape[-2:]

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        rows = _near(len(x), height, size, x.device)[:, None, :, None]
        columns = _near(len(x), width, size, x.device)[:, None, None, :]
        return x.masked_fill(rows & columns, 0.0), y

    return augment


@register("augmentation", "blur", traits={"keeps_places": True})
def blur(
    input_shape: tuple[int, ...],
    sigma: Annotated[float, Interval(gt=0, le=16), Recommended(0.3, 3.0, log=True)] = 1.0,
) -> Augmentation:
    """Images blurred by a normal distribution of standard deviation `sigma` in pixels, of which
    three on each side are taken; borders are continued."""
    check_images("blur", input_shape)
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kernel = weights.to(x).expand(x.shape[1], 1, 1, -1)
        padded = F.pad(x, [reach] * 4, mode="replicate")
        rows = F.conv2d(padded, kernel, groups=x.shape[1])
        return F.conv2d(rows, kernel.transpose(2, 3), groups=x.shape[1]), y

    return augment


@register("augmentation", "rotation")
def rotation(
    input_shape: tuple[int, ...],
    max_degrees: Annotated[float, Interval(ge=0, le=180), Recommended(5.0, 30.0)] = 10.0,
) -> Augmentation:
    """Images rotated by up to `max_degrees` in either direction, filled with 0.

    Pixels between pixels are interpolated (bilinear), so that images become a little smoother.
    """
    check_images("rotation", input_shape)
    height, width = input_shape[-2:]

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        angle = torch.deg2rad(max_degrees * (2 * torch.rand(len(x), device=x.device) - 1))
        cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
        # the grid's axes run from -1 to 1 however long they are
        first = torch.stack([cos, -sin * height / width, zero], 1)
        second = torch.stack([sin * width / height, cos, zero], 1)
        grid = F.affine_grid(torch.stack([first, second], 1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), align_corners=False), y

    return augment


@register("augmentation", "mixup", traits={"mixes_rows": True})
def mixup(
    output_size: int,
    kind: str,
    alpha: Annotated[float, Gt(0), Recommended(0.1, 1.0)] = 0.2,
) -> Augmentation:
    """Each example mixed with another, and its target too (Zhang et al., 2018).

    x = m x1 + (1 - m) x2, m from Beta(alpha, alpha), one a batch. Classes become probabilities.
    """

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        part = torch.distributions.Beta(alpha, alpha).sample().to(x.device)
        others = torch.randperm(len(x), device=x.device)
        targets = _numbers(y, output_size, kind)
        return torch.lerp(x[others], x, part), torch.lerp(targets[others], targets, part)

    return augment


@register("augmentation", "cutmix", traits={"mixes_rows": True})
def cutmix(
    input_shape: tuple[int, ...],
    output_size: int,
    kind: str,
    alpha: Annotated[float, Gt(0), Recommended(0.1, 1.0)] = 1.0,
) -> Augmentation:
    """A rectangle of each image from another; targets mixed by its area (Yun et al., 2019).

    Its sides are sqrt(1 - m) of the image's, m from Beta(alpha, alpha), around a place; both are
    drawn once a batch. Borders may cut it. Classes become probabilities.
    """
    check_images("cutmix", input_shape)
    height, width = input_shape[-2:]

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        side = (1 - torch.distributions.Beta(alpha, alpha).sample()).sqrt().to(x.device)
        rows, columns = _around(height, side), _around(width, side)
        is_other = rows[:, None] & columns
        part = is_other.float().mean()
        others = torch.randperm(len(x), device=x.device)
        targets = _numbers(y, output_size, kind)
        return torch.where(is_other, x[others], x), torch.lerp(targets, targets[others], part)

    return augment


@register("augmentation", "gaussian_noise", traits={"keeps_places": True})
def gaussian_noise(
    std: Annotated[float, Ge(0), Recommended(0.01, 1.0, log=True)] = 0.1,
) -> Augmentation:
    """Gaussian noise added to every input; `std` is in units of the (standardised) inputs."""
    return lambda x, y: (x + std * torch.randn_like(x), y)


@register("augmentation", "feature_masking", traits={"keeps_places": True})
def feature_masking(
    rate: Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.3)] = 0.1,
) -> Augmentation:
    """Inputs set to 0 (their mean) with a probability, not rescaled (Vincent et al., 2010)."""
    return lambda x, y: (x * (torch.rand_like(x) >= rate), y)


def _cropped(input_shape: tuple[int, ...], name: str, padding: int, mode: str) -> Augmentation:
    check_images(name, input_shape)
    height, width = input_shape[-2:]

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(x, [padding] * 4, mode=mode)
        places = 2 * padding + 1
        rows = _window(len(x), places, height, x.device)[:, :, None]
        columns = _window(len(x), places, width, x.device)[:, None, :]
        examples = torch.arange(len(x), device=x.device)[:, None, None]
        # indices apart put their axes first: (rows, height, width, channels)
        return padded[examples, :, rows, columns].permute(0, 3, 1, 2), y

    return augment


def _window(count: int, places: int, length: int, device: torch.device) -> Tensor:
    """Return the indices (count, length) of windows that begin at random places."""
    first = torch.randint(places, (count, 1), device=device)
    return first + torch.arange(length, device=device)


def _near(count: int, length: int, size: int, device: torch.device) -> Tensor:
    """Return whether places (count, length) are in a stretch of `size` around a random one."""
    begin = torch.randint(length, (count, 1), device=device) - size // 2
    places = torch.arange(length, device=device)
    return (places >= begin) & (places < begin + size)


def _around(length: int, side: Tensor) -> Tensor:
    """Return whether places (length,) are in a part of `side` of them around a random one."""
    places = torch.arange(length, device=side.device)
    centre, half = torch.randint(length, (), device=side.device), side * length / 2
    return (places >= (centre - half).floor()) & (places < (centre + half).floor())


def augmented(batch: Batch, augmentations: Sequence[Augmentation], data: Data) -> Batch:
    """Return a batch after augmentations, of several inputs of an example each by itself; where
    data is to be restored, its targets are the inputs before.

    Raises BadConfigurationError for one that changes the targets of several inputs.
    """
    num_inputs, clean = data.encoding.num_inputs, batch.inputs
    if not num_inputs or not augmentations:
        for augment in augmentations:
            batch = Batch(*augment(*batch), batch.mask)
        return replace(batch, targets=clean) if data.encoding.restores else batch
    x, y = batch.inputs.flatten(0, 1), batch.targets.repeat_interleave(num_inputs, 0)
    for number, augment in enumerate(augmentations):
        x, changed = augment(x, y)
        if changed is not y:
            with placed(number):
                raise BadConfigurationError(NO_MIXING)
    return Batch(x.unflatten(0, (-1, num_inputs)), batch.targets, batch.mask)


def _numbers(targets: Tensor, output_size: int, kind: str) -> Tensor:
    """Return targets that can be mixed: classes as rows of probabilities."""
    if kind == "classification" and targets.dtype == torch.int64:
        return F.one_hot(targets, output_size).float()
    return targets
