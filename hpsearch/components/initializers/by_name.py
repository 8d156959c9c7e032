"""Initial weights by name: of the linear, convolution and recurrent layers and the embeddings.

A factory fills one weight tensor in place, drawing from torch's global generator, which the
trainer seeds for it. fan_in and fan_out are the numbers of inputs and outputs of a unit, times
the kernel's size in a convolution (fan_in divided by its groups), transposed or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hpsearch.components.initializers.from_data import begin_with_data, scale_to_unit_variance
from hpsearch.components.initializers.placement import (
    INITIALIZER,
    LEAVES_ALL,
    PROFILE,
    RECURRENT_WEIGHTS,
    SCALES_BY_DATA,
    Choice,
    Layer,
    Transposed,
    joined,
    trait,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import KerasDefault, Recommended, register

Gain = Annotated[float, Gt(0), Recommended(0.5, 2.0)]
Fan = Literal["fan_in", "fan_out"]
Slope = Annotated[float, Ge(0)]
Truncated = Annotated[bool, KerasDefault(True)]
#: standard deviation of a standard normal that is cut off at ±2
TRUNCATED_STD = 0.87962566103423978


@register("initializer", "torch_default", traits={LEAVES_ALL: True})
def torch_default(tensor: Tensor) -> None:
    """torch's own initialization: uniform, bound sqrt(1/fan_in)."""


@register(
    "initializer",
    "keras_default",
    traits={PROFILE: {"recurrent": "orthogonal", "forget_bias": 1.0, "by_gate": False}},
)
def keras_default(tensor: Tensor) -> None:
    """As Keras: xavier_uniform, biases 0; recurrent weights orthogonal, forget bias 1.

    Keras draws the gates of a recurrent layer together.
    """
    nn.init.xavier_uniform_(tensor)


@register("initializer", "xavier_uniform")
def xavier_uniform(tensor: Tensor, gain: Gain = 1.0) -> None:
    """Uniform, bound gain sqrt(6/(fan_in+fan_out)) (Glorot & Bengio, 2010)."""
    nn.init.xavier_uniform_(tensor, gain)


@register("initializer", "xavier_normal")
def xavier_normal(tensor: Tensor, gain: Gain = 1.0, truncated: Truncated = False) -> None:
    """Normal, variance gain² 2/(fan_in+fan_out) (Glorot & Bengio, 2010); Keras truncates."""
    fan_in, fan_out = fans(tensor)
    _normal(tensor, gain * math.sqrt(2 / (fan_in + fan_out)), truncated)


@register("initializer", "he_uniform")
def he_uniform(tensor: Tensor, negative_slope: Slope = 0.0, mode: Fan = "fan_in") -> None:
    """Uniform, bound sqrt(6/fan_in) (He et al., 2015); less with a leaky relu's slope."""
    nn.init.kaiming_uniform_(tensor, negative_slope, mode, "leaky_relu")


@register("initializer", "he_normal")
def he_normal(
    tensor: Tensor, negative_slope: Slope = 0.0, mode: Fan = "fan_in", truncated: Truncated = False
) -> None:
    """Normal, variance 2/fan_in (He et al., 2015); Keras truncates."""
    fan = fans(tensor)[mode == "fan_out"]
    _normal(tensor, math.sqrt(2 / (1 + negative_slope**2) / fan), truncated)


@register("initializer", "lecun_uniform")
def lecun_uniform(tensor: Tensor) -> None:
    """Uniform, bound sqrt(3/fan_in) (LeCun et al., 1998)."""
    nn.init.kaiming_uniform_(tensor, nonlinearity="linear")


@register("initializer", "lecun_normal")
def lecun_normal(tensor: Tensor, truncated: Truncated = False) -> None:
    """Normal, variance 1/fan_in (LeCun et al., 1998): what SELU needs; Keras truncates."""
    _normal(tensor, math.sqrt(1 / fans(tensor)[0]), truncated)


@register("initializer", "orthogonal")
def orthogonal(tensor: Tensor, gain: Gain = 1.0) -> None:
    """A random (semi-)orthogonal matrix times gain (Saxe et al., 2014)."""
    nn.init.orthogonal_(tensor, gain)


@register("initializer", "lsuv", traits={SCALES_BY_DATA: True})
def lsuv(tensor: Tensor) -> None:
    """Orthogonal, then scaled layer by layer to outputs of variance 1 on the first batch.

    Mishkin & Matas (2016). Recurrent weights stay orthogonal.
    """
    nn.init.orthogonal_(tensor)


@register("initializer", "normal")
def normal(
    tensor: Tensor,
    std: Annotated[float, Gt(0), Recommended(1e-3, 1.0, log=True), KerasDefault(0.05)] = 0.01,
) -> None:
    """Normal, independent of the layer's size."""
    nn.init.normal_(tensor, std=std)


@register("initializer", "uniform")
def uniform(
    tensor: Tensor, bound: Annotated[float, Gt(0), Recommended(1e-3, 1.0, log=True)] = 0.05
) -> None:
    """Uniform from -bound to bound, independent of the layer's size."""
    nn.init.uniform_(tensor, -bound, bound)


@register("initializer", "zeros")
def zeros(tensor: Tensor) -> None:
    """All zero: a negative control, nets of more than one layer can't learn from it."""
    nn.init.zeros_(tensor)


@register("initializer", "small")
def small(tensor: Tensor) -> None:
    """A hundredth of xavier_normal: a negative control, signals shrink from layer to layer."""
    nn.init.xavier_normal_(tensor, 0.01)


@register("initializer", "large")
def large(tensor: Tensor) -> None:
    """Ten times xavier_normal: a negative control, signals grow from layer to layer."""
    nn.init.xavier_normal_(tensor, 10.0)


def initialize(
    model: nn.Module,
    section: Mapping[str, Any],
    folder: Path,
    prior: Tensor | None = None,
) -> None:
    """Draw the weights of a model's layers, but for pretrained ones; biases become zero,
    or what a layer's `initial_bias` says.

    `prior` are the outputs that `output_bias: log_prior` begins with: BadConfigurationError
    without them.
    """
    choice = Choice.of(model, section, folder)
    layers = {name: each for name, each in choice.fresh.items() if isinstance(each, Layer)}
    for name, layer in layers.items():
        _fill_layer(layer, choice.section(joined(name, "weight"))[0], folder)
    for name, module in choice.fresh.items():
        _fill_recurrent(name, module, choice, folder)
        if isinstance(module, nn.Embedding):
            _fill_embedding(module, choice.embedding(joined(name, "weight")), folder)
    if choice.placement.output_bias == "log_prior":
        _begin_with_prior([*layers.values()][-1:], prior)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight (units, inputs, *kernel)."""
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


def _normal(tensor: Tensor, std: float, truncated: bool) -> None:
    if not truncated:
        nn.init.normal_(tensor, std=std)
        return
    std /= TRUNCATED_STD
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def _fill_layer(layer: Layer, section: Mapping[str, Any], folder: Path) -> None:
    if trait(section, LEAVES_ALL, folder):
        return
    weight = _units_first(layer, layer.weight.detach().contiguous()).contiguous()
    INITIALIZER.build(section, folder, tensor=weight)
    weight = _units_first(layer, weight)  # and back: it is its own inverse
    with torch.no_grad():
        if is_parametrized(layer, "weight"):
            layer.weight = weight  # through the parametrization
        else:
            layer.weight.copy_(weight)  # which may be in another memory format
    if layer.bias is not None:
        nn.init.constant_(layer.bias, getattr(layer, "initial_bias", 0.0))
    if trait(section, SCALES_BY_DATA, folder):
        begin_with_data(layer, scale_to_unit_variance)


def _units_first(layer: Layer, weight: Tensor) -> Tensor:
    """Return a layer's weight as (units, inputs, *kernel), which a transposed convolution keeps as
    (groups x inputs, units / groups, *kernel)."""
    if not isinstance(layer, Transposed):
        return weight
    by_group = weight.view(layer.groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1)


def _fill_embedding(
    embedding: nn.Embedding, section: Mapping[str, Any] | None, folder: Path
) -> None:
    """Draw an embedding's vectors, but for that of padding, which stays 0."""
    if section is None or trait(section, LEAVES_ALL, folder):
        return
    INITIALIZER.build(section, folder, tensor=embedding.weight.detach())
    if embedding.padding_idx is not None:
        embedding.weight.detach()[embedding.padding_idx].zero_()
    if trait(section, SCALES_BY_DATA, folder):
        begin_with_data(embedding, scale_to_unit_variance)


def _fill_recurrent(path: str, module: nn.Module, choice: Choice, folder: Path) -> None:
    """Draw a recurrent layer, gate by gate or all of its gates together."""
    for name, param in module.named_parameters(recurse=False):
        if name.startswith(RECURRENT_WEIGHTS):
            section, by_gate = choice.section(joined(path, name))
            if not trait(section, LEAVES_ALL, folder):
                for part in _gates(module, param) if by_gate else [param.detach()]:
                    INITIALIZER.build(section, folder, tensor=part)
        elif name.startswith(("bias_ih", "bias_hh")):
            weight = joined(path, f"weight_ih{name.removeprefix(name[:7])}")
            if not trait(choice.section(weight)[0], LEAVES_ALL, folder):
                nn.init.zeros_(param)
            forget_bias = choice.forget_bias(weight)
            if forget_bias is not None and is_lstm(module):
                is_first = name.startswith("bias_ih")
                _set_forget_bias(param, forget_bias if is_first else 0.0)


def is_lstm(module: nn.Module) -> bool:
    """Whether a module has an LSTM's gates: in, forget, cell, out, in torch's order."""
    return isinstance(module, nn.LSTM | nn.LSTMCell) or getattr(module, "num_gates", 0) == 4


def _gates(module: nn.Module, weight: Tensor) -> tuple[Tensor, ...]:
    """Return the gates of a weight (gates x hidden, inputs) of a recurrent layer, as views."""
    hidden = getattr(module, "hidden_size", len(weight))
    return torch.split(weight.detach(), hidden)


def _set_forget_bias(bias: Tensor, value: float) -> None:
    hidden = len(bias) // 4
    nn.init.constant_(bias.detach()[hidden : 2 * hidden], value)


def _begin_with_prior(last: Sequence[Layer], prior: Tensor | None) -> None:
    bias = last[0].bias if last else None
    if bias is None or prior is None or prior.shape != bias.shape:
        raise BadConfigurationError(
            "log_prior needs classes or labels in memory, and a last layer with a bias for each, "
            f"but there are {0 if prior is None else len(prior)} classes or labels and "
            f"{0 if bias is None else len(bias)} biases",
            keyword="output_bias",
        )
    with torch.no_grad():
        bias.copy_(prior)
