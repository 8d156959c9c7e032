"""U-Net (Ronneberger et al., 2015, arXiv 1505.04597): an image for an image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.corruptions import Corrupted, Corruption
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.building import FITTING
from hpsearch.components.models.convolutions import convolution, image_shape, plain_activation
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register


def fitting_depths(input_shape: tuple[int, ...]) -> list[int]:
    """Return the depths whose power of two divides an image's height and width."""
    sides = input_shape[1:]
    largest = min(sides, default=0).bit_length()
    return [depth for depth in range(1, largest) if not any(side % 2**depth for side in sides)]


@register(
    "model",
    "unet",
    traits={
        "tasks": ("segmentation", "reconstruction", "restoration"),
        FITTING: {"depth": fitting_depths},
    },
)
def unet(
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    base: Annotated[int, Ge(1), Recommended(8, 64, log=True)] = 16,
    depth: Annotated[int, Ge(1), Recommended(1, 4)] = 2,
    upsample: Literal["transposed", "bilinear"] = "transposed",
    skips: bool = True,
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    corruption: Corruption = "none",
    corruption_rate: Annotated[float, Interval(gt=0, le=1), Recommended(0.05, 0.5)] = 0.3,
    padding: Literal["same", "valid"] = "same",
) -> nn.Module:
    """Down `depth` times by max pooling and up again, with what was seen on the way down beside.

    Each level has two padded convolutions of 3x3, `base` channels at first and twice as many a
    level down; the paper's net is `base: 64, depth: 4, padding: valid`: there convolutions see no
    zeros beyond a border, as the image is mirrored there. `upsample` by a transposed convolution
    of 2x2, or bilinearly before one of 1x1. Without `skips` it is an autoencoder. Height and width
    must be multiples of 2^depth, but for `valid` padding. With `corruption` inputs are changed
    before each step of training, as by `autoencoder`, so that it learns to restore them. For tasks
    whose outputs are images: segmentation, reconstruction.
    """
    channels = image_shape("unet", input_shape)[0]
    form = Form(base, depth, upsample, skips, activation, norm, padding == "same")
    net: nn.Module = make_unet(channels, output_shape[0], form)
    if form.is_padded:
        check_depth(depth, input_shape)
    else:
        net = Mirrored(net, [Margin.of(side, depth) for side in input_shape[1:]])
    return net if corruption == "none" else Corrupted(net, corruption, corruption_rate)


@dataclass(frozen=True)
class Form:
    """The keywords of a U-Net."""

    base: int
    depth: int
    upsample: str
    skips: bool
    activation: Any
    norm: Any
    is_padded: bool = True


def check_depth(depth: int, input_shape: tuple[int, ...]) -> None:
    """Refuse a depth by which an image's height or width can't be halved."""
    height, width = input_shape[1:]
    if height % 2**depth or width % 2**depth:
        rule = f"must be so small that 2^depth divides height and width ({height}x{width})"
        raise BadConfigurationError(rule, depth, keyword="depth")


def make_unet(channels: int, out_channels: int, form: Form) -> UNet:
    """Return a U-Net from images of so many channels to others."""
    function, norm = partial(plain_activation, form.activation), form.norm
    sizes = [form.base * 2**level for level in range(form.depth + 1)]
    pair = partial(_pair, norm=norm, function=function, is_padded=form.is_padded)
    down = [pair(a, b) for a, b in zip([channels, *sizes], sizes, strict=False)]
    levels = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
    up = [_up(form.upsample, a, b) for a, b in levels]
    joined = [pair(b * (1 + form.skips), b) for _, b in levels]
    return UNet(down, up, joined, nn.Conv2d(form.base, out_channels, 1), form.skips)


class UNet(nn.Module):
    """Images (B, C, H, W) to images (B, K, H, W)."""

    def __init__(
        self,
        down: list[nn.Module],
        up: list[nn.Module],
        joined: list[nn.Module],
        output: nn.Module,
        skips: bool,
    ) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.joined, self.output = nn.ModuleList(joined), output
        self.pool, self.skips = nn.MaxPool2d(2), skips

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return each level down, each level up, and the output."""
        ups = [list(pair) for pair in zip(self.up, self.joined, strict=True)]
        return [*([each] for each in self.down), *ups, [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        seen: list[Tensor] = []
        for number, level in enumerate(self.down):
            x = level(self.pool(x) if number else x)
            seen.append(x)
        for up, level, skip in zip(self.up, self.joined, seen[-2::-1], strict=True):
            x = up(x)
            x = level(torch.cat([_middle(skip, x.shape[2:]), x], 1) if self.skips else x)
        outputs: Tensor = self.output(x)
        return outputs


@dataclass(frozen=True)
class Margin:
    """By how much a side is mirrored at both ends, and from where to where outputs are its own."""

    before: int
    after: int
    start: int
    side: int

    @classmethod
    def of(cls, side: int, depth: int) -> Margin:
        """Return what a net without padding needs to give outputs for a whole side."""
        found = cls._needed(side, depth)
        if found.mirrored < side:
            return found
        less = [each for each in range(1, depth) if cls._needed(side, each).mirrored < side]
        if less:
            rule = f"must be at most {less[-1]}, as {_needs(found.mirrored, side)}"
            raise BadConfigurationError(rule, depth, keyword="depth")
        rule = f"must be same: at depth 1 {_needs(cls._needed(side, 1).mirrored, side)}"
        raise BadConfigurationError(rule, "valid", keyword="padding")

    @property
    def mirrored(self) -> int:
        """How many pixels are mirrored at an end, at most."""
        return max(self.before, self.after)

    @classmethod
    def _needed(cls, side: int, depth: int) -> Margin:
        whole = next(size for size in itertools.count(side) if left_of(size, depth) >= side)
        left = left_of(whole, depth)
        start = (left - side) // 2
        before = (whole - left) // 2 + start
        return cls(before, whole - side - before, start, side)


def _needs(mirrored: int, side: int) -> str:
    return (
        f"valid convolutions need {mirrored} pixels beyond a border, and an image's {side} mirror "
        f"at most {side - 1}"
    )


def left_of(side: int, depth: int) -> int:
    """Return what valid convolutions leave of a side; 0 where it can't be halved.

    >>> left_of(572, 4)
    388
    """
    for _ in range(depth):
        side -= 4
        if side <= 0 or side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(depth):
        side = 2 * side - 4
    return max(side, 0)


class Mirrored(nn.Module):
    """A net without padding, of images mirrored at their borders (figure 2 of the paper)."""

    def __init__(self, net: nn.Module, margins: Sequence[Margin]) -> None:
        super().__init__()
        self.net, self._margins = net, tuple(margins)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return those of the net."""
        return layer_groups(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, K, H, W) for images (B, C, H, W)."""
        height, width = self._margins
        sides = (width.before, width.after, height.before, height.after)
        outputs: Tensor = self.net(F.pad(x, sides, mode="reflect"))
        rows, columns = (slice(each.start, each.start + each.side) for each in self._margins)
        return outputs[..., rows, columns]


def _middle(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the middle of images (B, C, H, W)."""
    tops = [(size - side) // 2 for size, side in zip(x.shape[2:], sides, strict=True)]
    rows, columns = (slice(top, top + side) for top, side in zip(tops, sides, strict=True))
    return x[..., rows, columns]


def _pair(
    size: int, out: int, norm: Any, function: Callable[[], nn.Module], is_padded: bool
) -> nn.Module:
    first = convolution(size, out, norm=norm, is_padded=is_padded)
    second = convolution(out, out, norm=norm, is_padded=is_padded)
    return nn.Sequential(*first, function(), *second, function())


def _up(kind: str, size: int, out: int) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(size, out, 2, 2)
    scale = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(scale, nn.Conv2d(size, out, 1))
