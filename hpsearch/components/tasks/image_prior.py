"""Restoration of one image by what a net learns first (Ulyanov et al., 2018, arXiv 1711.10925)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.examples import num_features
from hpsearch.components.tasks.parts import SupervisedTask, Targets, make_parts
from hpsearch.components.tasks.restoration import decibels
from hpsearch.components.tasks.similarity import structural_similarity
from hpsearch.errors import DataError
from hpsearch.registry import register


class WholeImages(NumberedValues):
    """Images float32 (rows, channels, height, width); inputs have one channel more, which says
    what pixels are known."""

    reads_targets: ClassVar[bool] = False
    has_places: ClassVar[bool] = True

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return the images; DataError where inputs aren't those and a mask."""
        if x.ndim != 4 or y.shape != (len(x), x.shape[1] - 1, *x.shape[2:]):
            raise DataError(
                "image_prior needs images and a mask (rows, channels + 1, height, width), and the "
                f"images before (rows, channels, height, width), but got {x.shape} and {y.shape}"
            )
        return y

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of values of an image."""
        return num_features(y.shape[1:])

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, height, width)."""
        channels, *sides = input_shape
        return (channels - 1, *sides)


register_encoding("image_prior", WholeImages())


class ImagePrior(SupervisedTask):
    """Squared errors of known pixels; ratios and similarities of the whole image."""

    kind: ClassVar[Kind] = "image_prior"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "psnr", "psnr_gain", "ssim")
    joins_batches: ClassVar[bool] = False

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean squared error of the pixels that are known."""
        images, known = batch.inputs[:, :-1], batch.inputs[:, -1:]
        errors = ((in_float32(outputs) - images) * known).square().flatten(1).sum(1)
        loss: Tensor = (errors / (known.flatten(1).sum(1) * images.shape[1])).mean()
        return loss

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the loss, the ratios of what the model got, then the sums of what it gave."""
        given = decibels(batch.inputs[:, :-1] - batch.targets, 1.0).sum()
        loss = self.loss(outputs, batch).double() * len(batch)
        return torch.cat([torch.stack([loss, given]), super().totals(outputs, batch)])

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the ratios and the similarities of whole images."""
        ratios = decibels(outputs - targets, 1.0).sum()
        return torch.stack([ratios, structural_similarity(outputs, targets, 1.0).sum()])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        loss, given, restored, similar = (total / num_rows for total in totals)
        gain = restored - given
        return {"loss": loss, "psnr": restored, "psnr_gain": gain, "ssim": similar}


@register("task", "image_prior")
def image_prior(output_size: int, folder: Path | None) -> ImagePrior:
    """One damaged image restored by a net that never sees another: it learns what is known of the
    image, and images before noise (Ulyanov et al., 2018). For the data set damaged_image.

    The loss is the squared error of the pixels that are known. Reports the peak signal-to-noise
    ratio `psnr` in dB to the image before, of the range 1, `psnr_gain`, by how much that is more
    than of the damaged image, and the structural similarity `ssim`: they rise, then fall while
    noise is learned too, so training must end early. Without the image before, end it where the
    loss comes to the noise's variance.
    """
    return ImagePrior(make_parts(Targets("regression", output_size), "mse", folder=folder))
