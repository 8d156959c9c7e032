"""The interface of samplers: pure functions from observations to the next configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from hpsearch.spec import Direction as Direction
from hpsearch.spec import Scalar

#: traits of samplers: one that compares trials of several suggestions by the same number, one that
#: takes the margins of constraints into account itself, and one that fits models of other tasks
ONE_OBJECTIVE = "one_objective"
LEARNS_CONSTRAINTS = "learns_constraints"
FITS_EARLIER = "fits_earlier"


@dataclass(frozen=True)
class Observation:
    """What is known of one trial; failed and cancelled trials are left out."""

    number: int
    params: Mapping[str, Scalar]  # active parameters only
    curve: Mapping[int, float]  # epoch, from 1 → objective, as far as it is trained and finite
    state: Literal["running", "finished", "bad"]  # bad: a configuration to be avoided
    others: tuple[Mapping[int, float], ...] = ()  # the curves of further objectives
    #: how far within each constraint it is, relative to the bound: negative where it is broken
    margins: tuple[float, ...] = ()

    @property
    def has_result(self) -> bool:
        """Whether anything is known of it but that it runs."""
        is_measured = any(margin == margin for margin in self.margins)
        return bool(self.curve) or self.state == "bad" or is_measured

    @property
    def violation(self) -> float:
        """How far it breaks the constraints, 0 if it doesn't; a margin that is NaN is unknown."""
        return sum(max(-margin, 0.0) for margin in self.margins if margin == margin)


class NotYetError(Exception):
    """A sampler needs what trials that still run will report; it is asked again then."""


class Sampler(Protocol):
    """Chooses configurations.

    A sampler is stateless: the same seed, trial number and observations give the same
    configuration, so that an interrupted search continues as it would have.
    """

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """Return the active parameters of trial `number`; None if the space is exhausted.

        Raises NotYetError where that depends on trials that run.
        """
        ...


def generator(seed: int, number: int) -> np.random.Generator:
    """Return the generator of one suggestion; trials of earlier searches have negative numbers."""
    return np.random.default_rng((seed, number % 2**64))


def integer_seed(seed: int, number: int) -> int:
    """Return a seed below 2³² for libraries that take integers only."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
