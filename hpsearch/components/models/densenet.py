"""Densely connected nets (Huang et al., 2017, arXiv 1608.06993)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.dropouts import DropoutSection, make_dropout
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
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
#: channels of a bottleneck, in growths
BOTTLENECK = 4


@register("model", "densenet")
def densenet(
    input_shape: tuple[int, ...],
    output_size: int,
    depths: Sequence[Size] = (6, 6, 6),
    growth: Annotated[int, Ge(1), Recommended(4, 32, log=True)] = 12,
    bottleneck: bool = False,
    compression: Annotated[float, Interval(gt=0, le=1), Recommended(0.25, 1.0)] = 1.0,
    activation: ActivationSection = "relu",
    norm: NormSection = "batch",
    dropout: DropoutSection = 0.0,
) -> nn.Module:
    """Blocks of layers that see all channels before them in the block, and add `growth` each.

    `depths` are the layers of each block; between two blocks a convolution of 1x1, which keeps the
    share `compression` of the channels, and average pooling. With `bottleneck` each layer sees its
    inputs through 4 growth channels. A net L-k of the paper has three blocks of (L - 4) / 3
    layers, DenseNet-BC blocks of (L - 4) / 6, `bottleneck` and `compression: 0.5`.
    """
    channels, height, width = image_shape("densenet", input_shape)
    check_size("densenet", min(height, width), 2 ** (len(depths) - 1), "depths")
    function = partial(plain_activation, activation)
    size = 2 * growth if bottleneck and compression < 1 else 16
    blocks: list[list[nn.Module]] = [[ChannelsLast(), *convolution(channels, size, bias=False)]]
    for number, depth in enumerate(depths):
        if number:
            kept = max(1, int(size * compression))
            between = convolution(size, kept, 1, bias=False)
            norm_before = norm_of(norm, size, "densenet")
            blocks.append([norm_before, function(), *between, nn.AvgPool2d(2)])
            size = kept
        for _ in range(depth):
            layer = _layer(size, growth, bottleneck, norm, function, dropout)
            blocks.append([DenseLayer(layer)])
            size += growth
    last = [norm_of(norm, size, "densenet"), function(), GlobalAveragePool()]
    return Blocks.of([*blocks, [*last, nn.Linear(size, output_size)]])


class DenseLayer(nn.Module):
    """[x, layer(x)], channel after channel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + growth, H, W)."""
        return torch.cat([x, self.layer(x)], 1)


def _layer(
    size: int,
    growth: int,
    bottleneck: bool,
    norm: Any,
    function: Callable[[], nn.Module],
    dropout: Any,
) -> nn.Sequential:
    before: list[nn.Module] = []
    if bottleneck:
        narrow = convolution(size, BOTTLENECK * growth, 1, bias=False)
        before = [norm_of(norm, size, "densenet"), function(), *narrow, make_dropout(dropout)]
        size = BOTTLENECK * growth
    conv = convolution(size, growth, bias=False)
    last = [norm_of(norm, size, "densenet"), function(), *conv, make_dropout(dropout)]
    return nn.Sequential(*before, *last)
