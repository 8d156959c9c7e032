"""Q-learning with a table (Watkins, 1989)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register
from hpsearch.training.reinforcement.agents import FAMILY, Gamma, Transition
from hpsearch.training.reinforcement.environments import Array, Observations

#: 80 MB; larger tables see most states never
MAX_VALUES = 10_000_000
Rate = Annotated[float, Interval(gt=0, le=1), Recommended(0.01, 1.0, log=True)]
#: pairs of low and high
Limits = Sequence[Sequence[float]]


class TableValues(nn.Module):
    """Looks the values of actions up: observations (rows, ...) in, (rows, actions) out."""

    table: Tensor
    low: Tensor
    width: Tensor
    places: Tensor

    def __init__(self, table: Array, low: Array | None, width: Array | None, bins: int) -> None:
        super().__init__()
        self.bins, self.is_discrete = bins, low is None or width is None
        self.register_buffer("table", torch.from_numpy(table.copy()))
        if low is not None and width is not None:
            self.register_buffer("low", torch.as_tensor(low))
            self.register_buffer("width", torch.as_tensor(width))
            self.register_buffer("places", bins ** torch.arange(len(low)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the values of actions."""
        if self.is_discrete:
            return self.table[observations.argmax(1)]
        rows = observations.double().flatten(1)
        bins = ((rows - self.low) / self.width).floor().long().clamp(0, self.bins - 1)
        return self.table[(bins * self.places).sum(1)]


class QTable:
    """A value for each state and action; numbers are divided into bins of equal width."""

    def __init__(
        self,
        observations: Observations,
        num_actions: int,
        lr: float,
        gamma: float,
        initial: float,
        bins: int,
        limits: Limits | None,
    ) -> None:
        self.gamma, self._lr, self._bins = gamma, lr, bins
        self._is_discrete = observations.is_discrete
        size = math.prod(observations.shape)
        num_states = size if observations.is_discrete else bins**size
        if num_states * num_actions > MAX_VALUES:
            # as a product: for images the number itself has more digits than Python prints
            states = f"{size}" if observations.is_discrete else f"{bins} ** {size}"
            rule = (
                f"must give a table of at most {MAX_VALUES:,} values (bins ** numbers * actions), "
                f"but it would have {states} * {num_actions}"
            )
            raise BadConfigurationError(rule, keyword="bins")
        self._low, self._width = self._scale(observations, limits)
        self._places = bins ** np.arange(size)
        self.table = np.full((num_states, num_actions), float(initial))
        self._errors: list[float] = []

    def values(self, observations: Array) -> Array:
        """See Agent."""
        return self.table[self._states(observations)]

    def values_module(self) -> nn.Module:
        """See LearnsPolicy."""
        low, width = (None, None) if self._is_discrete else (self._low, self._width)
        return TableValues(self.table, low, width, self._bins)

    def begin_epoch(self, generator: np.random.Generator) -> None:
        """See Agent; it draws nothing."""
        self._errors = []

    def learn(self, transition: Transition) -> None:
        """Q += lr (reward + gamma max Q' - Q), where Q' is 0 after the end of an episode."""
        pair = np.stack([transition.observation, transition.next_observation])
        state, after = self._states(pair)
        future = 0.0 if transition.terminated else self.gamma * self.table[after].max()
        error = transition.reward + future - self.table[state, transition.action]
        self.table[state, transition.action] += self._lr * error
        self._errors.append(error * error / 2)

    def end_epoch(self) -> dict[str, float]:
        """Return half the mean squared error of its predictions."""
        return {"train_loss": float(np.mean(self._errors))}

    def state_dict(self) -> dict[str, Any]:
        """See Agent."""
        return {"table": torch.from_numpy(self.table.copy())}

    def load_state_dict(self, state: Mapping[str, Any], *, is_others: bool = False) -> None:
        """See Agent."""
        self.table = state["table"].cpu().numpy().copy()

    def _scale(self, seen: Observations, limits: Limits | None) -> tuple[Array, Array]:
        """Return the least number of each dimension, and the width of its bins."""
        if seen.is_discrete:
            return np.zeros(1), np.ones(1)
        size = math.prod(seen.shape)
        if limits is not None and [len(pair) for pair in limits] != [2] * size:
            rule = f"must be {size} pairs of low and high, one for each number that is observed"
            raise BadConfigurationError(rule, limits, keyword="limits")
        bounds = np.asarray(limits, float).T if limits else None
        low, high = bounds if bounds is not None else (seen.low.ravel(), seen.high.ravel())
        if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
            rule = "must be given, low below high: the environment's own bounds are infinite"
            raise BadConfigurationError(rule, limits, keyword="limits")
        return low, (high - low) / self._bins

    def _states(self, observations: Array) -> Array:
        """Return the numbers of states (rows,) of observations (rows, *shape)."""
        if self._is_discrete:
            return np.asarray(observations.argmax(1))
        rows = observations.reshape(len(observations), -1)
        bins = np.floor((rows - self._low) / self._width).astype(int)
        states: Array = bins.clip(0, self._bins - 1) @ self._places
        return states


@register(FAMILY, "q_table")
def q_table(
    observations: Observations,
    num_actions: int,
    lr: Rate = 0.1,
    gamma: Gamma = 0.99,
    initial: float = 0.0,
    bins: Annotated[int, Ge(2)] = 10,
    limits: Limits | None = None,
) -> QTable:
    """Q-learning: a table of the value of each action in each state (Watkins and Dayan, 1992).

    It begins at `initial`. Where an environment shows numbers, each is divided into `bins` between
    its `limits`, pairs of low and high; by default the environment's own bounds.
    """
    return QTable(observations, num_actions, lr, gamma, initial, bins, limits)
