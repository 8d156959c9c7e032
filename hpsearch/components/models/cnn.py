"""`cnn`: convolutions, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.input_shapes import IMAGES, check_shape
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
from hpsearch.components.models.blocks import Block, Pooling, Skip, check_residuals, check_skip
from hpsearch.components.models.convolutions import GlobalAveragePool
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]
_NEEDS = f"{IMAGES} or sequences of the shape (time, features)"


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
    convs_per_block: Size = 1,
    skip: Skip = "none",
) -> nn.Module:
    """Convolutions, each with a normalisation, an activation and pooling, then an mlp.

    Of images it convolves height and width, of sequences (time, features) the time alone.
    `pool` divides height and width after each convolution (1 keeps them), by the greatest value or
    the mean; the convolution itself by `stride`. `same` padding keeps them, `valid` is none. With
    `convs_per_block` above 1 so many convolutions of the same channels come before each pooling,
    the first of them with the stride. With `global_pool` the mlp sees the mean of each channel in
    place of all pixels. `norm`, `bias` and `conv_dropout` are those of the convolutions, `dropout`
    follows the hidden layers of the mlp. With `norm_position: pre_norm_residual` convolutions that
    keep their shape are added to their inputs before pooling; BadConfigurationError where none
    does.

    A `skip` leads around each convolution, with its norm and activation, before pooling: what
    comes by it is added to the outputs, or mixed with them by a gate as in highway nets, or stands
    beside them (`concat`). Where channels or a stride don't fit, a convolution of 1x1 brings it to
    their shape. It needs `same` padding and an odd kernel.

    BadConfigurationError where the data is neither images of the shape (channels, height, width)
    nor sequences, or pooling leaves nothing of them.
    """
    is_sequence = len(input_shape) == 2
    check_shape("cnn", len(input_shape) in (2, 3), _NEEDS, input_shape)
    depth, *sides = input_shape[::-1] if is_sequence else input_shape
    if skip != "none":
        check_skip(skip, norm_position)
        _check_places(skip, channels, kernel_size, padding)
    border = kernel_size // 2 if padding == "same" else 0
    # Channels last takes less time than the usual order on a CPU.
    order = StepsAsPixels() if is_sequence else ChannelsLast()
    begin: list[nn.Module] = [order, Dropout(input_dropout)]
    blocks: list[list[nn.Module]] = []
    wanted = [each for each in channels for _ in range(convs_per_block)]
    sizes = [depth]
    for i, num_channels in enumerate(wanted):
        size = sizes[-1]
        function = make_activation(activation)
        wide = num_channels * widening(function)
        by = stride if i % convs_per_block == 0 else 1
        pooled = pool if (i + 1) % convs_per_block == 0 else 1
        form = (_along(sides, kernel_size), _along(sides, by), _along(sides, border, 0))
        conv = nn.Conv2d(size, wide, *form, bias=bias)
        along = _along(sides, pooled)
        block = Block(conv, function, norm, norm_position, size, num_channels, along, pooling)
        blocks.append(block.skipping(skip, *_conv_dropouts(conv_dropout)))
        sizes.append(num_channels + (size if skip == "concat" else 0))
        sides = [((side + 2 * border - kernel_size) // by + 1) // pooled for side in sides]
        if min(sides) < 1:
            left = "x".join(map(str, sides))
            place = f"convolution {i + 1} of {len(wanted)} leaves {left}"
            after = "convolution" if convs_per_block == 1 else "block"
            raise _pooled_away(input_shape, f"pooling by {pool} after each {after}", place)
    check_residuals(blocks, norm_position, sizes)
    shape: tuple[int, ...] = (sizes[-1], *sides)
    if global_pool and not blocks:
        rule = "must have a convolution at least with global_pool"
        raise BadConfigurationError(rule, list(channels), keyword="channels")
    if global_pool:
        blocks[-1].append(GlobalAveragePool())
        shape = shape[:1]
    head: Blocks = mlp(shape, output_size, hidden_sizes, activation, dropout=dropout)
    first, *others = [*blocks, *head.layer_groups()]
    return Blocks.of([[*begin, *first], *others])


def _check_places(skip: Skip, channels: Sequence[int], kernel_size: int, padding: str) -> None:
    """Refuse a way around convolutions whose outputs have other places than their inputs."""
    if not channels:
        raise BadConfigurationError("must be none without convolutions", skip, keyword="skip")
    if kernel_size % 2 == 0 or (padding == "valid" and kernel_size > 1):
        told = f"kernel_size is {kernel_size} and the padding {padding}"
        rule = f"must be none unless each output has a place of its inputs, but {told}"
        raise BadConfigurationError(rule, skip, keyword="skip")


class StepsAsPixels(nn.Module):
    """Sequences (B, T, F) as images (B, F, T, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the images."""
        return x.transpose(1, 2).unsqueeze(-1)


def _along(sides: Sequence[int], size: int, other: int = 1) -> tuple[int, int]:
    """Return a size for both axes of an image, or for the time of a sequence alone."""
    return (size, size) if len(sides) == 2 else (size, other)


def _conv_dropouts(section: Any) -> list[nn.Module]:
    if section is None:
        return []
    return [make_dropout(section, SPATIAL_DROPOUT, keyword="conv_dropout")]


def _pooled_away(input_shape: tuple[int, ...], pooling: str, place: str) -> BadConfigurationError:
    return BadConfigurationError(
        f"{pooling} must leave at least {_one_of(input_shape)}, but {place}: use fewer channels "
        "or a smaller pool",
        keyword="channels",
    )


def _one_of(input_shape: tuple[int, ...]) -> str:
    if len(input_shape) == 2:
        return f"1 of {input_shape[0]} steps"
    return f"1x1 of a {input_shape[1]}x{input_shape[2]} image"
