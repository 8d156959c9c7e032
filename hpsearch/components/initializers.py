"""Initial weights by name, applied to the linear, convolution and recurrent layers of a model.

A factory fills one weight tensor in place, drawing from torch's global generator, which the
trainer seeds for it. fan_in and fan_out are the numbers of inputs and outputs of a unit, times
the kernel's size in a convolution (fan_in divided by its groups).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hpsearch import registry
from hpsearch.components.data_init import begin_with_data, scale_to_unit_variance
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Of, Recommended, register

Gain = Annotated[float, Gt(0), Recommended(0.5, 2.0)]
Fan = Literal["fan_in", "fan_out"]
Slope = Annotated[float, Ge(0)]
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

INITIALIZER = Of("initializer")
InitializerSection = Annotated[Any, INITIALIZER]
#: standard deviation of a standard normal that is cut off at ±2
TRUNCATED_STD = 0.87962566103423978


@dataclass(frozen=True)
class Placement:
    """Keywords that all initializers have beside their own.

    `first` and `output` are other initializers for the first and the last layer, `recurrent` one
    for the weights from a recurrent layer's state to itself. `layers` has one for each pattern of
    names of weights, such as "*.weight_hh*" or "4.weight"; of several that fit the first holds,
    before `first` and so on. `forget_bias` is the bias of an
    LSTM's forget gate: torch adds two vectors there, the one gets it, the other 0. `log_prior`
    begins with the frequencies of the classes: the last layer's bias is their logarithm.
    """

    first: InitializerSection | None = None
    output: InitializerSection | None = None
    recurrent: InitializerSection | None = None
    layers: Annotated[Mapping[str, Any], Of("initializer", mapped=True)] | None = None
    forget_bias: Annotated[float, Recommended(0.0, 2.0)] | None = None
    output_bias: Literal["zero", "log_prior"] = "zero"

    def by_pattern(self, name: str) -> Any:
        """Return the initializer of the first pattern that a weight's name fits, if one does."""
        pairs = (self.layers or {}).items()
        return next((each for pattern, each in pairs if fnmatchcase(name, pattern)), None)


registry.share_keywords("initializer", Placement)


@register("initializer", "torch_default")
def torch_default(tensor: Tensor) -> None:
    """Leave weights and biases as torch draws them: uniform, bound sqrt(1/fan_in)."""


@register("initializer", "keras_default")
def keras_default(tensor: Tensor) -> None:
    """As Keras: xavier_uniform, biases 0; recurrent weights orthogonal, forget bias 1."""
    nn.init.xavier_uniform_(tensor)


@register("initializer", "xavier_uniform", fusible=["gain"])
def xavier_uniform(tensor: Tensor, gain: Gain = 1.0) -> None:
    """Uniform, bound gain sqrt(6/(fan_in+fan_out)) (Glorot & Bengio, 2010)."""
    nn.init.xavier_uniform_(tensor, gain)


@register("initializer", "xavier_normal", fusible=["gain", "truncated"])
def xavier_normal(tensor: Tensor, gain: Gain = 1.0, truncated: bool = False) -> None:
    """Normal, variance gain² 2/(fan_in+fan_out) (Glorot & Bengio, 2010); Keras truncates."""
    fan_in, fan_out = fans(tensor)
    _normal(tensor, gain * math.sqrt(2 / (fan_in + fan_out)), truncated)


@register("initializer", "he_uniform", fusible=["negative_slope", "mode"])
def he_uniform(tensor: Tensor, negative_slope: Slope = 0.0, mode: Fan = "fan_in") -> None:
    """Uniform, bound sqrt(6/fan_in) (He et al., 2015); less with a leaky relu's slope."""
    nn.init.kaiming_uniform_(tensor, negative_slope, mode, "leaky_relu")


@register("initializer", "he_normal", fusible=["negative_slope", "mode", "truncated"])
def he_normal(
    tensor: Tensor, negative_slope: Slope = 0.0, mode: Fan = "fan_in", truncated: bool = False
) -> None:
    """Normal, variance 2/fan_in (He et al., 2015); Keras truncates."""
    fan = fans(tensor)[mode == "fan_out"]
    _normal(tensor, math.sqrt(2 / (1 + negative_slope**2) / fan), truncated)


@register("initializer", "lecun_uniform")
def lecun_uniform(tensor: Tensor) -> None:
    """Uniform, bound sqrt(3/fan_in) (LeCun et al., 1998)."""
    nn.init.kaiming_uniform_(tensor, nonlinearity="linear")


@register("initializer", "lecun_normal", fusible=["truncated"])
def lecun_normal(tensor: Tensor, truncated: bool = False) -> None:
    """Normal, variance 1/fan_in (LeCun et al., 1998): what SELU needs; Keras truncates."""
    _normal(tensor, math.sqrt(1 / fans(tensor)[0]), truncated)


@register("initializer", "orthogonal", fusible=["gain"])
def orthogonal(tensor: Tensor, gain: Gain = 1.0) -> None:
    """A random (semi-)orthogonal matrix times gain (Saxe et al., 2014)."""
    nn.init.orthogonal_(tensor, gain)


@register("initializer", "lsuv")
def lsuv(tensor: Tensor) -> None:
    """Orthogonal, then scaled layer by layer to outputs of variance 1 on the first batch.

    Mishkin & Matas (2016). Recurrent weights stay orthogonal.
    """
    nn.init.orthogonal_(tensor)


@register("initializer", "normal", fusible=["std"])
def normal(
    tensor: Tensor, std: Annotated[float, Gt(0), Recommended(1e-3, 1.0, log=True)] = 0.01
) -> None:
    """Normal, whatever the layer's size."""
    nn.init.normal_(tensor, std=std)


@register("initializer", "uniform", fusible=["bound"])
def uniform(
    tensor: Tensor, bound: Annotated[float, Gt(0), Recommended(1e-3, 1.0, log=True)] = 0.05
) -> None:
    """Uniform from -bound to bound, whatever the layer's size."""
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
    class_counts: Sequence[int] = (),
) -> None:
    """Draw the weights of a model's layers, but for pretrained ones; biases become zero.

    `class_counts` are what `output_bias: log_prior` needs: BadConfigurationError without them.
    """
    section = {**_PROFILES.get(section["name"], {}), **section}
    shared = registry.shared_keywords("initializer")
    placement = Placement(**{key: section[key] for key in shared if key in section})
    own = {key: value for key, value in section.items() if key not in shared}
    _check_others(placement)
    fresh = {
        name: module
        for name, module in model.named_modules()
        if not hasattr(module, "is_pretrained")
    }
    layers = {name: module for name, module in fresh.items() if isinstance(module, Layer)}
    _check_patterns(placement, [name for each in fresh.items() for name in _weights_of(*each)])
    for i, (name, layer) in enumerate(layers.items()):
        other = placement.first if i == 0 else None
        other = placement.output if i == len(layers) - 1 and placement.output else other
        other = placement.by_pattern(_joined(name, "weight")) or other
        _fill_layer(layer, INITIALIZER.written_out(other or own), folder)
    for name, module in fresh.items():
        _fill_recurrent(name, module, own, placement, folder)
    if placement.output_bias == "log_prior":
        _begin_with_frequencies(list(layers.values()), class_counts)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight (units, inputs, *kernel)."""
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


#: what initializers say of more than one tensor
_PROFILES: dict[str, dict[str, Any]] = {
    "keras_default": {"recurrent": "orthogonal", "forget_bias": 1.0}
}


_RECURRENT_WEIGHTS = ("weight_ih", "weight_hh")


def _weights_of(path: str, module: nn.Module) -> list[str]:
    """Return the names of the weights of a module that are drawn."""
    if isinstance(module, Layer):  # whose weight may be a parametrisation's
        return [_joined(path, "weight")]
    names = (name for name, _ in module.named_parameters(recurse=False))
    return [_joined(path, name) for name in names if name.startswith(_RECURRENT_WEIGHTS)]


def _check_patterns(placement: Placement, names: Sequence[str]) -> None:
    for pattern in placement.layers or ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BadConfigurationError(
                "initializer.layers: each pattern must fit the name of a weight "
                f"({', '.join(names)}), but {pattern!r} fits none"
            )


def _check_others(placement: Placement) -> None:
    """Refuse a placement in an initializer that is one itself."""
    others = {key: getattr(placement, key) for key in ("first", "output", "recurrent")}
    others |= {f"layers.{pattern}": other for pattern, other in (placement.layers or {}).items()}
    shared = registry.shared_keywords("initializer")
    for place, other in others.items():
        inner = [key for key in INITIALIZER.written_out(other) or () if key in shared]
        if inner:
            raise BadConfigurationError(
                f"initializer.{place}: must have keywords of its own alone: {inner[0]} is said "
                f"of the whole model, beside {place.partition('.')[0]}"
            )


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _normal(tensor: Tensor, std: float, truncated: bool) -> None:
    if not truncated:
        nn.init.normal_(tensor, std=std)
        return
    std /= TRUNCATED_STD
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def _fill_layer(layer: Layer, section: Mapping[str, Any], folder: Path) -> None:
    if section["name"] == "torch_default":
        return
    weight = layer.weight.detach().contiguous()
    INITIALIZER.build(section, folder, tensor=weight)
    with torch.no_grad():
        if is_parametrized(layer, "weight"):
            layer.weight = weight  # through the parametrization
        else:
            layer.weight.copy_(weight)  # which may be in another memory format
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if section["name"] == "lsuv":
        begin_with_data(layer, scale_to_unit_variance)


def _fill_recurrent(
    path: str, module: nn.Module, own: Mapping[str, Any], placement: Placement, folder: Path
) -> None:
    """Draw a recurrent layer gate by gate: each gate is a layer of its own to an initializer."""
    recurrent = placement.recurrent or own
    for name, param in module.named_parameters(recurse=False):
        if name.startswith(_RECURRENT_WEIGHTS):
            other = placement.by_pattern(_joined(path, name))
            other = other or (own if name.startswith("weight_ih") else recurrent)
            section = INITIALIZER.written_out(other)
            if section["name"] != "torch_default":
                for gate in _gates(module, param):
                    INITIALIZER.build(section, folder, tensor=gate)
        elif name.startswith(("bias_ih", "bias_hh")) and own["name"] != "torch_default":
            nn.init.zeros_(param)
    if placement.forget_bias is not None and is_lstm(module):
        _set_forget_bias(module, placement.forget_bias)


def is_lstm(module: nn.Module) -> bool:
    """Whether a module has an LSTM's gates: in, forget, cell, out, in torch's order."""
    return isinstance(module, nn.LSTM | nn.LSTMCell) or getattr(module, "num_gates", 0) == 4


def _gates(module: nn.Module, weight: Tensor) -> tuple[Tensor, ...]:
    """Return the gates of a weight (gates x hidden, inputs) of a recurrent layer, as views."""
    hidden = getattr(module, "hidden_size", len(weight))
    return torch.split(weight.detach(), hidden)


def _set_forget_bias(module: nn.Module, value: float) -> None:
    for name, param in module.named_parameters(recurse=False):
        if name.startswith(("bias_ih", "bias_hh")):
            hidden = len(param) // 4
            fill = value if name.startswith("bias_ih") else 0.0
            nn.init.constant_(param.detach()[hidden : 2 * hidden], fill)


def _begin_with_frequencies(layers: Sequence[Layer], class_counts: Sequence[int]) -> None:
    bias = layers[-1].bias if layers else None
    if bias is None or len(class_counts) != len(bias):
        raise BadConfigurationError(
            "initializer.output_bias: log_prior needs a classification in memory, and a last "
            f"layer with a bias for each class, but there are {len(class_counts)} classes and "
            f"{0 if bias is None else len(bias)} biases"
        )
    counts = torch.tensor(class_counts, dtype=torch.float64) + 0.5  # a class may have no rows
    with torch.no_grad():
        bias.copy_((counts / counts.sum()).log())
