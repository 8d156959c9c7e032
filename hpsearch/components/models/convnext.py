"""ConvNeXt (Liu et al., 2022, arXiv 2201.03545): a convolutional net built as a transformer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.layers.modules import Blocks, Dropout
from hpsearch.components.models.convolutions import (
    GlobalAveragePool,
    check_size,
    image_shape,
    plain_activation,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]


@register("model", "convnext")
def convnext(
    input_shape: tuple[int, ...],
    output_size: int,
    depths: Sequence[Size] = (2, 2),
    widths: Sequence[Size] = (32, 64),
    patch_size: Annotated[int, Ge(1), Recommended(1, 4)] = 2,
    kernel_size: Annotated[int, Ge(1)] = 7,
    expansion: Annotated[int, Ge(1), Recommended(1, 4)] = 4,
    layer_scale: Annotated[float, Ge(0)] = 1e-6,
    activation: ActivationSection = "gelu",
    dropout: Rate = 0.0,
) -> nn.Module:
    """Blocks of a depthwise convolution and a net of two layers at each pixel, with skips.

    Images are divided into patches of `patch_size`; each stage after the first halves height and
    width by a convolution of 2x2. Layer norm is over channels. A block's outputs are multiplied by
    a learned factor a channel, which begins at `layer_scale` (0: none). The paper's nets have
    `patch_size: 4` and four stages. `kernel_size` must be odd; `dropout` is at the end of blocks.
    """
    channels, height, width = image_shape("convnext", input_shape)
    if not depths or len(depths) != len(widths):
        rule = f"must have a width for each of the {len(depths)} stages that depths has"
        raise BadConfigurationError(rule, list(widths), keyword="widths")
    if kernel_size % 2 == 0:
        raise BadConfigurationError("must be odd", kernel_size, keyword="kernel_size")
    check_size("convnext", min(height, width), patch_size * 2 ** (len(depths) - 1), "patch_size")
    stem = [nn.Conv2d(channels, widths[0], patch_size, patch_size), ChannelNorm(widths[0])]
    blocks: list[list[nn.Module]] = [stem]
    for stage, (depth, wide) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            before = widths[stage - 1]
            blocks.append([ChannelNorm(before), nn.Conv2d(before, wide, 2, 2)])
        for _ in range(depth):
            mixed = [
                nn.Conv2d(wide, wide, kernel_size, padding=kernel_size // 2, groups=wide),
                ChannelNorm(wide),
                nn.Conv2d(wide, expansion * wide, 1),
                plain_activation(activation),
                nn.Conv2d(expansion * wide, wide, 1),
            ]
            blocks.append([ScaledBlock(nn.Sequential(*mixed), wide, layer_scale, dropout)])
    last = [GlobalAveragePool(), nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], output_size)]
    return Blocks.of([*blocks, last])


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ScaledBlock(nn.Module):
    """x + factors * body(x)."""

    def __init__(self, body: nn.Module, channels: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.body, self.dropout = body, Dropout(dropout)
        self.factors = nn.Parameter(torch.full((channels,), scale)) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        changes = self.body(x)
        changes = changes if self.factors is None else self.factors[:, None, None] * changes
        outputs: Tensor = x + self.dropout(changes)
        return outputs
