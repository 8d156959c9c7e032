"""The interface of samplers: pure functions from observations to the next configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from hpsearch.spec import Direction as Direction
from hpsearch.spec import Scalar


@dataclass(frozen=True)
class Observation:
    """What is known of one trial; failed and cancelled trials are left out."""

    number: int
    params: Mapping[str, Scalar]  # active parameters only
    curve: Mapping[int, float]  # epoch, from 1 → objective, as far as it is trained and finite
    state: Literal["running", "finished", "bad"]  # bad: a configuration to be avoided


class Sampler(Protocol):
    """Chooses configurations.

    A sampler is stateless: the same seed, trial number and observations give the same
    configuration, so that an interrupted search continues as it would have.
    """

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """Return the active parameters of trial `number`; None if the space is exhausted."""
        ...


def generator(seed: int, number: int) -> np.random.Generator:
    """Return the generator of one suggestion; trials of earlier searches have negative numbers."""
    return np.random.default_rng((seed, number % 2**64))


def integer_seed(seed: int, number: int) -> int:
    """Return a seed below 2³² for libraries that take integers only."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
