"""Augmentations by name: batches changed at random while a model trains, never in evaluation.

A factory returns a function (x, y) → (x, y) of a batch on its device; it draws from torch's global
generator, which the trainer seeds each epoch. Targets may become rows of class probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from hpsearch.registry import Recommended, register

Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@register("augmentation", "gaussian_noise", fusible=["std"])
def gaussian_noise(
    std: Annotated[float, Ge(0), Recommended(0.01, 1.0, log=True)] = 0.1,
) -> Augmentation:
    """Normal noise added to every input; `std` is in units of the (standardised) inputs."""
    return lambda x, y: (x + std * torch.randn_like(x), y)
