"""The model that a search gives away: raw inputs in, predictions in the targets' units out."""

from __future__ import annotations

import copy

import torch
from torch import nn

from hpsearch.components.data import Data
from hpsearch.components.layers import Standardize, Unstandardize
from hpsearch.spec import TrialConfig
from hpsearch.training.trainer import Trainer


def export_model(trainer: Trainer) -> nn.Module:
    """Return a copy of a trainer's model on the CPU, in evaluation mode, that takes raw inputs.

    It gives logits (rows, classes), or predictions (rows, targets) in their own units.
    """
    data = trainer.data
    layers: list[nn.Module] = [Standardize(data.x_scale)] if data.standardize else []
    layers.append(copy.deepcopy(trainer.model).cpu())
    if data.kind == "regression":
        layers.append(Unstandardize(data.y_scale))
    return nn.Sequential(*layers).eval()


def refit(
    config: TrialConfig, data: Data, epochs: int, device: str | torch.device = "cpu"
) -> Trainer:
    """Train a configuration on all rows but the test split's."""
    trainer = Trainer(config, data.merged(), device, stream="refit/")
    for _ in range(epochs):
        if trainer.train_epoch() is None:  # a callback ended it
            break
    return trainer
