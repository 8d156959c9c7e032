"""VGG (Simonyan & Zisserman, 2015, arXiv 1409.1556): small convolutions, several between pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import nn

from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.dropouts import DropoutSection
from hpsearch.components.layers.modules import Blocks, ChannelsLast
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.convolutions import (
    GlobalAveragePool,
    check_size,
    convolution,
    image_shape,
    plain_activation,
)
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]


@register("model", "vgg")
def vgg(
    input_shape: tuple[int, ...],
    output_size: int,
    depths: Sequence[Size] = (2, 2),
    widths: Sequence[Size] = (32, 64),
    hidden_sizes: Sequence[Size] = (128,),
    global_pool: bool = False,
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    dropout: DropoutSection = 0.5,
) -> nn.Module:
    """Stages of convolutions of 3x3, each followed by max pooling, then an mlp with dropout.

    `depths` are the convolutions of each stage, `widths` their channels; VGG-16 is `depths: [2, 2,
    3, 3, 3]`, `widths: [64, 128, 256, 512, 512]`, `hidden_sizes: [4096, 4096]`. With `global_pool`
    the mlp sees the mean of each channel in place of all pixels.
    """
    size, height, width = image_shape("vgg", input_shape)
    if not depths or len(depths) != len(widths):
        rule = f"must have a width for each of the {len(depths)} stages that depths has"
        raise BadConfigurationError(rule, list(widths), keyword="widths")
    check_size("vgg", min(height, width), 2 ** len(depths), "depths")
    blocks: list[list[nn.Module]] = []
    for depth, wide in zip(depths, widths, strict=True):
        for _ in range(depth):
            blocks.append([*convolution(size, wide, norm=norm), plain_activation(activation)])
            size = wide
        blocks[-1].append(nn.MaxPool2d(2))
    shape = (size, height >> len(depths), width >> len(depths))
    if global_pool:
        blocks[-1].append(GlobalAveragePool())
        shape = (size, 1, 1)
    head: Blocks = mlp(
        shape[:1] if global_pool else shape, output_size, hidden_sizes, activation, dropout=dropout
    )
    first, *others = [*blocks, *head.layer_groups()]
    return Blocks.of([[ChannelsLast(), *first], *others])
