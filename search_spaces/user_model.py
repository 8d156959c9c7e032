"""A data set and a model of one's own, named by `user_model.yaml`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def spirals(
    seed: int, rows: int = 900, turns: float = 1.5, noise: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Points of two spirals that wind around each other: (rows, 2) and their classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(rows) % 2
    radius = np.sqrt(rng.uniform(0.05, 1.0, rows))
    angle = 2 * np.pi * turns * radius + np.pi * classes
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + rng.normal(0.0, noise, points.shape), classes


class ResidualBlock(nn.Module):
    """x + W2 relu(W1 x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, width) to (rows, width)."""
        return x + self.outer(torch.relu(self.inner(x)))


def residual_net(
    input_shape: tuple[int, ...], output_size: int, width: int = 32, depth: int = 2
) -> nn.Module:
    """Residual blocks between two linear layers; `input_shape` and `output_size` are filled in."""
    blocks = [ResidualBlock(width) for _ in range(depth)]
    return nn.Sequential(
        nn.Linear(input_shape[0], width), *blocks, nn.ReLU(), nn.Linear(width, output_size)
    )
