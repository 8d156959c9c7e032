"""The trials of one earlier search, their scores, and a model of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.samplers.base import Direction, Observation
from hpsearch.samplers.fidelity import rank
from hpsearch.samplers.forecast import Forecast, best_and_some, forecast, normal_scores
from hpsearch.samplers.unit_cube import Array, Cube

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess


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


def fitted(known: Forecast, cube: Cube, num_points: int, num_fit_points: int) -> GaussianProcess:
    """Return a model of at most `num_points` trials, with the hyperparameters that suit some."""
    # With scipy's optimizers, which the first trials needn't wait for.
    from hpsearch.samplers.gaussian_process import GaussianProcess, fit_hyperparameters

    chosen = best_and_some(known.scores, num_points)
    features = features_of(known, cube)[chosen]
    scores, variances = known.scores[chosen], known.variances[chosen]
    some, groups = best_and_some(scores, num_fit_points), cube.feature_groups
    scales, noise = fit_hyperparameters(features[some], scores[some], variances[some], groups)
    return GaussianProcess(features, scores, noise + variances, scales, groups)


def features_of(known: Forecast, cube: Cube) -> Array:
    """Return the features of the trials, (num_trials, num_columns)."""
    return cube.features(cube.points([trial.params for trial in known.trials]))
