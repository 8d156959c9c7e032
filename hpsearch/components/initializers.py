"""Initial weights by name, applied to every linear and convolution layer of a model.

A factory fills one weight tensor in place, drawing from torch's global generator, which the
trainer seeds for it. fan_in and fan_out are the numbers of inputs and outputs of a unit, times
the kernel's size in a convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.registry import register

Gain = Annotated[float, Gt(0)]


@register("initializer", "torch_default")
def torch_default(tensor: Tensor) -> None:
    """Leave weights and biases as torch draws them: uniform, bound sqrt(1/fan_in)."""


@register("initializer", "xavier_uniform", fusible=["gain"])
def xavier_uniform(tensor: Tensor, gain: Gain = 1.0) -> None:
    """Uniform, bound gain sqrt(6/(fan_in+fan_out)) (Glorot & Bengio, 2010)."""
    nn.init.xavier_uniform_(tensor, gain)


@register("initializer", "xavier_normal", fusible=["gain"])
def xavier_normal(tensor: Tensor, gain: Gain = 1.0) -> None:
    """Normal, variance gain^2 2/(fan_in+fan_out) (Glorot & Bengio, 2010)."""
    nn.init.xavier_normal_(tensor, gain)


@register("initializer", "he_uniform")
def he_uniform(tensor: Tensor) -> None:
    """Uniform, bound sqrt(6/fan_in) (He et al., 2015)."""
    nn.init.kaiming_uniform_(tensor, nonlinearity="relu")


@register("initializer", "he_normal")
def he_normal(tensor: Tensor) -> None:
    """Normal, variance 2/fan_in (He et al., 2015)."""
    nn.init.kaiming_normal_(tensor, nonlinearity="relu")


@register("initializer", "lecun_uniform")
def lecun_uniform(tensor: Tensor) -> None:
    """Uniform, bound sqrt(3/fan_in) (LeCun et al., 1998)."""
    nn.init.kaiming_uniform_(tensor, nonlinearity="linear")


@register("initializer", "lecun_normal")
def lecun_normal(tensor: Tensor) -> None:
    """Normal, variance 1/fan_in (LeCun et al., 1998)."""
    nn.init.kaiming_normal_(tensor, nonlinearity="linear")


@register("initializer", "orthogonal", fusible=["gain"])
def orthogonal(tensor: Tensor, gain: Gain = 1.0) -> None:
    """A random (semi-)orthogonal matrix times gain (Saxe et al., 2014)."""
    nn.init.orthogonal_(tensor, gain)


@register("initializer", "zeros")
def zeros(tensor: Tensor) -> None:
    """All zero: a negative control, nets of more than one layer can't learn from it."""
    nn.init.zeros_(tensor)


def initialize(model: nn.Module, section: Mapping[str, Any], folder: Path) -> None:
    """Draw the weights of a model's linear and convolution layers; biases become zero."""
    keywords = dict(section)
    component = registry.get("initializer", keywords.pop("name"), folder)
    if component.factory is torch_default:
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            weight = module.weight.detach().contiguous()
            component.build(keywords, tensor=weight)
            with torch.no_grad():
                module.weight.copy_(weight)  # which may be in another memory format
            if module.bias is not None:
                nn.init.zeros_(module.bias)
