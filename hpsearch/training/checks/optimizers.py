"""Checks of whether an optimizer suits the data and the model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.optimizers.base import ONE_RATE, WANTS_DROPOUT
from hpsearch.registry import register
from hpsearch.training.checks.by_name import Finding, first_rows
from hpsearch.training.trainer import Trainer

#: share of zeros from which on inputs are called sparse
SPARSE = 0.9


@register("check", "sparse_inputs")
def sparse_inputs(trainer: Trainer) -> Finding | None:
    """Of inputs that are mostly 0, rare features learn by rates of their own (Duchi et al., 2011).

    Inputs as the model gets them: standardized ones are hardly ever 0.
    """
    inputs = first_rows(trainer).inputs
    if not isinstance(inputs, Tensor) or not torch.is_floating_point(inputs):
        return None
    share = float((inputs == 0).float().mean())
    message = f"{share:.0%} of the inputs are 0"
    if share < SPARSE or not _has(trainer, ONE_RATE):
        return Finding("sparse_inputs", True, message)
    advice = "all weights have one rate: try adagrad or adam, which give rare features more"
    return Finding("sparse_inputs", False, f"{message}, and {advice}")


@register("check", "missing_dropout")
def missing_dropout(trainer: Trainer) -> Finding:
    """An optimizer that was found to work only with dropout has some (Wang et al., 2017)."""
    name = trainer.config.values["optimizer"]["name"]
    if not _has(trainer, WANTS_DROPOUT):
        return Finding("missing_dropout", True, f"{name} needs none")
    has_some = any(map(_drops, trainer.model.modules()))
    message = f"{name} was found to help only with dropout, and the model has none"
    return Finding("missing_dropout", has_some, "the model has some" if has_some else message)


def _has(trainer: Trainer, trait: str) -> bool:
    """Whether the optimizer of a trial was registered with a trait."""
    config = trainer.config
    component = registry.get("optimizer", config.values["optimizer"]["name"], Path(config.folder))
    return bool(component.traits.get(trait, False))


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, Dropout) and module.active
