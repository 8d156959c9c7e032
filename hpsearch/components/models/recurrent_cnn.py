"""Recurrent convolutional nets: layers whose units see their neighbours some steps before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.layers.modules import Blocks
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.convolutions import (
    GlobalAveragePool,
    check_size,
    convolution,
    image_shape,
    norm_of,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]


@register("model", "recurrent_cnn")
def recurrent_cnn(
    input_shape: tuple[int, ...],
    output_size: int,
    channels: Sequence[Size] = (32, 32),
    steps: Annotated[int, Ge(0), Recommended(1, 4)] = 3,
    kernel_size: Size = 3,
    pool: Size = 2,
    norm: NormSection = "batch",
) -> nn.Module:
    """Recurrent convolutional layers x(t) = relu(norm(F u + R x(t - 1))), each `steps` long, and
    the mean of each channel (Liang & Hu, 2015).

    F and R are convolutions, u the layer's input, x(0) = relu(norm(F u)); norms are of their own
    at each step. Max pooling divides height and width by `pool` between the layers. With 0 steps
    it is a plain convolutional net.
    """
    if kernel_size % 2 == 0:
        rule = "must be odd, so that a layer's outputs have the shape of what it sees again"
        raise BadConfigurationError(rule, kernel_size, keyword="kernel_size")
    size, *shape = image_shape("recurrent_cnn", input_shape)
    check_size("recurrent_cnn", min(shape), pool ** (len(channels) - 1), "pool")
    blocks: list[list[nn.Module]] = []
    for number, width in enumerate(channels):
        before: list[nn.Module] = [nn.MaxPool2d(pool)] if number and pool > 1 else []
        blocks.append([*before, RecurrentConvolution(size, width, kernel_size, steps, norm)])
        size = width
    return Blocks.of([*blocks, [GlobalAveragePool(), nn.Linear(size, output_size)]])


class RecurrentConvolution(nn.Module):
    """(B, C, H, W) to (B, C', H, W)."""

    def __init__(
        self, in_size: int, out_size: int, kernel_size: int, steps: int, norm: object
    ) -> None:
        super().__init__()
        self.inputs = convolution(in_size, out_size, kernel_size)
        self.own = convolution(out_size, out_size, kernel_size, bias=False) if steps else None
        self.norms = nn.ModuleList(
            norm_of(norm, out_size, "recurrent_cnn") for _ in range(1 + steps)
        )

    def forward(self, u: Tensor) -> Tensor:
        """Return the last step's."""
        driven = self.inputs(u)
        first, *others = self.norms
        x: Tensor = first(driven).relu()
        for norm in others:
            assert self.own is not None
            x = norm(driven + self.own(x)).relu()
        return x
