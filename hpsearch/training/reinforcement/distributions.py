"""What a policy's outputs say of its actions: how likely each is, or a mean and a deviation.

Outputs are float32 (rows, outputs) of a net.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.training.reinforcement.environments import Actions, Array

#: of Gaussian policies at the begin, where actions are from -1 to 1
INITIAL_STD = 0.5


class Distribution(Protocol):
    """The actions that outputs stand for."""

    def shown(self, outputs: Tensor) -> Tensor:
        """Return what an exported policy gives, of the outputs' shape."""

    def log_probabilities(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the logarithm of each action's probability or density, (rows,)."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats (rows,)."""

    def drawn(self, shown: Array, generator: np.random.Generator) -> Array:
        """Draw an action for each row of what is shown."""

    def best(self, shown: Array) -> Array:
        """Return the likeliest action of each row of what is shown."""


class Categorical(nn.Module):
    """Outputs are the logits of actions; these are numbers int64 (rows,)."""

    def shown(self, outputs: Tensor) -> Tensor:
        """Return log-probabilities."""
        return outputs.log_softmax(1)

    def log_probabilities(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """See Distribution."""
        return outputs.log_softmax(1).gather(1, actions[:, None])[:, 0]

    def entropy(self, outputs: Tensor) -> Tensor:
        """See Distribution."""
        every = outputs.log_softmax(1)
        return -(every.exp() * every).sum(1)

    def drawn(self, shown: Array, generator: np.random.Generator) -> Array:
        """See Distribution: the greatest log-probability with Gumbel noise."""
        found: Array = (shown + generator.gumbel(size=shown.shape)).argmax(1)
        return found

    def best(self, shown: Array) -> Array:
        """See Distribution."""
        found: Array = shown.argmax(1)
        return found


class Gaussian(nn.Module):
    """Outputs are the means of independent normal numbers, whose deviations are learned and the
    same in all states; actions are these, float32 (rows, outputs)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.full((size,), math.log(INITIAL_STD)))

    def shown(self, outputs: Tensor) -> Tensor:
        """Return the means."""
        return outputs

    def log_probabilities(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """See Distribution."""
        errors = (actions - outputs) / self.log_std.exp()
        return -(errors.square() / 2 + self.log_std + math.log(2 * math.pi) / 2).sum(1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """See Distribution."""
        found = (self.log_std + math.log(2 * math.pi * math.e) / 2).sum()
        return found.expand(len(outputs))

    def drawn(self, shown: Array, generator: np.random.Generator) -> Array:
        """See Distribution."""
        deviations = self.log_std.detach().exp().cpu().numpy()
        found: Array = (shown + deviations * generator.normal(size=shown.shape)).astype(np.float32)
        return found

    def best(self, shown: Array) -> Array:
        """See Distribution."""
        return shown


def distribution_of(actions: Actions) -> Categorical | Gaussian:
    """Return that of a policy for an environment's actions."""
    return Categorical() if actions.is_discrete else Gaussian(actions.num_outputs)
