"""The net of a deep image prior (Ulyanov et al., 2018, arXiv 1711.10925, supplement): from noise
down to few pixels and up again."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.models.convolutions import image_shape
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
#: what the paper's noise is multiplied by, and the slope of its activation
NOISE_SCALE, SLOPE = 0.1, 0.2


@register("model", "image_prior", traits={"tasks": ("image_prior",)})
def image_prior(
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    channels: Annotated[int, Ge(1), Recommended(8, 128, log=True)] = 32,
    skip_channels: Annotated[int, Ge(0), Recommended(0, 8)] = 4,
    depth: Annotated[int, Ge(1), Recommended(2, 5)] = 3,
    noise_channels: Size = 32,
    input_noise: Annotated[float, Interval(ge=0, le=1)] = 1 / 30,
) -> nn.Module:
    """An hourglass of convolutions that makes an image of fixed noise, for the task image_prior.

    Each of `depth` levels halves height and width by a stride, has `channels`, and hands
    `skip_channels` over to the way up, which is bilinear; each convolution has a normalisation and
    a leaky ReLU, the output is from 0 to 1. While it trains the noise, uniform up to 0.1 in
    `noise_channels`, is itself changed by noise of the deviation `input_noise` at each step. The
    paper's net is `channels: 128, depth: 5`. Height and width must be multiples of 2^depth.
    """
    _, height, width = image_shape("image_prior", input_shape)
    if height % 2**depth or width % 2**depth:
        rule = f"must be so small that 2^depth divides height and width ({height}x{width})"
        raise BadConfigurationError(rule, depth, keyword="depth")
    level: nn.Module | None = None
    for number in reversed(range(depth)):
        size = channels if number else noise_channels
        level = _Level(size, channels, skip_channels, level)
    head = nn.Sequential(nn.Conv2d(channels, output_shape[0], 1), nn.Sigmoid())
    assert level is not None
    return ImagePriorNet(level, head, (noise_channels, height, width), input_noise)


class ImagePriorNet(nn.Module):
    """Gives the same image for each row: of its inputs the number of rows alone matters."""

    noise: Tensor

    def __init__(
        self, body: nn.Module, head: nn.Module, shape: tuple[int, ...], input_noise: float
    ) -> None:
        super().__init__()
        self.body, self.head, self.input_noise = body, head, input_noise
        self.register_buffer("noise", NOISE_SCALE * torch.rand(1, *shape))

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the hourglass and the output."""
        return [[self.body], [self.head]]

    def forward(self, x: Tensor) -> Tensor:
        """Return images (B, C, H, W) for inputs (B, C + 1, H, W)."""
        noise = self.noise.to(x.dtype)
        if self.training:
            noise = noise + self.input_noise * torch.randn_like(noise)
        image: Tensor = self.head(self.body(noise))
        return image.expand(len(x), *image.shape[1:])


class _Level(nn.Module):
    """Down by a stride, through the level below, up again, joined with the way around."""

    def __init__(self, size: int, channels: int, skip: int, below: nn.Module | None) -> None:
        super().__init__()
        down = [*_layers(size, channels, 3, 2), *_layers(channels, channels, 3)]
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.inner = nn.Sequential(*down, *([] if below is None else [below]), up)
        self.skip = nn.Sequential(*_layers(size, skip, 1)) if skip else None
        joined = channels + skip
        self.joined = nn.Sequential(
            _norm(joined), *_layers(joined, channels, 3), *_layers(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, channels, H, W)."""
        inner: Tensor = self.inner(x)
        if self.skip is not None:
            inner = torch.cat([inner, self.skip(x)], 1)
        features: Tensor = self.joined(inner)
        return features


def _layers(size: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(size, out, kernel, stride, kernel // 2, padding_mode="reflect")
    return [conv, _norm(out), nn.LeakyReLU(SLOPE)]


def _norm(channels: int) -> nn.Module:
    """Batch norm of a single image, by whose own statistics the paper normalises it always."""
    return nn.InstanceNorm2d(channels, affine=True)
