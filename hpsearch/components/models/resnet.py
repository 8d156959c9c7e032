"""Residual nets (He et al., 2016, arXiv 1512.03385 and 1603.05027)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.modules import Blocks, ChannelsLast
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.convolutions import (
    GlobalAveragePool,
    check_size,
    convolution,
    image_shape,
    norm_of,
    plain_activation,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]
#: channels of a bottleneck's outputs are so many times its width
EXPANSION = 4


@register("model", "resnet")
def resnet(
    input_shape: tuple[int, ...],
    output_size: int,
    depths: Sequence[Size] = (3, 3, 3),
    widths: Sequence[Size] = (16, 32, 64),
    block: Literal["residual", "bottleneck", "preact"] = "residual",
    stem: Literal["cifar", "imagenet"] = "cifar",
    shortcut: Literal["pad", "project"] = "pad",
    zero_init_residual: bool = False,
    activation: ActivationSection = "relu",
    norm: NormSection = "batch",
) -> nn.Module:
    """Stages of residual blocks; each stage after the first halves height and width.

    `depths` are the blocks of each stage, `widths` their channels: three stages of n blocks are
    the nets of 6n + 2 layers for images of 32x32, by default 20. A `bottleneck` has 4 times as
    many outputs, and `preact` normalises before its convolutions. The cifar stem is a convolution
    of 3x3, that of imagenet one of 7x7 with stride 2 and max pooling. Where shapes change, the
    shortcut takes every second pixel and pads channels with 0 (option A), or projects (option B).
    `zero_init_residual` begins with blocks that change nothing.
    """
    channels, height, width = image_shape("resnet", input_shape)
    depths, widths = _of_one_length(depths, widths)
    factor = 2 ** (len(depths) - 1) * (4 if stem == "imagenet" else 1)
    check_size("resnet", min(height, width), factor, "depths")
    function = partial(plain_activation, activation)
    made = _stem(stem, channels, widths[0], norm, function, is_bare=block == "preact")
    blocks: list[list[nn.Module]] = [[ChannelsLast(), *made]]
    size = widths[0]
    for stage, (depth, wide) in enumerate(zip(depths, widths, strict=True)):
        for number in range(depth):
            stride = 2 if stage and not number else 1
            out = wide * (EXPANSION if block == "bottleneck" else 1)
            body = _BODIES[block](size, wide, stride, norm, function)
            if zero_init_residual:
                _begin_with_nothing(body)
            skip = _shortcut(shortcut, size, out, stride, norm)
            after = nn.Identity() if block == "preact" else function()
            blocks.append([ResidualBlock(body, skip, after)])
            size = out
    last = [norm_of(norm, size, "preact"), function()] if block == "preact" else []
    return Blocks.of([*blocks, [*last, GlobalAveragePool(), nn.Linear(size, output_size)]])


class ResidualBlock(nn.Module):
    """after(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        outputs: Tensor = self.after(self.body(x) + self.shortcut(x))
        return outputs


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and channels of 0 after its own: no parameters (option A)."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + new channels, H / stride, W / stride)."""
        taken = x[..., :: self.stride, :: self.stride]
        return F.pad(taken, (0, 0, 0, 0, 0, self.new_channels))


Function = Callable[[], nn.Module]


def _residual(size: int, wide: int, stride: int, norm: Any, function: Function) -> nn.Sequential:
    first = convolution(size, wide, 3, stride, norm=norm)
    return nn.Sequential(*first, function(), *convolution(wide, wide, norm=norm))


def _bottleneck(size: int, wide: int, stride: int, norm: Any, function: Function) -> nn.Sequential:
    return nn.Sequential(
        *(*convolution(size, wide, 1, norm=norm), function()),
        *(*convolution(wide, wide, 3, stride, norm=norm), function()),
        *convolution(wide, wide * EXPANSION, 1, norm=norm),
    )


def _preact(size: int, wide: int, stride: int, norm: Any, function: Function) -> nn.Sequential:
    return nn.Sequential(
        *(norm_of(norm, size, "preact"), function(), *convolution(size, wide, 3, stride)),
        *(norm_of(norm, wide, "preact"), function(), *convolution(wide, wide)),
    )


_BODIES = {"residual": _residual, "bottleneck": _bottleneck, "preact": _preact}


def _stem(
    kind: str, channels: int, width: int, norm: Any, function: Function, *, is_bare: bool
) -> list[nn.Module]:
    """Return the layers before the first block; `is_bare` where that normalises first."""
    kernel, stride = (7, 2) if kind == "imagenet" else (3, 1)
    own_norm = "none" if is_bare else norm
    layers = [*convolution(channels, width, kernel, stride, norm=own_norm)]
    if not is_bare:
        layers.append(function())
    return [*layers, nn.MaxPool2d(3, 2, 1)] if kind == "imagenet" else layers


def _shortcut(kind: str, size: int, out: int, stride: int, norm: Any) -> nn.Module:
    if size == out and stride == 1:
        return nn.Identity()
    if kind == "pad" and out >= size:
        return PaddedShortcut(out - size, stride)
    return convolution(size, out, 1, stride, norm=norm)


def _begin_with_nothing(body: nn.Sequential) -> None:
    """Let the normalisation that ends a body give 0 (Goyal et al., 2017)."""
    scale = getattr(body[-1], "weight", None)
    if not isinstance(scale, nn.Parameter) or scale.ndim != 1:
        rule = "needs blocks that end with a normalisation that has a scale"
        raise BadConfigurationError(rule, True, keyword="zero_init_residual")
    nn.init.zeros_(scale)


def _of_one_length(
    depths: Sequence[int], widths: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    if not depths or len(depths) != len(widths):
        rule = f"must have a width for each of the {len(depths)} stages that depths has"
        raise BadConfigurationError(rule, list(widths), keyword="widths")
    return depths, widths
