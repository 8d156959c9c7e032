"""What nets of convolutions are made of: a convolution, its normalisation and its activation.

Shapes: B rows, C channels, H and W height and width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hpsearch.components.input_shapes import check_images
from hpsearch.components.layers.activations import make_activation, widening
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.errors import BadConfigurationError


def image_shape(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, height and width; BadConfigurationError where examples are no images."""
    check_images(name, input_shape)
    channels, height, width = input_shape
    return channels, height, width


def plain_activation(section: Any) -> nn.Module:
    """Build an activation; BadConfigurationError for one that halves its inputs."""
    function = make_activation(section)
    if widening(function) > 1:
        rule = "must keep the number of its inputs"
        raise BadConfigurationError(rule, section, keyword="activation")
    return function


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    norm: Any = "none",
    bias: bool | None = None,
    is_padded: bool = True,
) -> nn.Sequential:
    """Return a convolution and its normalisation.

    It has a bias only where it has no normalisation, unless `bias` says so.
    """
    normalized = make_norm(norm, out_channels, 2)
    has_bias = normalized is None if bias is None else bias
    border = kernel_size // 2 if is_padded else 0
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, border, bias=has_bias)
    if normalized is None:
        return nn.Sequential(conv)
    if isinstance(normalized, nn.Module):
        return nn.Sequential(conv, normalized)
    return nn.Sequential(normalized(conv))


def norm_of(section: Any, channels: int, name: str) -> nn.Module:
    """Return a normalisation by itself, which stands before its convolution."""
    norm = make_norm(section, channels, 2)
    if norm is None:
        return nn.Identity()
    if not isinstance(norm, nn.Module):
        rule = f"must be a normalisation of values in {name}, not of weights"
        raise BadConfigurationError(rule, section, keyword="norm")
    return norm


class GlobalAveragePool(nn.Module):
    """The mean of each channel, (B, C, H, W) to (B, C) (Lin et al., 2014)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return x.mean((-2, -1))


def check_size(name: str, size: int, factor: int, keyword: str) -> None:
    """Refuse images whose height and width don't allow to be divided so often."""
    if size < factor:
        rule = (
            f"must leave at least 1x1 of an image, but {name} divides height and width by "
            f"{factor}, and the smaller is {size}"
        )
        raise BadConfigurationError(rule, keyword=keyword)
