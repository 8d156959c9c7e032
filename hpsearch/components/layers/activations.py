"""Activation functions by name, for the `activation` keyword of models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from hpsearch.errors import placed
from hpsearch.registry import ComponentOf, KerasDefault, Recommended, register

#: annotation of a keyword that is an activation, by its name or with keywords
ACTIVATION = ComponentOf("activation")
ActivationSection = Annotated[Any, ACTIVATION]
Alpha = Annotated[float, Gt(0), Recommended(0.1, 2.0)]


def make_activation(section: Any) -> nn.Module:
    """Build the activation that a model's keyword `activation` stands for."""
    with placed("activation"):
        module: nn.Module = ACTIVATION.build(section)
    return module


def widening(activation: nn.Module) -> int:
    """How many times the outputs of a layer must be what the activation leaves of them."""
    return 2 if isinstance(activation, nn.GLU) else 1


def is_monotone(activation: nn.Module) -> bool:
    """Whether an activation is known never to fall, so that it may change places with a maximum.

    Not those whose slope may turn (prelu's is learned), nor step, whose gradient is not its own.
    """
    if isinstance(activation, nn.LeakyReLU):
        return activation.negative_slope >= 0
    return isinstance(activation, _RISING)


_RISING = (
    *(nn.Identity, nn.ReLU, nn.ELU, nn.CELU, nn.SELU),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
)


@register("activation", "identity")
def identity() -> nn.Module:
    """x, the identity: a net of such layers is linear."""
    return nn.Identity()


@register("activation", "step")
def step() -> nn.Module:
    """1 where x > 0, else 0; its gradient is 1 where |x| <= 1 (straight through; Hinton, 2012)."""
    return Step()


@register("activation", "sigmoid")
def sigmoid() -> nn.Module:
    """1 / (1 + e^-x); its slope is at most 1/4."""
    return nn.Sigmoid()


@register("activation", "tanh")
def tanh() -> nn.Module:
    """Hyperbolic tangent; its slope is at most 1."""
    return nn.Tanh()


@register("activation", "relu")
def relu() -> nn.Module:
    """max(x, 0) (Nair & Hinton, 2010)."""
    return nn.ReLU()


@register("activation", "leaky_relu")
def leaky_relu(
    negative_slope: Annotated[
        float, Ge(0), Recommended(0.001, 0.3, log=True), KerasDefault(0.3)
    ] = 0.01,
) -> nn.Module:
    """x where x > 0, else negative_slope x (Maas et al., 2013); Keras has 0.3."""
    return nn.LeakyReLU(negative_slope)


@register("activation", "prelu")
def prelu(
    init: Annotated[float, Interval(ge=0, le=1), Recommended(0.01, 0.5), KerasDefault(0.0)] = 0.25,
) -> nn.Module:
    """leaky_relu with one learned slope (He et al., 2015); Keras has one for each unit, from 0."""
    return nn.PReLU(init=init)


@register("activation", "elu")
def elu(alpha: Alpha = 1.0) -> nn.Module:
    """x where x > 0, else alpha (e^x - 1) (Clevert et al., 2016)."""
    return nn.ELU(alpha)


@register("activation", "celu")
def celu(alpha: Alpha = 1.0) -> nn.Module:
    """elu with e^(x/alpha), smooth for every alpha (Barron, 2017)."""
    return nn.CELU(alpha)


@register("activation", "selu")
def selu() -> nn.Module:
    """elu scaled so that mean 0, variance 1 stay (Klambauer et al., 2017); with lecun_normal."""
    return nn.SELU()


@register("activation", "softplus")
def softplus(beta: Annotated[float, Gt(0), Recommended(0.5, 5.0)] = 1.0) -> nn.Module:
    """log(1 + e^(beta x)) / beta (Dugas et al., 2001)."""
    return nn.Softplus(beta)


@register("activation", "softsign")
def softsign() -> nn.Module:
    """x / (1 + |x|) (Bergstra et al., 2009)."""
    return nn.Softsign()


@register("activation", "silu")
def silu() -> nn.Module:
    """x sigmoid(x) (Elfwing et al., 2018); swish with beta 1."""
    return nn.SiLU()


@register("activation", "swish")
def swish(
    beta: Annotated[float, Gt(0), Recommended(0.1, 5.0, log=True)] = 1.0, learnable: bool = True
) -> nn.Module:
    """x sigmoid(beta x), beta learned for a layer (Ramachandran et al., 2017)."""
    return Swish(beta, learnable)


@register("activation", "hardswish")
def hardswish() -> nn.Module:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""
    return nn.Hardswish()


@register("activation", "mish")
def mish() -> nn.Module:
    """x tanh(softplus(x)) (Misra, 2020)."""
    return nn.Mish()


@register("activation", "gelu")
def gelu(approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """x times the normal distribution function of x (Hendrycks & Gimpel, 2016)."""
    return nn.GELU(approximate)


@register("activation", "glu")
def glu() -> nn.Module:
    """a sigmoid(b), a and b the halves of a layer that is twice as wide (Dauphin et al., 2017)."""
    return nn.GLU(dim=1)


class Swish(nn.Module):
    """x sigmoid(beta x)."""

    def __init__(self, beta: float, learnable: bool) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta), requires_grad=learnable)

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the shape of x."""
        return x * torch.sigmoid(self.beta * x)


class Step(nn.Module):
    """1 where x > 0, else 0, with the gradient of a clipped identity."""

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the shape of x."""
        straight = x.clamp(-1, 1)
        return straight + ((x > 0).to(x.dtype) - straight).detach()
