"""The parameter groups that an optimizer gets."""

from __future__ import annotations

from typing import Any

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


def _trainable(model: nn.Module) -> Group:
    return {"params": [param for param in model.parameters() if param.requires_grad]}
