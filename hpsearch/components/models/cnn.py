"""`cnn`: convolutions, then fully connected layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import nn

from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.layers.dropouts import (
    SPATIAL_DROPOUT,
    DropoutSection,
    Rate,
    SpatialDropoutSection,
    make_dropout,
)
from hpsearch.components.layers.modules import Blocks, ChannelsLast, Dropout
from hpsearch.components.layers.normalizations import NormPosition, NormSection
from hpsearch.components.models.blocks import Block, Pooling, check_residuals
from hpsearch.components.models.convolutions import GlobalAveragePool, image_shape
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]


@register("model", "cnn")
def cnn(
    input_shape: tuple[int, ...],
    output_size: int,
    channels: Sequence[Size] = (16, 32),
    kernel_size: Size = 3,
    pool: Size = 2,
    hidden_sizes: Sequence[Size] = (64,),
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    norm_position: NormPosition = "pre_activation",
    bias: bool = True,
    input_dropout: Rate = 0.0,
    conv_dropout: SpatialDropoutSection | None = None,
    dropout: DropoutSection = 0.0,
    stride: Size = 1,
    padding: Literal["same", "valid"] = "same",
    pooling: Pooling = "max",
    global_pool: bool = False,
) -> nn.Module:
    """Convolutions, each with a normalisation, an activation and pooling, then an mlp.

    `pool` divides height and width after each convolution (1 keeps them), by the greatest value or
    the mean; the convolution itself by `stride`. `same` padding keeps them, `valid` is none. With
    `global_pool` the mlp sees the mean of each channel in place of all pixels. `norm`, `bias` and
    `conv_dropout` are those of the convolutions, `dropout` follows the hidden layers of the mlp.
    With `norm_position: pre_norm_residual` convolutions that keep their shape are added to their
    inputs before pooling; BadConfigurationError where none does. Likewise where the data isn't
    images of the shape (channels, height, width), or pooling leaves nothing of them.
    """
    depth, height, width = image_shape("cnn", input_shape)
    border = kernel_size // 2 if padding == "same" else 0
    # Channels last takes less time than the usual order on a CPU.
    begin: list[nn.Module] = [ChannelsLast(), Dropout(input_dropout)]
    blocks: list[list[nn.Module]] = []
    sizes = [depth, *channels]
    for i, (size, num_channels) in enumerate(itertools.pairwise(sizes)):
        function = make_activation(activation)
        wide = num_channels * widening(function)
        conv = nn.Conv2d(size, wide, kernel_size, stride, border, bias=bias)
        block = Block(conv, function, norm, norm_position, size, num_channels, pool, pooling)
        blocks.append(block.modules(*_conv_dropouts(conv_dropout)))
        height, width = (
            (side + 2 * border - kernel_size) // stride + 1 for side in (height, width)
        )
        height, width = height // pool, width // pool
        if min(height, width) < 1:
            place = f"convolution {i + 1} of {len(channels)} leaves {height}x{width}"
            raise _pooled_away(input_shape, pool, place)
    check_residuals(blocks, norm_position, sizes)
    shape: tuple[int, ...] = (sizes[-1], height, width)
    if global_pool:
        blocks[-1].append(GlobalAveragePool())
        shape = shape[:1]
    head: Blocks = mlp(shape, output_size, hidden_sizes, activation, dropout=dropout)
    first, *others = [*blocks, *head.layer_groups()]
    return Blocks.of([[*begin, *first], *others])


def _conv_dropouts(section: Any) -> list[nn.Module]:
    if section is None:
        return []
    return [make_dropout(section, SPATIAL_DROPOUT, keyword="conv_dropout")]


def _pooled_away(input_shape: tuple[int, ...], pool: int, place: str) -> BadConfigurationError:
    return BadConfigurationError(
        f"pooling by {pool} after each convolution must leave at least 1x1 of a "
        f"{input_shape[1]}x{input_shape[2]} image, but {place}: use fewer channels or a smaller "
        "pool",
        keyword="channels",
    )
