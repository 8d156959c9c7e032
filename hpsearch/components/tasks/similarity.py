"""The structural similarity of images (Wang et al., 2004, doi 10.1109/TIP.2003.819861)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: of the normal window: its deviation in pixels, and its side, of which smaller images have less
SIGMA, SIDE = 1.5, 11
#: factors of the range of values that keep the two fractions stable
K1, K2 = 0.01, 0.03


def structural_similarity(images: Tensor, others: Tensor, value_range: float) -> Tensor:
    """Return the similarity of each image and another one, (rows,), at most 1.

    Both are (rows, channels, height, width). Means, variances and the covariance are those of
    windows that lie within the image, weighted by a normal distribution; the result is the mean
    over windows and channels.

    >>> images = torch.rand(2, 1, 16, 16)
    >>> structural_similarity(images, images, 1.0).tolist()
    [1.0, 1.0]
    """
    window = _window(min(SIDE, *images.shape[2:]), images.shape[1]).to(images)
    first, second = images.double(), others.double()
    stacked = torch.cat([first, second, first * first, second * second, first * second])
    filtered = F.conv2d(stacked, window.double(), groups=images.shape[1])
    mean, other_mean, square, other_square, product = filtered.chunk(5)
    stable, also_stable = (K1 * value_range) ** 2, (K2 * value_range) ** 2
    variances = square - mean**2 + other_square - other_mean**2
    covariance = product - mean * other_mean
    luminance = (2 * mean * other_mean + stable) / (mean**2 + other_mean**2 + stable)
    structure = (2 * covariance + also_stable) / (variances + also_stable)
    return (luminance * structure).flatten(1).mean(1)


def _window(side: int, channels: int) -> Tensor:
    """Return normal weights (channels, 1, side, side), an odd side, that sum to 1."""
    side -= 1 - side % 2
    places = torch.arange(side, dtype=torch.float64) - side // 2
    weights = torch.exp(-0.5 * (places / SIGMA) ** 2)
    square = weights[:, None] * weights
    return (square / square.sum()).expand(channels, 1, side, side)
