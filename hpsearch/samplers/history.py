"""The trials of one earlier search, and their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpsearch.samplers.base import Direction, Observation
from hpsearch.samplers.fidelity import rank
from hpsearch.samplers.forecast import Forecast, forecast, normal_scores


@dataclass(frozen=True)
class History:
    """The ended trials of one search, by the parameters of the new search space."""

    trials: tuple[Observation, ...]
    direction: Direction
    rungs: tuple[int, ...]


def scored(history: History) -> Forecast:
    """Score the trials; by rank alone where there are too few for a forecast."""
    found = forecast(history.trials, history.rungs, history.direction)
    if found is not None:
        return found
    ranked = rank(history.trials, history.rungs, history.direction)
    return Forecast(
        tuple(ranked), normal_scores(-np.arange(len(ranked), dtype=float)), np.zeros(len(ranked))
    )
