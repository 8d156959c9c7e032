"""Activation functions by name, for the `activation` keyword of models."""

from __future__ import annotations

from typing import Annotated, Any

from torch import nn

from hpsearch.registry import Of, register

register("activation", "relu")(nn.ReLU)
register("activation", "tanh")(nn.Tanh)
register("activation", "sigmoid")(nn.Sigmoid)
register("activation", "gelu")(nn.GELU)
register("activation", "elu")(nn.ELU)
register("activation", "selu")(nn.SELU)
register("activation", "leaky_relu")(nn.LeakyReLU)
register("activation", "silu")(nn.SiLU)


#: annotation of a keyword that is an activation, by its name or with keywords
ACTIVATION = Of("activation")
ActivationSection = Annotated[Any, ACTIVATION]


def make_activation(section: Any) -> nn.Module:
    """Build the activation that a name, or a mapping with `name`, stands for."""
    module: nn.Module = ACTIVATION.build(section)
    return module
