"""Optimizers by name.

On a CPU torch's fused step is the fastest of its three implementations for small nets; RMSprop
has none. Learning rate, momentum, weight decay and the like change numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Interval
from torch.nn import Parameter
from torch.optim import Optimizer

from hpsearch import registry
from hpsearch.errors import UserCodeError
from hpsearch.registry import register

LearningRate = Annotated[float, Gt(0)]
#: decay rate of a running average
Decay = Annotated[float, Interval(ge=0, lt=1)]
WeightDecay = Annotated[float, Ge(0)]
Epsilon = Annotated[float, Gt(0)]


def build_optimizer(
    section: Mapping[str, Any], params: Sequence[Parameter], folder: Path
) -> Optimizer:
    """Build the optimizer of a spec's section; UserCodeError if a factory returns no Optimizer."""
    keywords = dict(section)
    name = keywords.pop("name")
    optimizer = registry.get("optimizer", name, folder).build(keywords, params=params)
    if not isinstance(optimizer, Optimizer):
        raise UserCodeError(
            f"optimizer.name: {name} must return a torch.optim.Optimizer, got {optimizer!r}"
        )
    return optimizer


@register("optimizer", "sgd", fusible=["lr", "momentum", "weight_decay"])
def sgd(
    params: Sequence[Parameter],
    lr: LearningRate = 0.01,
    momentum: Decay = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is not 0."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


@register("optimizer", "nesterov", fusible=["lr", "momentum", "weight_decay"])
def nesterov(
    params: Sequence[Parameter],
    lr: LearningRate = 0.01,
    momentum: Annotated[float, Interval(gt=0, lt=1)] = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al., 2013)."""
    return torch.optim.SGD(
        params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True, fused=True
    )


@register("optimizer", "adam", fusible=["lr", "beta1", "beta2", "eps", "weight_decay"])
def adam(
    params: Sequence[Parameter],
    lr: LearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam, weight decay added to the gradient (Kingma & Ba, 2015)."""
    return torch.optim.Adam(
        params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True
    )


@register("optimizer", "adamw", fusible=["lr", "beta1", "beta2", "eps", "weight_decay"])
def adamw(
    params: Sequence[Parameter],
    lr: LearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""
    return torch.optim.AdamW(
        params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True
    )


@register("optimizer", "rmsprop", fusible=["lr", "momentum", "alpha", "eps", "weight_decay"])
def rmsprop(
    params: Sequence[Parameter],
    lr: LearningRate = 1e-3,
    momentum: Decay = 0.0,
    alpha: Decay = 0.99,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Gradients divided by the root of their running mean square (Hinton, 2012)."""
    return torch.optim.RMSprop(
        params, lr=lr, momentum=momentum, alpha=alpha, eps=eps, weight_decay=weight_decay
    )
