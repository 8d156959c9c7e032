"""What an agent has learned, as a module: the exported model of a search in an environment."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.training.reinforcement.environments import WHITE, Environment


@runtime_checkable
class LearnsPolicy(Protocol):
    """An agent whose values of actions can be had without it."""

    def values_module(self) -> nn.Module:
        """Return a copy, on the CPU, that takes observations (rows, *shape) as inputs of a net and
        gives the values of actions (rows, actions)."""


class Policy(nn.Module):
    """Observations as an environment shows them in, the values of its actions out; where actions
    are numbers, the actions themselves.

    Observations are numbers (rows, ...), images (rows, height, width, channels) of bytes, or
    states (rows,), numbered as the environment does. `act` returns the best actions, as `step` of
    the environment takes them.
    """

    low: Tensor
    high: Tensor

    def __init__(self, values: nn.Module, environment: Environment) -> None:
        super().__init__()
        seen = environment.observations
        self.values = values
        self.num_states = seen.shape[0] if seen.is_discrete else 0
        self.is_image = not seen.is_discrete and len(seen.shape) == 3
        self.scale = WHITE if seen.is_bytes else 1.0
        actions = environment.actions
        self.first_state, self.first_action = environment.first_state, actions.first
        self.is_discrete, self.action_shape = actions.is_discrete, actions.shape
        self.register_buffer("low", torch.as_tensor(actions.low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(actions.high, dtype=torch.float32))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the values of actions (rows, actions), or actions (rows, ...)."""
        if self.num_states:
            states = observations.long().flatten() - self.first_state
            inputs = F.one_hot(states, self.num_states).float()
        else:
            inputs = observations.float() / self.scale
            inputs = inputs.movedim(-1, 1) if self.is_image else inputs
        found: Tensor = self.values(inputs)
        if self.is_discrete:
            return found
        bounded = found.clamp(-1, 1).reshape(len(found), *self.action_shape)
        actions: Tensor = (self.low + self.high) / 2 + (self.high - self.low) / 2 * bounded
        return actions

    @torch.no_grad()
    def act(self, observations: Any) -> Tensor:
        """Return the best action for each observation, int64 (rows,) or numbers (rows, ...)."""
        found = self.forward(torch.as_tensor(observations))
        return found.argmax(1) + self.first_action if self.is_discrete else found
