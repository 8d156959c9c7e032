"""Cascades for segmentation: a net finds a region, and another one what is in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.normalizations import NormSection
from hpsearch.components.models.building import FITTING
from hpsearch.components.models.convolutions import image_shape
from hpsearch.components.models.unet import Form, UNet, check_depth, fitting_depths, make_unet
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register


@register(
    "model",
    "cascaded_unet",
    traits={"tasks": ("segmentation",), FITTING: {"depth": fitting_depths}},
)
def cascaded_unet(
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    base: Annotated[int, Ge(1), Recommended(8, 64, log=True)] = 16,
    depth: Annotated[int, Ge(1), Recommended(1, 4)] = 2,
    background: Annotated[int, Ge(0)] | None = None,
    upsample: Literal["transposed", "bilinear"] = "transposed",
    skips: bool = True,
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
) -> nn.Module:
    """Two nets as `unet`: the second sees the image and the first one's probabilities of each
    pixel's classes (auto-context: Tu and Bai, 2010, doi 10.1109/TPAMI.2009.186).

    With a `background`, the number of the class outside of the region of interest, the second sees
    the image times 1 - P(background), what the first takes for the region alone, as in cascaded
    FCNs (Christ et al., 2016, arXiv 1610.02177). Both learn the masks, at once: training gets the
    first one's outputs too, whose loss `auxiliary_weight` of task segmentation weighs.
    """
    channels = image_shape("cascaded_unet", input_shape)[0]
    check_depth(depth, input_shape)
    classes = output_shape[0]
    if background is not None and background >= classes:
        rule = f"must be below the number of classes, {classes}"
        raise BadConfigurationError(rule, background, keyword="background")
    form = Form(base, depth, upsample, skips, activation, norm)
    first, second = (make_unet(size, classes, form) for size in (channels, channels + classes))
    return CascadedUNet(first, second, background)


class CascadedUNet(nn.Module):
    """Images (B, C, H, W) to logits (B, K, H, W), in training with those of the first net."""

    def __init__(self, first: UNet, second: UNet, background: int | None) -> None:
        super().__init__()
        self.first, self.second, self.background = first, second, background

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return those of the first net, then those of the second."""
        return [*self.first.layer_groups(), *self.second.layer_groups()]

    def forward(self, x: Tensor) -> Any:
        """Return the outputs of a batch."""
        coarse = self.first(x)
        shares = coarse.softmax(1)
        if self.background is not None:
            region = 1 - shares[:, self.background, None]
            x = x * region
        outputs = self.second(torch.cat([x, shares], 1))
        return (outputs, coarse) if self.training else outputs
