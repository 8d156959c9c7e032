"""Normalisations by name, for the `norm` keyword of models.

A factory gets `num_features`, the units or channels of a layer, and `num_dims`, the axes after
them: 0 for vectors (rows, features), 2 for images (rows, channels, height, width). It returns a
module that normalises a layer's outputs; or, where the layer's weights are normalised, a function
from the layer to the layer that takes its place; or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from hpsearch.components.initializers.from_data import begin_with_data, standardize
from hpsearch.components.layers.norm_modules import (
    BatchNorm,
    CosineConv2d,
    CosineLinear,
    GhostBatchNorm,
    GroupNorm,
    ImageRMSNorm,
    StreamedGradient,
    StreamingNorm,
    UnitRows,
)
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import ComponentOf, KerasDefault, Recommended, register

#: annotation of a keyword that is a normalisation
NORM = ComponentOf("norm")
NormSection = Annotated[Any, NORM]
NormPosition = Literal["pre_activation", "post_activation", "pre_norm_residual"]
#: what a factory returns
Normalization = nn.Module | Callable[[nn.Module], nn.Module] | None

Epsilon = Annotated[float, Gt(0)]
KerasEpsilon = Annotated[Epsilon, KerasDefault(1e-3)]
Share = Annotated[float, Interval(ge=0, le=1)]
NewWeight = Annotated[float, Interval(gt=0, le=1), Recommended(0.01, 0.3, log=True)]


def make_norm(section: Any, num_features: int, num_dims: int) -> Normalization:
    """Build the normalisation that a model's keyword `norm` stands for."""
    with placed("norm"):
        norm: Normalization = NORM.build(section, num_features=num_features, num_dims=num_dims)
    return norm


@register("norm", "none")
def none() -> None:
    """No normalisation."""


@register("norm", "batch")
def batch(
    num_features: int,
    num_dims: int,
    momentum: Annotated[NewWeight, KerasDefault(0.01)] = 0.1,
    eps: KerasEpsilon = 1e-5,
    affine: bool = True,
    gamma_init: Annotated[float, Ge(0)] = 1.0,
    evaluation: Literal["running", "batch"] = "running",
) -> nn.Module:
    """Mean 0, variance 1 of each feature over the batch (Ioffe & Szegedy, 2015).

    `momentum` is the weight of the new statistics (Keras: 0.99 of the old, eps 1e-3); the running
    variance is the batch's times n / (n - 1) for n values, as torch's (Keras: the batch's).
    `evaluation` by the running statistics, or by each batch's own.
    """
    norm = BatchNorm(num_features, eps, momentum, affine, evaluation == "running")
    if affine:
        nn.init.constant_(norm.weight, gamma_init)
    return norm


@register("norm", "layer")
def layer(
    num_features: int, num_dims: int, eps: KerasEpsilon = 1e-5, affine: bool = True
) -> nn.Module:
    """Mean 0, variance 1 over the features of each example (Ba et al., 2016).

    Of images over channels and places, with a scale and a shift for each channel (Keras: each
    place by itself, unless it is told the axes).
    """
    if num_dims == 0:
        return nn.LayerNorm(num_features, eps, elementwise_affine=affine)
    return GroupNorm(1, num_features, eps, affine)


@register("norm", "rms")
def rms(num_features: int, num_dims: int, eps: Epsilon = 1e-6, affine: bool = True) -> nn.Module:
    """Root mean square 1 over the features of each example (Zhang & Sennrich, 2019)."""
    if num_dims == 0:
        return nn.RMSNorm(num_features, eps, elementwise_affine=affine)
    return ImageRMSNorm(num_features, eps, affine)


@register("norm", "instance")
def instance(
    num_features: int, num_dims: int, eps: Epsilon = 1e-5, affine: bool = False
) -> nn.Module:
    """Mean 0, variance 1 of each channel of each image over its places (Ulyanov et al., 2016)."""
    if num_dims == 0:
        raise BadConfigurationError("instance needs images, over whose positions it normalizes")
    return nn.InstanceNorm2d(num_features, eps, affine=affine)


@register("norm", "group")
def group(
    num_features: int,
    num_dims: int,
    groups: Annotated[int, Ge(1), Recommended(2, 32, log=True), KerasDefault(32)] = 8,
    eps: KerasEpsilon = 1e-5,
    affine: bool = True,
) -> nn.Module:
    """Mean 0, variance 1 over groups of channels of each example (Wu & He, 2018).

    The number of groups is the greatest divisor of the channels up to `groups`; of vectors, whose
    features have one place each, up to half the features, as a group of one is always 0.
    """
    most = min(groups, num_features if num_dims else max(1, num_features // 2))
    divisor = max(n for n in range(1, most + 1) if num_features % n == 0)
    return GroupNorm(divisor, num_features, eps, affine)


@register("norm", "ghost_batch")
def ghost_batch(
    num_features: int,
    num_dims: int,
    virtual_batch: Annotated[int, Ge(2), Recommended(16, 256, log=True)] = 32,
    momentum: NewWeight = 0.1,
    eps: Epsilon = 1e-5,
) -> nn.Module:
    """Batch norm over parts of `virtual_batch` examples (Hoffer et al., 2017, arXiv 1705.08741).

    So that large batches keep the noise of small ones. All parts of a batch together move the
    running statistics as far as batch norm would.
    """
    return GhostBatchNorm(num_features, virtual_batch, momentum, eps)


@register("norm", "streaming")
def streaming(
    num_features: int,
    num_dims: int,
    long_weight: Annotated[float, Interval(ge=0, le=1), Recommended(0.0, 1.0)] = 0.7,
    kappa: NewWeight = 0.1,
    p: Annotated[float, Ge(1)] = 1.0,
    gradient: Literal["current", "mixed", "detach"] = "current",
    gradient_long: Share = 0.7,
    gradient_short: Share = 0.3,
    eps: Epsilon = 1e-5,
) -> nn.Module:
    """Statistics since the last update mixed with long-term ones (Liao et al., 2016, 1610.06160).

    `long_weight` is the part of the long-term statistics, which move by `kappa` at each update;
    `p` the norm of the spread (1 or 2). Works for batches of one image and over time steps. The
    `gradient` of the statistics is that of this pass, none (`detach`), or `mixed`: a part
    `gradient_long` is long-term, a part `gradient_short` the mean since the last update, which
    in a trial is this pass alone.
    """
    if gradient_long + gradient_short > 1 + 1e-9:
        raise BadConfigurationError(
            "gradient_long and gradient_short of streaming must be at most 1 together, but got "
            f"{gradient_long:g} and {gradient_short:g}",
            keyword="gradient_long",
        )
    is_mixed, has_gradient = gradient == "mixed", gradient != "detach"
    streamed = StreamedGradient(num_features, gradient_long, gradient_short, kappa)
    norm = StreamingNorm(
        num_features, long_weight, kappa, p, has_gradient, eps, streamed if is_mixed else None
    )
    norm.needs_rows = num_dims == 0  # one vector has no spread
    return norm


@register("norm", "weight")
def weight(learn_g: bool = True, data_init: bool = False) -> Normalization:
    """w = g v / |v| for each unit (Salimans & Kingma, 2016); without `learn_g` |w| is 1.

    With `data_init`, g and the bias begin such that the outputs over the first batch have mean 0
    and deviation 1, unit by unit, layer after layer (their section 3).
    """
    if data_init and not learn_g:
        raise BadConfigurationError(
            "data_init of weight sets g, and needs learn_g, but that is false",
            keyword="data_init",
        )
    if data_init:
        return lambda layer: begin_with_data(weight_norm(layer), standardize)
    if learn_g:
        return weight_norm

    def unit_rows(layer: nn.Module) -> nn.Module:
        nn.utils.parametrize.register_parametrization(layer, "weight", UnitRows())
        return layer

    return unit_rows


@register("norm", "cosine")
def cosine(
    centered: bool = False, scale: Annotated[float, Gt(0), Recommended(1.0, 30.0)] = 1.0
) -> Normalization:
    """w·x / (|w| |x|) in place of w·x + b, times a learned scale (Luo et al., 2017, 1702.05870).

    `centered` takes the means of w and of x off before (Pearson's correlation).
    """

    def cosine_layer(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Linear):
            return CosineLinear(layer.in_features, layer.out_features, centered, scale)
        assert isinstance(layer, nn.Conv2d)  # the layers that models normalise are these two
        if layer.stride != (1, 1) or layer.groups > 1:
            raise BadConfigurationError("cosine is for convolutions of stride 1, in one group")
        assert not isinstance(layer.padding, str)
        (height, width), (top, left) = layer.kernel_size, layer.padding
        sizes = layer.in_channels, layer.out_channels, (height, width), (top, left)
        return CosineConv2d(*sizes, centered, scale)

    return cosine_layer


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a model can't train on a batch of one example."""
    batch_norm = torch.nn.modules.batchnorm._BatchNorm
    return any(
        isinstance(each, batch_norm) or getattr(each, "needs_rows", False)
        for each in model.modules()
    )
