"""The parameter groups that an optimizer gets, and what it makes of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hpsearch.components.tasks import Task

Group = dict[str, Any]


def parameter_groups(model: nn.Module, task: Task, tuning: Any | None) -> list[Group]:
    """Return the groups of a training: of the model, and of a loss that has parameters.

    Fine-tuning gives groups of its own, with an `lr_factor`. What a loss learns isn't decayed.
    """
    groups = tuning.groups() if tuning is not None else [_trainable(model)]
    learned = list(task.criterion.parameters())
    return [*groups, *([{"params": learned, "weight_decay": 0.0}] if learned else [])]


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return its state but for the learning rates, which are the schedule's.

    Some optimizers count steps, or keep estimates, in their groups.
    """
    state = optimizer.state_dict()
    kept = [
        {key: value for key, value in group.items() if key not in _NOT_KEPT}
        for group in state["param_groups"]
    ]
    return {**state, "param_groups": kept}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, state: Mapping[str, Any], *, is_others: bool = False
) -> None:
    """Go on from what `optimizer_state` gave; the optimizer keeps its tensors.

    A state that `is_others`, of an optimizer with other hyperparameters, gives none of these.
    """
    own_alone = hyperparameters_of(optimizer) if is_others else frozenset[str]()
    groups = optimizer.state_dict()["param_groups"]
    full = []
    for own, kept in zip(groups, state["param_groups"], strict=True):
        taken = {key: value for key, value in kept.items() if key not in own_alone}
        full.append({**own, **taken})
    optimizer.load_state_dict({**state, "param_groups": full})


def hyperparameters_of(optimizer: torch.optim.Optimizer) -> frozenset[str]:
    """Return the keys of groups that are arguments of the optimizer, not what it has counted."""
    classes = [each for each in type(optimizer).__mro__ if issubclass(each, torch.optim.Optimizer)]
    return frozenset(
        name for each in classes for name in inspect.signature(each.__init__).parameters
    )


_NOT_KEPT = frozenset({"params", "lr", "initial_lr"})


def _trainable(model: nn.Module) -> Group:
    return {"params": [param for param in model.parameters() if param.requires_grad]}
