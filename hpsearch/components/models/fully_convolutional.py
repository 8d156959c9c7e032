"""Fully convolutional nets: an output for each pixel of an image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from hpsearch.components.input_shapes import check_images
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.blocks import Block
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]


@register("model", "fcn", traits={"tasks": ("segmentation",)})
def fcn(
    input_shape: tuple[int, ...],
    output_size: int,
    channels: Annotated[Sequence[Size], MinLen(1)] = (16, 32, 64),
    kernel_size: Size = 3,
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    dropout: Rate = 0.0,
) -> nn.Module:
    """A fully convolutional net with skips, for the task segmentation (Long et al., 2015).

    Of each stage, two convolutions with a normalisation and an activation each, a 1x1
    convolution gives scores of the classes, which are added to those of the coarser stages, made
    larger (bilinear). A stage after the first sees half the height and width; `kernel_size` must
    be odd, and `dropout` acts before the scores.
    """
    check_images("fcn", input_shape)
    if kernel_size % 2 == 0:
        raise BadConfigurationError("must be odd", kernel_size, keyword="kernel_size")
    if min(input_shape[1:]) >> (len(channels) - 1) < 1:
        height, width = input_shape[1:]
        rule = f"must leave at least 1x1 of a {height}x{width} image, halved for each after the "
        raise BadConfigurationError(f"{rule}first", list(channels), keyword="channels")
    stages = []
    for size, width in itertools.pairwise([input_shape[0], *channels]):
        layers: list[nn.Module] = []
        for each in (size, width):
            function = make_activation(activation)
            wide = width * widening(function)
            conv = nn.Conv2d(each, wide, kernel_size, padding=kernel_size // 2)
            layers += Block(conv, function, norm, "pre_activation", each, width).modules()
        stages.append(nn.Sequential(*layers))
    scores = [nn.Conv2d(width, output_size, 1) for width in channels]
    return FullyConvolutional(stages, scores, [Dropout(dropout) for _ in channels])


class FullyConvolutional(nn.Module):
    """Images to scores (rows, outputs, height, width)."""

    def __init__(
        self, stages: Sequence[nn.Module], scores: Sequence[nn.Module], dropouts: Sequence[Dropout]
    ) -> None:
        super().__init__()
        self.stages, self.scores = nn.ModuleList(stages), nn.ModuleList(scores)
        self.dropouts = nn.ModuleList(dropouts)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the stages, and what makes outputs of them."""
        return [*([stage] for stage in self.stages), [*self.dropouts, *self.scores]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        found: list[Tensor] = []
        parts = zip(self.stages, self.dropouts, self.scores, strict=True)
        for number, (stage, dropout, score) in enumerate(parts):
            x = stage(F.max_pool2d(x, 2) if number else x)
            found.append(score(dropout(x)))
        outputs = found.pop()
        for finer in reversed(found):
            size = finer.shape[-2:]
            outputs = finer + F.interpolate(outputs, size, mode="bilinear", align_corners=False)
        return outputs
