"""Weights that begin with the statistics of a first batch: of weight norm, and LSUV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

#: a smaller deviation of outputs is none
MIN_STD = 1e-6
#: changes a layer as its first outputs ask for, and returns what it gives then
Beginning = Callable[[Any, Any, Tensor], Tensor]


def begin_with_data(layer: nn.Module, beginning: Beginning) -> nn.Module:
    """Mark a layer, so that `initialize_from_data` lets it begin so; a first mark holds."""
    if not hasattr(layer, "begins_with_data"):
        layer.begins_with_data = beginning  # type: ignore[assignment]
    return layer


def initialize_from_data(model: nn.Module, first_batch: Callable[[], Tensor]) -> None:
    """Let the marked layers begin, one after the other, each on what those before it then give.

    Pretrained layers stay as they are. `first_batch` gives inputs, and is called only where there
    is such a layer.
    """
    layers: list[Any] = [module for module in model.modules() if _is_to_begin(module)]
    if not layers:
        return
    handles = [layer.register_forward_hook(layer.begins_with_data) for layer in layers]
    was_training = model.training
    with torch.no_grad():
        model.eval()(first_batch())
    model.train(was_training)
    for handle in handles:
        handle.remove()


def standardize(layer: Any, inputs: Any, outputs: Tensor) -> Tensor:
    """Set weight norm's g and b, so that each unit's outputs have mean 0 and deviation 1.

    Over all rows and places (Salimans & Kingma, 2016, section 3).
    """
    axes = [axis for axis in range(outputs.ndim) if axis != 1]
    std = outputs.std(axes, correction=0)
    std = torch.where(std < MIN_STD, torch.ones_like(std), std)
    g = layer.parametrizations.weight.original0
    g.div_(std.view(-1, *[1] * (g.ndim - 1)))
    shift = torch.zeros_like(std)
    if layer.bias is not None:
        shift = outputs.mean(axes)
        layer.bias.sub_(shift).div_(std)
    shape = (1, -1, *[1] * (outputs.ndim - 2))
    return (outputs - shift.view(shape)) / std.view(shape)


def scale_to_unit_variance(layer: Any, inputs: Any, outputs: Tensor) -> Tensor:
    """Scale a layer's weights, so that all its outputs together have variance 1.

    Layer-sequential unit variance (Mishkin & Matas, 2016, algorithm 1). With the bias at 0 the
    outputs are linear in the weights, so that one division does what the paper repeats.
    """
    std = outputs.std(correction=0)
    if std < MIN_STD:
        return outputs
    if is_parametrized(layer, "weight"):
        layer.weight = layer.weight / std
    else:
        layer.weight.div_(std)
    return outputs / std


def _is_to_begin(module: nn.Module) -> bool:
    return hasattr(module, "begins_with_data") and not hasattr(module, "is_pretrained")
