"""What a metric is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.data import Kind
from hpsearch.registry import ComponentOf

Doubles = NDArray[np.float64]
#: annotation of a keyword that is a list of metrics
METRICS = ComponentOf("metric", many=True)
MetricSections = Annotated[Sequence[Any], METRICS]


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split's rows, and what is true.

    `outputs` (rows, outputs) are what the head makes of the model's: probabilities, scores, or
    numbers in the targets' units, in which `targets` (rows, outputs) are too. A class that is
    given is a one-hot row of targets.
    """

    outputs: Doubles
    targets: Doubles
    kind: Kind = "classification"

    @property
    def classes(self) -> NDArray[np.int64]:
        """The likeliest class of each row by its targets."""
        return _greatest(self.targets)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The likeliest class of each row by the model."""
        return _greatest(self.outputs)


@dataclass(frozen=True)
class Metric:
    """One score or several; None for what isn't defined, such as a ranking of one class."""

    names: tuple[str, ...]
    measure: Callable[[Predictions], Sequence[float | None]]
    kinds: tuple[Kind, ...] = ("classification",)
    needs_probabilities: bool = True

    @classmethod
    def single(
        cls,
        name: str,
        measure: Callable[[Predictions], float | None],
        kinds: tuple[Kind, ...] = ("classification",),
        needs_probabilities: bool = True,
    ) -> Metric:
        """Return a metric that is one score."""
        return cls((name,), lambda seen: [measure(seen)], kinds, needs_probabilities)


def _greatest(values: Doubles) -> NDArray[np.int64]:
    index: NDArray[np.int64] = values.argmax(1)
    return index
