"""Weights that begin with the statistics of a first batch (Salimans & Kingma, 2016, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

#: a smaller deviation of a unit's outputs is none
MIN_STD = 1e-6


def begin_with_data(layer: nn.Module) -> nn.Module:
    """Mark a layer under torch's weight norm, so that `initialize_from_data` sets its g and b."""
    layer.begins_with_data = True  # type: ignore[assignment]
    return layer


def initialize_from_data(model: nn.Module, first_batch: Callable[[], Tensor]) -> None:
    """Set g and b of the marked layers, so that their outputs have mean 0 and deviation 1.

    Each unit over all rows and places, one layer after the other. Pretrained layers stay as they
    are. `first_batch` gives inputs, and is called only where there is such a layer.
    """
    layers = [module for module in model.modules() if _is_to_begin(module)]
    if not layers:
        return
    handles = [layer.register_forward_hook(_standardize) for layer in layers]
    was_training = model.training
    with torch.no_grad():
        model.eval()(first_batch())
    model.train(was_training)
    for handle in handles:
        handle.remove()


def _is_to_begin(module: nn.Module) -> bool:
    return hasattr(module, "begins_with_data") and not hasattr(module, "is_pretrained")


def _standardize(layer: Any, inputs: Any, outputs: Tensor) -> Tensor:
    """Scale g and b by the outputs' deviation, and return what the layer gives then."""
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
