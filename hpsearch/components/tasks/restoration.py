"""Restoration: images as they were before augmentations changed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.components.tasks.reconstruction import Inputs
from hpsearch.components.tasks.similarity import structural_similarity
from hpsearch.registry import register

#: an image is never taken to be nearer than so many decibels
MOST_DECIBELS = 100.0


class Clean(Inputs):
    """The inputs before augmentations are the targets, whatever targets a data set has."""

    needs_augmentations: ClassVar[bool] = True
    has_places: ClassVar[bool] = True
    restores: ClassVar[bool] = True


register_encoding("restoration", Clean())


class Restoration(SupervisedTask):
    """Squared errors; peak signal-to-noise ratios and structural similarities of images and of
    what they were made of.

    Training sees standardised images, whose `input_mean` and `input_std` broadcast against one;
    `input_range` is that of their values before. Only images have structural similarities.
    """

    kind: ClassVar[Kind] = "restoration"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "psnr", "psnr_gain", "ssim", "ssim_gain")
    joins_batches: ClassVar[bool] = False

    def __init__(
        self, parts: TaskComponents, input_mean: Any, input_std: Any, input_range: float
    ) -> None:
        super().__init__(parts)
        self._input_mean = torch.tensor(np.asarray(input_mean))
        self._input_std, self._input_range = torch.tensor(np.asarray(input_std)), input_range

    def undefined(self, input_shape: tuple[int, ...]) -> dict[str, str]:
        """Return why examples of a shape have no similarities."""
        if len(input_shape) == 3:
            return {}
        return dict.fromkeys(("ssim", "ssim_gain"), "its examples are no images")

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the errors, the ratios and similarities of what the model gave and got, and the
        rows."""
        clean = self._raw(batch.targets)
        images = [self._raw(in_float32(_first(outputs))), self._raw(batch.inputs)]
        measures = [decibels(each - clean, self._input_range).sum() for each in images]
        if clean.ndim == 4:
            measures += [
                structural_similarity(each, clean, self._input_range).sum() for each in images
            ]
        error, *others = torch.split(super().totals(outputs, batch), 1)
        return torch.cat([error, torch.stack(measures), *others])

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return restored and clean images (rows, values)."""
        restored: Tensor = in_float32(_first(outputs))
        return restored.flatten(1), batch.targets.flatten(1)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the rows' mean squared errors."""
        return (outputs - targets).double().square().mean(1).sum().reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        error, restored, given, *similar = (total / num_rows for total in totals)
        metrics = {"loss": error, "psnr": restored, "psnr_gain": restored - given}
        if similar:
            metrics |= {"ssim": similar[0], "ssim_gain": similar[0] - similar[1]}
        return metrics

    def _raw(self, images: Tensor) -> Tensor:
        """Return images in their own units."""
        std, mean = (each.to(images.device) for each in (self._input_std, self._input_mean))
        return images * std + mean


def decibels(errors: Tensor, value_range: float) -> Tensor:
    """Return 10 log10(range² / mean squared error) of each image's errors (rows, ...).

    >>> round(decibels(torch.full((1, 4), 25 / 255), 1.0).item(), 3)
    20.172
    """
    squares = errors.double().square().flatten(1).mean(1) / value_range**2
    return (-10 * squares.log10()).clamp_max(MOST_DECIBELS)


def _first(outputs: Tree) -> Tensor:
    found: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return found


@register("task", "restoration")
def restoration(
    output_size: int,
    input_mean: Any,
    input_std: Any,
    input_range: float,
    folder: Path | None,
    loss: LossSection | None = None,
) -> Restoration:
    """Images as they were before `augmentations` changed them, learned by the squared error or
    another loss: noise (gaussian_noise), holes (cutout, feature_masking), blur (blur), JPEG's
    artefacts (jpeg).

    Validation and test images are changed too, the same way in each epoch. Reports the mean
    squared error of standardised images whatever is trained on, the mean peak signal-to-noise
    ratio `psnr` in dB of the range of the training values (of 8-bit pixels, 255), and `psnr_gain`,
    by how much that is more than of the changed images themselves: above 0 is better than to leave
    them as they are. `ssim` and `ssim_gain` are the same of the structural similarity, 1 at most
    (Wang et al., 2004), of images alone. The value of a loss that is given is `criterion`.
    """
    targets = Targets("regression", output_size)  # numbers
    parts = make_parts(targets, "mse", loss, "linear", (), folder)
    return Restoration(parts, input_mean, input_std, input_range)
