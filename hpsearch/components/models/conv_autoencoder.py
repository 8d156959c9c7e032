"""Convolutional autoencoders (Masci et al., 2011)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.corruptions import Corrupted, Corruption
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.models.autoencoder import Draws, decoded_draws
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.components.models.convolutions import check_size, image_shape, plain_activation
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
_TASKS = (*VECTOR_TASKS, "reconstruction", "restoration")


@register("model", "conv_autoencoder", traits={"tasks": _TASKS})
def conv_autoencoder(
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    output_size: int,
    channels: Sequence[Size] = (16, 32),
    code_size: Annotated[int, Ge(1), Recommended(2, 128, log=True)] = 16,
    upsample: Literal["transposed", "nearest", "bilinear"] = "transposed",
    activation: ActivationSection = "relu",
    corruption: Corruption = "none",
    corruption_rate: Annotated[float, Interval(gt=0, le=1), Recommended(0.05, 0.5)] = 0.3,
    variational: bool = False,
    draws: Draws = 1,
    downsampling: Literal["stride", "max", "average"] = "stride",
) -> nn.Module:
    """Convolutions to a code and, in reverse order, back; for images.

    Each of 3x3 halves height and width, rounded up, by its stride or by pooling of 2x2 after it
    (`downsampling`). Its counterpart restores them: a transposed convolution whose output padding
    is what rounding took, or upsampling before a convolution, as pooling's counterpart is.
    `corruption`, `variational` and `draws` are those of `autoencoder`. For tasks other than
    reconstruction a linear layer on the code takes the decoder's place, so that an earlier stage
    can train the encoder for them.
    """
    depth, height, width = image_shape("conv_autoencoder", input_shape)
    check_size("conv_autoencoder", min(height, width), 2 ** max(0, len(channels) - 1), "channels")
    sizes = [(height, width)]
    for _ in channels:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    wide = [depth, *channels]
    down: list[nn.Module] = []
    for size, out in zip(wide, channels, strict=False):
        down += _down(downsampling, size, out, plain_activation(activation))
    smallest = (wide[-1], *sizes[-1])
    code = nn.Linear(math.prod(smallest), code_size * (1 + variational))
    encoder = nn.Sequential(*down, nn.Flatten(), code)
    if output_shape != input_shape:
        return _Halves(encoder, nn.Linear(code_size, output_size), code_size)
    up: list[nn.Module] = [nn.Linear(code_size, math.prod(smallest)), plain_activation(activation)]
    up.append(nn.Unflatten(1, smallest))
    for level in range(len(channels), 0, -1):
        up += _up(upsample, wide[level], wide[level - 1], sizes[level], sizes[level - 1])
        up += [plain_activation(activation)] if level > 1 else []
    parts = encoder, nn.Sequential(*up), code_size
    net = _Variational(*parts, draws) if variational else _Halves(*parts)
    return net if corruption == "none" else Corrupted(net, corruption, corruption_rate)


class _Halves(nn.Module):
    """An encoder to codes (B, K), and what reads them: of a variational one the means."""

    def __init__(self, encoder: nn.Module, reader: nn.Module, code_size: int) -> None:
        super().__init__()
        self.encoder, self.reader = encoder, reader
        self._code_size = code_size

    def encode(self, x: Tensor) -> Tensor:
        """Return codes."""
        codes: Tensor = self.encoder(x)[:, : self._code_size]
        return codes

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder's layers, and the reader as one."""
        return [*layer_groups(self.encoder), [self.reader]]

    def forward(self, x: Tensor) -> Any:
        """Return the outputs of a batch (B, C, H, W)."""
        outputs: Tensor = self.reader(self.encode(x))
        return outputs


class _Variational(_Halves):
    """Codes are normal distributions, independent in each of K numbers."""

    def __init__(self, encoder: nn.Module, reader: nn.Module, code_size: int, draws: int) -> None:
        super().__init__(encoder, reader, code_size)
        self._draws = draws

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what `decoded_draws` does, of images (B, C, H, W)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        draws = self._draws * self.training
        return decoded_draws(self.reader, mean, log_variance, x.shape[1:], draws)


def _down(kind: str, size: int, out: int, function: nn.Module) -> list[nn.Module]:
    """Return layers that halve images, rounded up."""
    if kind == "stride":
        return [nn.Conv2d(size, out, 3, 2, 1), function]
    pool = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
    return [nn.Conv2d(size, out, 3, padding=1), function, pool(2, ceil_mode=True)]


def _up(
    kind: str, size: int, out: int, before: tuple[int, int], after: tuple[int, int]
) -> list[nn.Module]:
    """Return layers from images of one size to images of another, twice as large or 1 less.

    Of a transposed convolution: (n - 1) stride - 2 padding + kernel + output padding.
    """
    if kind == "transposed":
        more = (after[0] - (2 * before[0] - 1), after[1] - (2 * before[1] - 1))
        return [nn.ConvTranspose2d(size, out, 3, 2, 1, output_padding=more)]
    aligned = {"align_corners": False} if kind == "bilinear" else {}
    return [nn.Upsample(after, mode=kind, **aligned), nn.Conv2d(size, out, 3, padding=1)]
