"""What a simulated search asks for the course of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hpsearch.outcome import Outcome
from hpsearch.spec import Scalar


@dataclass(frozen=True)
class Training:
    """A trial as it would go if nobody stopped it."""

    values: Sequence[float]  # of the objective after each epoch, from epoch 1
    seconds: Sequence[float]  # of each epoch; one more where `end` comes later than the last value
    end: Outcome | None = None  # how it ends itself after its last value; None: it has a budget
    why: str | None = None  # it ends itself


class Curves(Protocol):
    """Where the curves of a simulated search come from: a record, a table, a formula."""

    #: epochs that a trial can be trained for
    max_epochs: int

    def training(self, number: int, params: Mapping[str, Scalar], seed: int) -> Training:
        """Return how trial `number` of a search with this seed would go.

        `params` are the active parameters, by name of the search space.
        """
        ...
