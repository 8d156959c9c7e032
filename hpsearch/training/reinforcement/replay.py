"""A memory of transitions, from which batches are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from hpsearch.training.reinforcement.agents import Transition
from hpsearch.training.reinforcement.environments import Array, Observations


class Sample(NamedTuple):
    """Transitions as arrays, a row each."""

    observations: Array
    actions: Array
    rewards: Array
    next_observations: Array
    terminated: Array


class Replay:
    """The newest `size` transitions (Lin, 1992); memory is taken as it fills."""

    def __init__(self, size: int, observations: Observations) -> None:
        self._size, self._next, self._filled = size, 0, 0
        self._arrays = self._empty(min(size, 1024), observations)

    def __len__(self) -> int:
        return self._filled

    def add(self, transition: Transition) -> None:
        """Take a transition in, in the place of the oldest if it is full."""
        if self._next == len(self._arrays.rewards):
            self._grow()
        parts = transition[: len(Sample._fields)]  # all but whether the episode was cut short
        for array, value in zip(self._arrays, parts, strict=True):
            array[self._next] = value
        self._filled = max(self._filled, self._next + 1)
        self._next = (self._next + 1) % self._size

    def draw(self, generator: np.random.Generator, num_rows: int) -> Sample:
        """Return transitions drawn uniformly, each perhaps several times."""
        rows = generator.integers(self._filled, size=num_rows)
        return Sample(*(array[rows] for array in self._arrays))

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what it holds."""
        held = (torch.from_numpy(array[: self._filled].copy()) for array in self._arrays)
        return {"next": self._next, **dict(zip(Sample._fields, held, strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold what another held; the newest where that was more."""
        held = [state[name].cpu().numpy().copy() for name in Sample._fields]
        rows, following = len(held[1]), state["next"]
        is_full = following != rows  # what comes next takes the place of the oldest
        if rows > self._size or (is_full and rows != self._size):
            by_age = (np.roll(array, -following if is_full else 0, axis=0) for array in held)
            held = [array[-self._size :] for array in by_age]
            following = len(held[1]) % self._size
        self._arrays, self._filled, self._next = Sample(*held), len(held[1]), following

    def _grow(self) -> None:
        """Make room for twice as many, up to its size."""
        more = min(self._size, 2 * len(self._arrays.rewards)) - len(self._arrays.rewards)
        self._arrays = Sample(
            *(
                np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])
                for array in self._arrays
            )
        )

    @staticmethod
    def _empty(num_rows: int, observations: Observations) -> Sample:
        seen = np.zeros((num_rows, *observations.shape), observations.dtype)
        return Sample(
            seen,
            np.zeros(num_rows, np.int64),
            np.zeros(num_rows, np.float32),
            seen.copy(),
            np.zeros(num_rows, bool),
        )
