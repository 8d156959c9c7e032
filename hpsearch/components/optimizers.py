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
from hpsearch.registry import Recommended, register

LearningRate = Annotated[float, Gt(0), Recommended(1e-4, 1.0, log=True)]
#: of optimizers whose steps do not grow with the gradient
AdaptiveLearningRate = Annotated[float, Gt(0), Recommended(1e-5, 1e-1, log=True)]
#: decay rate of a running average
Decay = Annotated[float, Interval(ge=0, lt=1)]
WeightDecay = Annotated[float, Ge(0), Recommended(1e-6, 1e-2, log=True)]
Epsilon = Annotated[float, Gt(0)]


#: parameters and, where a group has some, values of the optimizer's keywords
Group = dict[str, Any]
Params = list[Parameter] | list[Group]


def build_optimizer(
    section: Mapping[str, Any], groups: Sequence[Group], folder: Path
) -> Optimizer:
    """Build the optimizer of a spec's section over groups of parameters.

    A group's `lr_factor` multiplies its learning rate. UserCodeError if a factory returns no
    Optimizer.
    """
    keywords = dict(section)
    name = keywords.pop("name")
    plain = len(groups) == 1 and set(groups[0]) == {"params"}
    params: Params = list(groups[0]["params"]) if plain else list(groups)
    optimizer = registry.get("optimizer", name, folder).build(keywords, params=params)
    if not isinstance(optimizer, Optimizer):
        raise UserCodeError(
            f"optimizer.name: {name} must return a torch.optim.Optimizer, got {optimizer!r}"
        )
    for group in optimizer.param_groups:
        group["lr"] *= group.pop("lr_factor", 1.0)
    return optimizer


@register("optimizer", "sgd", fusible=["lr", "momentum", "weight_decay"])
def sgd(
    params: Params,
    lr: LearningRate = 0.01,
    momentum: Decay = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is not 0."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


@register("optimizer", "nesterov", fusible=["lr", "momentum", "weight_decay"])
def nesterov(
    params: Params,
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
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
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
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
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
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    momentum: Decay = 0.0,
    alpha: Decay = 0.99,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Gradients divided by the root of their running mean square (Hinton, 2012)."""
    return torch.optim.RMSprop(
        params, lr=lr, momentum=momentum, alpha=alpha, eps=eps, weight_decay=weight_decay
    )
