"""The exported model: raw inputs in, predictions in the targets' units out."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hpsearch.components.calibration import Calibration
from hpsearch.components.examples import Scale
from hpsearch.components.layers.modules import (
    ChannelsBack,
    ChannelsFirst,
    FillMissing,
    FirstOf,
    Standardize,
    Unstandardize,
)
from hpsearch.components.predictors import Predictor
from hpsearch.components.tasks.heads import Softmax
from hpsearch.training.trainer import Trainer


def export_model(trainer: Trainer, calibration: Calibration | None = None) -> Predictor:
    """Return a copy of a trainer's model on the CPU, in evaluation mode, that takes raw inputs.

    It gives logits (rows, classes), calibrated ones after a calibration that was fitted, or
    predictions (rows, targets) in their own units.
    """
    data = trainer.data
    layers: list[nn.Module] = [ChannelsFirst()] if data.came_channels_last else []
    unit = Scale(np.zeros((), np.float32), np.array(data.unit, np.float32))
    layers += [] if data.unit == 1 else [Standardize(unit)]
    layers += [] if data.x_fill is None else [FillMissing(data.x_fill)]
    layers += [Standardize(data.x_scale)] if data.standardize else []
    layers.append(_plain(trainer.model_copy().cpu()))
    if data.encoding.standardizes:
        layers.append(Unstandardize(data.output_scale))
    if data.encoding.ignores_targets:
        layers.append(FirstOf())
    if link_layers := getattr(trainer.task, "link_layers", None):
        layers += link_layers()
    if data.encoding.gives_inputs:
        layers += [Unstandardize(data.x_scale), Unstandardize(unit)]
        layers += [ChannelsBack()] if data.came_channels_last else []
    if last_layers := getattr(trainer.task, "last_layers", None):
        layers += last_layers()
    head = copy.deepcopy(trainer.task.head).cpu()
    if calibration is not None:
        layers.append(copy.deepcopy(calibration))
        head = Softmax()
    names = data.output_names or data.class_names or data.target_names
    return Predictor(nn.Sequential(*layers), head, data.kind, data.raw_inputs, names).eval()


def _plain(model: nn.Module) -> nn.Module:
    """Replace parametrisations by the weights that they come to: they can't be pickled.

    torch's own way takes the weight from the module's class, which a copy shares.
    """
    for module in list(model.modules()):
        if not is_parametrized(module):
            continue
        names = list(module.parametrizations)  # type: ignore[arg-type]
        weights = {name: getattr(module, name).detach().clone() for name in names}
        del module.parametrizations
        module.__class__ = type(module).__mro__[1]
        module._load_state_dict_pre_hooks.clear()  # torch's weight_norm leaves one, a closure
        for name, weight in weights.items():
            module.register_parameter(name, nn.Parameter(weight))
    return model
