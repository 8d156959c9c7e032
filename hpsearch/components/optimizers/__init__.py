"""Optimizers by name: those of torch, a few written here, and the library pytorch-optimizer's.

A factory gets `params`: a list of parameters or of groups, mappings with `params` and values for
keywords of the optimizer. An optimizer whose `step` takes the gradient itself has the attribute
`needs_closure`.
"""

from hpsearch.components.optimizers import (
    adamod,
    backstitch,
    lars,
    perceptron,
    pytorch_optimizer,
    torch_optim,
)
from hpsearch.components.optimizers.averaging import hold_average, hold_iterate, swap
from hpsearch.components.optimizers.base import Group, Params, build_optimizer

__all__ = [
    "Group",
    "Params",
    "adamod",
    "backstitch",
    "build_optimizer",
    "hold_average",
    "hold_iterate",
    "lars",
    "perceptron",
    "pytorch_optimizer",
    "swap",
    "torch_optim",
]
