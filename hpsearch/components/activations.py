"""Activation functions by name, for the `activation` keyword of models."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from torch import nn

from hpsearch import registry
from hpsearch.errors import nearest_names
from hpsearch.registry import register

register("activation", "relu")(nn.ReLU)
register("activation", "tanh")(nn.Tanh)
register("activation", "sigmoid")(nn.Sigmoid)
register("activation", "gelu")(nn.GELU)
register("activation", "elu")(nn.ELU)
register("activation", "selu")(nn.SELU)
register("activation", "leaky_relu")(nn.LeakyReLU)
register("activation", "silu")(nn.SiLU)


def make_activation(name: str) -> nn.Module:
    """Build an activation by its registered name, or a user's by `module:factory`."""
    module: nn.Module = registry.get("activation", name).build({})
    return module


def _check_name(name: str) -> str:
    known = registry.names("activation")
    if not registry.is_user_code(name) and name not in known:
        near = nearest_names(name, known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"must be one of {', '.join(known)}{hint}")
    return name


#: annotation of a keyword that names an activation
ActivationName = Annotated[str, AfterValidator(_check_name)]
