"""Random changes of inputs that denoising models learn to undo (Vincent et al., 2010)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hpsearch.components.layer_groups import layer_groups

Corruption = Literal["none", "masking", "gaussian", "salt_and_pepper", "block_masking"]
#: (inputs, rate) → inputs that are changed at random
Corrupting = Callable[[Tensor, float], Tensor]


def masking(x: Tensor, rate: float) -> Tensor:
    """Return inputs of which each value is 0 by chance `rate`."""
    return torch.where(torch.rand_like(x) < rate, 0.0, x)


def gaussian(x: Tensor, rate: float) -> Tensor:
    """Return inputs with noise of the standard deviation `rate`."""
    return x + rate * torch.randn_like(x)


def salt_and_pepper(x: Tensor, rate: float) -> Tensor:
    """Return inputs of which each value is the batch's least or greatest by chance `rate`."""
    drawn = torch.rand_like(x)
    return torch.where(drawn < rate / 2, x.min(), torch.where(drawn < rate, x.max(), x))


def block_masking(x: Tensor, rate: float) -> Tensor:
    """Return inputs of which one stretch of the last axis is 0, in images a block of the last two.

    It is the share `rate` of the values, rounded, at a place that each row draws for itself.
    """
    num_axes = 2 if x.ndim == 4 else 1
    masked = torch.ones(len(x), *[1] * (x.ndim - 1), dtype=torch.bool, device=x.device)
    for axis in range(-num_axes, 0):
        size = x.shape[axis]
        side = round(size * rate ** (1 / num_axes))
        starts = torch.randint(0, size - side + 1, (len(x),), device=x.device)
        places = torch.arange(size, device=x.device)
        within = (places >= starts[:, None]) & (places < starts[:, None] + side)
        masked = masked & within.view(len(x), *[1] * (x.ndim - 2), size).movedim(-1, axis)
    return x.masked_fill(masked, 0.0)


CORRUPTIONS: dict[Corruption, Corrupting | None] = {
    "none": None,
    "masking": masking,
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
    "block_masking": block_masking,
}


class Corrupted(nn.Module):
    """A model whose inputs are changed while it trains."""

    def __init__(self, model: nn.Module, corruption: Corruption, rate: float) -> None:
        super().__init__()
        self.model, self.corrupt, self.rate = model, CORRUPTIONS[corruption], rate

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return those of the model."""
        return layer_groups(self.model)

    def forward(self, x: Tensor) -> Any:
        """Return the model's outputs."""
        if self.training and self.corrupt is not None:
            x = self.corrupt(x, self.rate)
        return self.model(x)
