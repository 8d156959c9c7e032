"""What JPEG does to images, as an augmentation and for damaged images.

Shapes: B images, C channels (1 or 3), H × W pixels, in blocks of 8 × 8.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from hpsearch.components.augmentations import Augmentation
from hpsearch.components.examples import Scale
from hpsearch.components.image_transforms import as_pixels
from hpsearch.components.input_shapes import check_images
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Quality = Annotated[int, Interval(ge=1, le=100)]
_SIZE = 8
#: the tables of the standard (ITU-T T.81, 1992, annex K): of brightness, and of colours
_BRIGHTNESS = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOURS = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *([99] * 32),
)
#: brightness and two colours of red, green and blue (JFIF 1.02), and back
_TO_COLOURS = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
_FROM_COLOURS = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@register("augmentation", "jpeg", traits={"keeps_places": True, "needs_pixels": True})
def jpeg(
    input_shape: tuple[int, ...],
    input_scale: Scale,
    quality: Annotated[Quality, Recommended(5, 95)] = 25,
    max_quality: Quality | None = None,
) -> Augmentation:
    """Images as JPEG gives them back at a `quality` of 1 to 100: blocks, rings, lost colours.

    With the standard's tables (ITU-T T.81, annex K), scaled as libjpeg does, and colours at half
    the resolution (4:2:0). Each image draws its quality from `quality` to `max_quality`, by
    default always the first. The data must be pixels from 0 to 1, grey or of three channels.
    """
    check_images("jpeg", input_shape)
    if input_shape[0] not in (1, 3):
        rule = f"jpeg needs images of 1 or 3 channels, but the data set has {input_shape[0]}"
        raise BadConfigurationError(rule)
    if max_quality is not None and max_quality < quality:
        rule = f"must be at least quality, {quality}"
        raise BadConfigurationError(rule, max_quality, keyword="max_quality")
    highest = quality if max_quality is None else max_quality

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        pixels, mean, std = as_pixels(x, input_scale)
        drawn = torch.randint(quality, highest + 1, (len(x),), device=x.device)
        return ((compressed(pixels, drawn) - mean) / std).to(x.dtype), y

    return augment


@torch.no_grad()
def compressed(images: Tensor, quality: Tensor) -> Tensor:
    """Return images (B, C, H, W) of 0 to 1 as JPEG gives them back, each at its quality (B,)."""
    pixels = (255 * images.float()).round()
    if images.shape[1] == 1:
        changed = _quantised(pixels - 128, _table(_BRIGHTNESS, quality)) + 128
    else:
        changed = _of_colours(pixels, quality)
    return changed.round().clamp(0, 255) / 255


def _of_colours(pixels: Tensor, quality: Tensor) -> Tensor:
    """Return images of three channels: brightness by itself, and colours at half the size."""
    to, back = (pixels.new_tensor(each) for each in (_TO_COLOURS, _FROM_COLOURS))
    parts = torch.einsum("ij,bjhw->bihw", to, pixels).round()
    brightness = _quantised(parts[:, :1] - 128, _table(_BRIGHTNESS, quality)) + 128
    height, width = pixels.shape[-2:]
    fill = [0, -width % (2 * _SIZE), 0, height % 2]
    even = F.pad(parts[:, 1:], fill, mode="replicate")
    means = F.avg_pool2d(even, 2)
    up_or_down = means.new_tensor([0.25, 0.5]).repeat(means.shape[-1] // 2)  # by turns
    means = (means + up_or_down).floor()
    halves = _quantised(means, _table(_COLOURS, quality))
    colours = F.interpolate(halves, scale_factor=2, mode="bilinear")[..., :height, :width]
    return torch.einsum("ij,bjhw->bihw", back, torch.cat([brightness, colours], 1).round())


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Return planes (B, P, H, W) whose cosines by block are multiples of a table's (B, 8, 8)."""
    height, width = planes.shape[-2:]
    fill = [0, -width % _SIZE, 0, -height % _SIZE]
    cosines = _cosines().to(planes)
    padded = F.pad(planes, fill, mode="replicate")
    down, across = (length // _SIZE for length in padded.shape[-2:])
    blocks = padded.reshape(*planes.shape[:2], down, _SIZE, across, _SIZE)
    steps = table[:, None, None, :, None, :]
    found = torch.einsum("ui,bphiwj,vj->bphuwv", cosines, blocks, cosines)
    found = (8 * found).round() / 8  # as libjpeg has them, in whole numbers
    found = found.sign() * (found.abs() / steps + 0.5).floor() * steps
    values = torch.einsum("ui,bphuwv,vj->bphiwj", cosines, found, cosines)
    whole = values.flatten(-2).flatten(-3, -2).round().clamp(-128, 127)
    return whole[..., :height, :width]


def _cosines() -> Tensor:
    """Return the orthonormal cosine transform, (frequencies, places) of 8 each."""
    frequencies, places = torch.arange(_SIZE)[:, None], torch.arange(_SIZE)
    rows = torch.cos(math.pi * (2 * places + 1) * frequencies / (2 * _SIZE)) / 2
    rows[0] /= math.sqrt(2)
    return rows


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """Return the tables (B, 8, 8) of qualities, as libjpeg scales them."""
    scale = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    table = torch.tensor(base, device=quality.device).view(_SIZE, _SIZE)
    return ((table * scale[:, None, None] + 50) // 100).clamp(1, 255).float()
